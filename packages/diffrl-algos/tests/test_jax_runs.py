"""Runs in JAX: checkpoints, resuming, the command line, policies carried between frameworks, worlds that explode."""

from __future__ import annotations

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import diffsim_core
from diffrl_algos.cli import main
from diffrl_algos.torch import to_arrays

pytest.importorskip("flax")

from diffrl_algos import UsageError, export_run, get_algorithm, load_policy
from diffrl_algos._run import Run
from diffrl_algos.jax._learner import Learner

from .jax_twins import NAMES, compiled, config_of, kind, noise, twins, x64
from .test_cli import TOY

OPTIONS = ["--horizon", "4", "--actor-hidden", "8", "--critic-hidden", "6", "--critic-iterations", "1"]
IMPORT = ["--import", TOY]
TRAIN = ["shac", "toy", *OPTIONS, "--num-envs", "4", "--eval-episodes", "8", "--checkpoint-every", "1"]
SPOILED = 2


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Compile fast: everything here runs a few times."""
    monkeypatch.setattr(Learner, "compiler_options", {"xla_backend_optimization_level": 0})


def worlds(**options):
    return diffsim_core.make("toy", num_envs=4, arrays="jax", limit=0.9, horizon=5, **options)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("ddcg", "ivwh", "rpo") else name for name in NAMES],
)
def test_a_state_survives_its_checkpoint(name):
    """Same seed, same bits; saved and loaded, the same bits; and arrays under the names that torch's have."""
    algorithm = kind(name)(config_of(name, horizon=4))
    env = worlds()
    state, metrics = algorithm.update(algorithm.init(env, 3))
    again, _ = algorithm.update(algorithm.init(env, 3))
    saved = algorithm.to_arrays(state)
    for key, array in algorithm.to_arrays(again).items():
        np.testing.assert_array_equal(array, saved[key], key)
    restored = algorithm.from_arrays(algorithm.template(env, 9), saved)
    one, two = (algorithm.to_arrays(algorithm.update(s)[0]) for s in (state, restored))
    for key, array in one.items():
        np.testing.assert_array_equal(array, two[key], key)
    first, other = (algorithm.to_arrays(algorithm.init(env, seed))["actor"] for seed in (3, 4))
    assert not np.array_equal(first, other) and not np.array_equal(first, saved["actor"])
    assert metrics["refused_updates"] == 0 and state.env_steps == 16 * (1 + algorithm.trials)

    theirs = get_algorithm(name).build(config_of(name, horizon=4))
    of_torch = to_arrays(theirs.init(diffsim_core.make("toy", num_envs=4, limit=0.9, horizon=5), 3))
    assert saved.keys() == of_torch.keys()
    shapes = {key: array.shape for key, array in saved.items() if key != "run.rng"}
    assert shapes == {key: array.shape for key, array in of_torch.items() if key != "run.rng"}


def test_arrays_that_do_not_fit_are_named():
    algorithm = kind("apg")(config_of("apg"))
    state = algorithm.template(worlds(), 0)
    arrays = algorithm.to_arrays(state)
    for change, message in (
        ({"actor": arrays["actor"][1:]}, r"array 'actor' is float32\[.*\]; this run needs float32\["),
        ({"actor": arrays["actor"].astype(np.float64)}, r"array 'actor' is float64"),
        ({"extra": arrays["actor"]}, r"array 'extra' does not belong to this run"),
    ):
        with pytest.raises(ValueError, match=message):
            algorithm.from_arrays(state, {**arrays, **change})
    del arrays["run.obs"]
    with pytest.raises(ValueError, match=r"array 'run.obs' is missing"):
        algorithm.from_arrays(state, arrays)


