"""Several seeds in one update: each as alone, none of them changed by another."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffsim_core
from diffsim_core import EnvSpec, EnvState, Transition

pytest.importorskip("flax")

from diffrl_algos import Budget, Callback
from diffrl_algos._files import write_atomic
from diffrl_algos._folders import of_seed, seed_folders
from diffrl_algos._run import Run
from diffrl_algos._session import Planned, resume_runs, start_runs
from diffrl_algos._spec import RunSpec
from diffrl_algos.cli import main
from diffrl_algos.cli._train import _parse
from diffrl_algos.cli._train_options import spec_of
from diffrl_algos.jax._learner import Learner

from .jax_twins import config_of, kind, x64
from .test_cli import TOY


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Compile fast: everything here runs a few times."""
    monkeypatch.setattr(Learner, "compiler_options", {"xla_backend_optimization_level": 0})


class Springs:
    """Points on springs, in JAX alone: random pushes, ends where one is far away, NaN where it is pushed hard.

    Args:
        num_envs: worlds.
        apply: what every new position goes through.
    """

    def __init__(self, num_envs=4, apply=lambda x: x):
        self.num_envs, self.apply = num_envs, apply
        self.arrays, self.device, self.dtype = "jax", "cpu", "float64"
        self.spec = EnvSpec(name="springs", num_obs=2, num_actions=1, dt=0.1, horizon=6, differentiable=True)

    def first(self, seed, episode):
        def one(world, episode):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), world), episode)
            return jax.random.uniform(key, (2,), minval=-0.5, maxval=0.5)

        return jax.vmap(one)(jnp.arange(self.num_envs), episode)

    def reset(self, seed):
        zero = jnp.zeros(self.num_envs, jnp.int32)
        obs = self.first(seed, zero)
        return EnvState(obs, (), zero, zero, jnp.asarray(seed, jnp.int32)), obs

    def step(self, state, action):
        x, v = state.physics.T
        v = v + 0.1 * (2.0 * action[:, 0] - jnp.sin(x))
        after = jnp.stack([self.apply(x + 0.1 * v), v], axis=1)
        diverged = ~jnp.isfinite(after).all(1)
        after = jnp.where(diverged[:, None], jax.lax.stop_gradient(state.physics), after)
        terminated = jnp.abs(after[:, 0]) > 0.6
        truncated = ((state.t + 1 >= 6) & ~terminated) | diverged
        done = terminated | truncated
        episode = state.episode + done
        obs = jnp.where(done[:, None], self.first(state.seed, episode), after)
        reward = jnp.where(diverged, 0.0, 1.0 - (after**2).sum(1))
        t = jnp.where(done, 0, state.t + 1)
        return EnvState(obs, (), t, episode, state.seed), Transition(
            reward, terminated, truncated, after, obs, diverged, {}
        )


def worlds_of(task):
    if task == "springs":
        return Springs()
    return diffsim_core.make(
        task, num_envs=3, arrays="jax", dtype="float64", **({"horizon": 5} if task == "toy" else {})
    )


def same(one, other, atol):
    assert one.keys() == other.keys()
    for key, array in one.items():
        np.testing.assert_allclose(other[key], array, rtol=atol, atol=atol, err_msg=key)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("shac", "cartpole"),
        ("agpo", "springs"),
        slow("shac", "springs"),
        slow("agpo", "cartpole"),
        *(slow(name, "toy") for name in ("apg", "sapo", "ppo")),
    ],
)
def test_an_update_of_two_seeds_is_two_updates(name, task):
    with x64(True):
        algorithm = kind(name)(config_of(name, horizon=6, critic_shuffle=True))
        env = worlds_of(task)
        together = alone = [algorithm.init(env, seed) for seed in (0, 1)]
        algorithm.check_together(together)
        for _ in range(2):
            together, numbers = zip(*algorithm.update_together(together), strict=True)
            alone, wanted = zip(*map(algorithm.update, alone), strict=True)
        for k in (0, 1):
            same(algorithm.to_arrays(alone[k]), algorithm.to_arrays(together[k]), 1e-9)
            same(counted(wanted[k]), counted(numbers[k]), 1e-9)
        assert not np.allclose(*(state.nets.actor for state in together))

        # A seed whose update is refused, and nothing else, is as it was.
        (after, _), _ = algorithm.update_together(together)
        spoilt = together[1].replace(nets=together[1].nets._replace(actor=jnp.full_like(alone[1].nets.actor, jnp.nan)))
        (beside, metrics), (refused, report) = algorithm.update_together([together[0], spoilt])
        assert metrics["refused_updates"] == 0 and report["refused_updates"] == 1
        for key, array in algorithm.to_arrays(after).items():
            np.testing.assert_array_equal(algorithm.to_arrays(beside)[key], array, key)
        for one, other in zip(jax.tree.leaves(refused.nets), jax.tree.leaves(spoilt.nets), strict=True):
            np.testing.assert_array_equal(one, other)


def counted(metrics):
    """All numbers of an update but times."""
    left = {"learn_s", "account_s", "divergences"}
    return {key: np.nan if value is None else value for key, value in metrics.items() if key not in left}


def test_worlds_that_broke_are_reported_by_the_seed_that_they_are_of():
    with x64(True):
        algorithm = kind("apg")(config_of("apg", horizon=4))
        env = diffsim_core.make("toy", num_envs=4, arrays="jax", dtype="float64", horizon=9, breaks=0.5)
        states = [algorithm.init(env, seed) for seed in (0, 1, 2)]
        together = [found for _, found in algorithm.update_together(states)]
        assert sum(found["diverged"] for found in together) > 1
        for found, state in zip(together, states, strict=True):
            _, alone = algorithm.update(state)
            assert found["diverged"] == alone["diverged"] == len(found["divergences"])
            for one, other in zip(found["divergences"], alone["divergences"], strict=True):
                assert (one.seed, one.world, one.t) == (other.seed, other.world, other.t)
                np.testing.assert_allclose(one.action, other.action, rtol=1e-12)


def test_what_cannot_be_computed_together_is_named(monkeypatch):
    def apply(x):
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return x + jax.pure_callback(np.zeros_like, like, jax.lax.stop_gradient(x))

    with x64(True):
        algorithm = kind("apg")(config_of("apg", horizon=4))
        states = [algorithm.init(Springs(apply=apply), seed) for seed in (0, 1)]
        algorithm.check_together(states[:1])
        with pytest.raises(ValueError, match=r"'springs' cannot be computed for several seeds at once.*one seed at a"):
            algorithm.check_together(states)
        env = diffsim_core.make("cartpole", num_envs=3, arrays="jax", dtype="float64")
        states = [algorithm.init(env, seed) for seed in (0, 1)]
        monkeypatch.setattr("diffsim_core._memory.free_bytes", lambda device: 1.5 * diffsim_core.kept_bytes(env, 4))
        with pytest.raises(ValueError, match=r"num_envs=3 and horizon=4 for 2 seeds.*use fewer seeds, fewer worlds"):
            algorithm.check_together(states)


# Runs -----------------------------------------------------------------------------------------------------------------

TRAIN = ["train", "apg", "toy", "--import", TOY, "--framework", "jax", "--horizon", "4", "--actor-hidden", "8"]
TRAIN += ["--num-envs", "4", "--eval-episodes", "4", "--iterations", "4", "--task-option", "horizon=5"]


def spec_of_arguments(arguments):
    entry, args = _parse(arguments[1:])
    return spec_of(entry, args)


def arrays_of(path):
    return Run.open(path).load("last", whole=True)[0]


def equal(path, other):
    for key, array in arrays_of(path).items():
        np.testing.assert_array_equal(array, arrays_of(other)[key], key)