def test_a_compilation_says_so_once_and_is_kept(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("diffsim_core._jax_compiled._PATIENCE", 0.0)
    algorithm = kind("apg")(config_of("apg", horizon=4))
    state = algorithm.init(worlds(), 3)
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        capsys.readouterr()
        for _ in range(2):
            state, _ = algorithm.update(state)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    said = capsys.readouterr().err
    assert said.count("JAX compiles an update of apg in 4 worlds of toy") == 1 and str(tmp_path) in said


def arrays_of(path):
    return Run.open(path).load("last", whole=True)[0]


def test_a_run_resumes_exactly_acts_and_can_be_exported(tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train = ["train", *TRAIN, *IMPORT, "--framework", "jax", "--iterations", "3"]
    assert main([*train, "--out", str(whole)]) == 0
    assert main([*train, "--out", str(parts), "--stop-after", "1"]) == 0
    assert main(["train", "--resume", str(parts), *IMPORT]) == 0
    one, two = arrays_of(whole), arrays_of(parts)
    for key, array in one.items():
        np.testing.assert_array_equal(array, two[key], key)
    described = json.loads((whole / "run.json").read_text())
    assert described["framework"] == "jax" and "fused" not in described["task_options"]
    capsys.readouterr()
    assert main(["eval", str(whole), "--json", *IMPORT]) == 0
    summary = json.loads((whole / "summary.json").read_text())
    assert json.loads(capsys.readouterr().out)["return_mean"] == pytest.approx(summary["return_mean"])
    exported = export_run(whole, tmp_path / "policy.pt2", form="torch")
    assert exported["max_abs_error"] < 1e-6 and exported["algorithm"] == "shac"
    about = export_run(whole, tmp_path / "policy.jax", form="jax")
    described = json.loads((tmp_path / "policy.jax.json").read_text())
    assert about["max_abs_error"] < 1e-6 and described.items() <= about.items() and described["task"] == "toy"
    program, policy = export.deserialize(bytearray((tmp_path / "policy.jax").read_bytes())), load_policy(whole)
    for size in (1, 7):
        obs = 3.0 * jax.random.normal(jax.random.key(size), (size, 2))
        np.testing.assert_allclose(program.call(obs), policy(obs), rtol=0, atol=1e-6)
    policy = load_policy(whole, deterministic=False, seed=1)
    obs = jnp.ones((3, 2))
    assert policy(obs).shape == (3, 1) and not (policy(obs) == policy(obs)).any()


@pytest.mark.parametrize(("first", "second"), [("torch", "jax"), ("jax", "torch")])
def test_a_policy_goes_from_one_framework_to_the_other(tmp_path, first, second):
    one, two = tmp_path / first, tmp_path / second
    assert main(["train", *TRAIN, *IMPORT, "--framework", first, "--iterations", "2", "--out", str(one)]) == 0
    begin = ["--init-from", str(one), "--framework", second, "--actor-lr", "1e-12", "--lr-end", "1e-12"]
    assert main(["train", *TRAIN, *IMPORT, *begin, "--iterations", "1", "--out", str(two)]) == 0
    old, new = arrays_of(one), arrays_of(two)
    np.testing.assert_allclose(new["actor"], old["actor"], atol=1e-9)
    assert new["actor_adam.step"] == 3 and new["critic_adam.step"] == 3 * 4
    assert new["run.iteration"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--framework", "jax", "--policy-step", "native"], "policy_step is native, which SHAC has in torch alone"),
        (["--framework", "jax", "--cuda-graph", "true"], "cuda_graph is true, which SHAC has in torch alone"),
        (["--framework", "jox"], "argument --framework: invalid value 'jox'; it takes torch, jax or none"),
    ],
)
def test_what_jax_does_not_have_is_named(tmp_path, capsys, options, message):
    assert main(["train", *TRAIN, *IMPORT, *options, "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_algorithms_without_a_form_in_jax_are_named(monkeypatch):
    message = "gippo is written for torch alone; in jax there are agpo, aobg, apg, ddcg, ivwh, ppo, rpo, sapo, shac"
    with pytest.raises(UsageError, match=message):
        get_algorithm("gippo", "jax")
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(UsageError, match=r"flax is not installed; pip install 'diffrl-algos\[jax\]'"):
        get_algorithm("shac", "jax").build(config_of("shac"))
    algorithm = kind("ppo")(config_of("ppo", adaptive_lr=False, attempts=2))
    with pytest.raises(ValueError, match="attempts is 2, and PPO in JAX makes one"):
        algorithm.init(worlds(), 0)


class Changed:
    """Worlds of which one, in its fifth step, has another gradient with respect to its state or its action.

    Args:
        env: the worlds.
        where: "state" or "action".
        change: ``change(array, there [N, 1])``.
    """

    def __init__(self, env, where, change):
        self.env, self.where, self.change = env, where, change
        self.spec, self.num_envs, self.arrays = env.spec, env.num_envs, env.arrays
        self.device, self.dtype = env.device, env.dtype

    def reset(self, seed):
        return self.env.reset(seed)

    def step(self, state, action):
        there = ((jnp.arange(self.num_envs) == SPOILED) & (state.t == 4))[:, None]
        if self.where == "action":
            return self.env.step(state, self.change(action, there))
        return self.env.step(
            state._replace(physics=jax.tree.map(lambda x: self.change(x, there), state.physics)), action
        )


@jax.custom_vjp
def exploding(x, there):
    """Infinite there."""
    return x


exploding.defvjp(lambda x, there: (x, there), lambda there, g: (jnp.where(there, jnp.inf * g, g), None))


def cut(x, there):
    """None there."""
    return jnp.where(there, jax.lax.stop_gradient(x), x)


SLOW = pytest.mark.slow
EXPLOSIONS = [("shac", "action"), ("agpo", "state")]
EXPLOSIONS += [pytest.param(*case, marks=SLOW) for case in (("aobg", "action"), ("shac", "state"), ("agpo", "action"))]
COMPARED = [("shac", "action"), ("agpo", "state"), ("aobg", "action")]
"""Those that are also compared with a cut."""


@pytest.mark.parametrize(("name", "where"), EXPLOSIONS)
def test_an_infinite_gradient_of_one_world_spoils_no_other(name, where):
    """What passes is what would pass if the world were cut there; SHAC also loses that world's earlier actions."""
    with x64(True):
        options = {"truncation": "every"} if name == "agpo" else {}
        pair = twins(name, worlds={"horizon": 50, "limit": 9.0}, **options)
        algorithm, state = pair.algorithm, pair.state
        eps = jnp.asarray(noise(pair, *([2] if name == "agpo" else [])))
        gradient = compiled(algorithm.gradient, static_argnums=0)
        spoilt = Changed(state.env, where, exploding)
        (_, seen), (grad, lost) = gradient(spoilt, state.nets, state.worlds, eps)
        assert jnp.isfinite(grad).all()
        if name in ("shac", "aobg"):
            blocked = slice(0, 4) if where == "state" else 4
            np.testing.assert_array_equal(lost, jnp.zeros_like(lost).at[blocked, SPOILED].set(1.0))
        elif where == "action":
            assert seen.alpha[4] == 0 and (jnp.delete(seen.alpha, 4) > 0).all()
        if (name, where) in COMPARED:
            _, (wanted, _) = gradient(Changed(state.env, where, cut), state.nets, state.worlds, eps)
            _, (plain, _) = gradient(state.env, state.nets, state.worlds, eps)
            np.testing.assert_allclose(grad, wanted, rtol=1e-12, atol=1e-14)
            assert not jnp.allclose(grad, plain, rtol=1e-6)
        after, metrics = algorithm.update(state.replace(env=spoilt))
        assert metrics["refused_updates"] == 0 and np.isfinite(algorithm.to_arrays(after)["actor"]).all()