def test_seeds_are_runs_of_their_own_that_resume_together_or_alone(tmp_path, capsys):
    whole, parts, alone = tmp_path / "whole", tmp_path / "parts", tmp_path / "alone"
    assert main([*TRAIN, "--seeds", "3,1", "--out", str(whole), "--json"]) == 0
    captured = capsys.readouterr()
    summaries = json.loads(captured.out)
    assert [one["seed"] for one in summaries] == [3, 1] and all(one["episodes"] == 4 for one in summaries)
    assert "mean of 2 seeds  iteration 4  100%  128 steps" in captured.err
    for one in summaries:
        assert Run.open(whole / f"s{one['seed']}").summary() == one
        assert len(Run.open(whole / f"s{one['seed']}").metrics()) == 4

    assert main([*TRAIN, "--seed", "1", "--out", str(alone), "--json"]) == 0
    same(arrays_of(alone), arrays_of(whole / "s1"), 1e-5)
    assert main(["eval", str(whole / "s1"), "--import", TOY, "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert evaluated["return_mean"] == summaries[1]["return_mean"]

    assert main([*TRAIN, "--seeds", "3,1", "--out", str(parts), "--stop-after", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("seed 3: stopped after 2 updates")
    assert said[2] == f"continue with: diffrl train --resume {parts} --trust-imports"
    shutil.copytree(parts / "s1", tmp_path / "single")
    assert main(["train", "--resume", str(parts), "--import", TOY]) == 0
    for name in ("s3", "s1"):
        equal(parts / name, whole / name)
    assert main(["train", "--resume", str(tmp_path / "single"), "--import", TOY]) == 0
    same(arrays_of(tmp_path / "single"), arrays_of(whole / "s1"), 1e-5)
    capsys.readouterr()
    assert main(["train", "--resume", str(whole), "--import", TOY, "--json"]) == 0  # complete: the summaries again
    assert json.loads(capsys.readouterr().out) == sorted(summaries, key=lambda one: one["seed"])


class At(Callback):
    """Does something after an update."""

    def __init__(self, iteration, act):
        self.iteration, self.act = iteration, act

    def on_update(self, update):
        if update.metrics["iteration"] == self.iteration:
            self.act()


@pytest.mark.slow
def test_seeds_that_are_cut_off_save_what_they_have_and_go_on_from_there(tmp_path):
    """Told to end, or by an error in one of them, after which they are not at the same update."""
    config = config_of("apg", iterations=3, horizon=4)
    specs = [
        RunSpec(
            algorithm="apg",
            task="toy",
            config=config,
            budget=Budget(iterations=3),
            seed=seed,
            num_envs=4,
            eval_episodes=4,
            framework="jax",
        )
        for seed in (0, 1)
    ]

    def planned(folder, act):
        paths = [of_seed(tmp_path / folder, spec.seed) for spec in specs]
        return [Planned(specs[0], paths[0]), Planned(specs[1], paths[1], [At(2, act)])], paths

    def fail():
        raise OSError("no room")

    whole, ends = planned("whole", lambda: None)
    start_runs(whole)
    told, _ = planned("told", lambda: os.kill(os.getpid(), signal.SIGTERM))
    for one in start_runs(told):
        assert one.items() >= {"status": "interrupted", "signal": "SIGTERM", "iterations": 2}.items()
        assert Run.open(Path(one["run"])).last_iteration() == 2
    failed, paths = planned("failed", fail)
    with pytest.raises(OSError, match="no room") as raised:
        start_runs(failed)
    (note,) = raised.value.__notes__
    assert note.startswith(f"go on with: diffrl train --resume {tmp_path / 'failed'}")
    assert seed_folders(tmp_path / "failed") == paths
    assert [Run.open(path).last_iteration() for path in paths] == [2, 1]
    assert [one["iterations"] for one in resume_runs(paths, callbacks=lambda run: [])] == [3, 3]
    for path, end in zip(paths, ends, strict=True):
        equal(path, end)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--framework", "torch"],
            "--seeds trains several seeds in one process, which torch has not; use ",
        ),
        (["--seed", "1"], "--seed and --seeds are both given; give one of them"),
        (["--seeds", "1,0,1"], "seeds are 1, 0, 1; each may be there once"),
        (["--seeds", "1,x"], "argument --seeds: invalid value '1,x'; it takes integers from 0"),
        (["--live"], "--live shows one run, not several seeds"),
        (["--wandb=p"], "--wandb logs one run of a process, not several seeds"),
    ],
)
def test_what_seeds_cannot_be_is_named(options, message, tmp_path, capsys):
    assert main([*TRAIN, "--seeds", "0,1", *options, "--out", str(tmp_path / "runs")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_folders_that_are_taken_or_differ_are_named(tmp_path, capsys):
    path = tmp_path / "runs"
    spec = spec_of_arguments([*TRAIN, "--seed", "1"])
    Run.create(of_seed(path, 1), spec, {})
    write_atomic(path / "s1" / "metrics.jsonl", b'{"iteration": 1}\n')
    assert main([*TRAIN, "--seeds", "0,1", "--out", str(path)]) == 2
    assert f"{path / 's1'} exists already and is not empty" in capsys.readouterr().err and not (path / "s0").exists()
    assert main([*TRAIN, "--seeds", "0,1", "--out", str(path / "s1")]) == 2
    assert "is a run folder, and --seeds makes folders in it" in capsys.readouterr().err
    Run.create(of_seed(path, 2), dataclasses.replace(spec, seed=2, num_envs=5), {})
    assert main(["train", "--resume", str(path), "--import", TOY]) == 2
    assert "seeds 1 and 2 differ in num_envs; resume one run at a time" in capsys.readouterr().err
    assert main(["train", "--resume", str(path), "--import", TOY, "--seeds", "1,2"]) == 2
    assert "--seeds is fixed when a run begins" in capsys.readouterr().err
