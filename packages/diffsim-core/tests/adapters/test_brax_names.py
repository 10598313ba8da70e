"""Brax's environments by name: options, what is refused, what is differentiable, and what a compilation says."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import NamedTuple

import pytest

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
pytest.importorskip("brax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from brax import envs  # noqa: E402

from diffsim_core import _jax_compiled, make, task_options  # noqa: E402
from diffsim_core.adapters import FromBrax  # noqa: E402
from diffsim_core.adapters._brax_worlds import is_differentiable  # noqa: E402

from .brax_worlds import Toy  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Brax System")  # of environments that the tests make themselves


def toy(arrays="torch"):
    return FromBrax(Toy(), 4, arrays=arrays, name="toy")


def test_options_stand_in_the_name_or_beside_it():
    declared = task_options("brax:ant")
    assert declared["backend"].default == "generalized" and declared["episode_length"].default == 1000
    assert {"ctrl_cost_weight", "healthy_z_range", "n_frames"} < set(declared.known)
    assert not {"sys", "debug", "env"} & set(declared.known)
    env = make("brax:inverted_pendulum?backend=positional&episode_length=7", num_envs=2, n_frames=1)
    assert env.spec.horizon == 7 and env.spec.dt == pytest.approx(0.005)
    assert env.spec.name == "brax:inverted_pendulum?backend=positional&episode_length=7"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("brax:hoper", {}, r"unknown environment of Brax 'hoper'; did you mean 'hopper'"),
        ("brax:hopper", {"backend": "springs"}, "backend of .*; did you mean spring"),
        ("brax:hopper?backend=springs", {}, "backend of .*; did you mean spring"),
        ("brax:hopper?backend", {}, "'backend' of .* has no value; write NAME=VALUE"),
        ("brax:hopper?backend=spring", {"backend": "mjx"}, "backend is 'spring' in .* given as 'mjx'; leave one out"),
        ("brax:hopper?gain=2", {}, "unknown option of environment 'hopper' of Brax: 'gain'"),
        (
            "brax:swimmer",
            {"backend": "spring"},
            "cannot be made with backend='spring': .*Unsupported backend.*; use another backend",
        ),
        ("brax:hopper", {"dtype": "float64", "arrays": "jax"}, "needs jax.config.update"),
        ("brax:hopper", {"dtype": "float16"}, "dtype must be"),
        ("brax:hopper", {"device": "cuda:7"}, "device"),
        ("brax:hopper", {"episode_length": 0}, "episode_length"),
        ("brax:hopper", {"randomize": {"mass": (1, 2)}}, "randomize works with rigid-body tasks only"),
    ],
)
def test_errors_say_what_to_do(name, given, message):
    with pytest.raises(ValueError, match=message):
        make(name, num_envs=2, **given)


@pytest.mark.parametrize("missing", ["brax", "jax"])
def test_without_the_extra_the_error_names_it(missing, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("diffsim_core.adapters._") and "rax" in name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"FromBrax needs {missing}, .*pip install 'diffsim-core\[brax\]'"):
        make("brax:ant")


class Slides(NamedTuple):
    """A point that an action pushes, in nothing but JAX."""

    x: jax.Array
    obs: jax.Array
    reward: jax.Array
    done: jax.Array
    metrics: dict[str, jax.Array]


class Slider:
    action_size, dt = 1, 0.1

    def reset(self, rng):
        x = jax.random.uniform(rng, (1,))
        return Slides(x, x, jnp.zeros(()), jnp.zeros(()), {})

    def step(self, state, action):
        x = state.x + self.dt * action
        return state._replace(x=x, obs=x, reward=-(x @ x))


def test_an_environment_in_jax_alone_needs_no_brax(monkeypatch):
    monkeypatch.setitem(sys.modules, "brax", None)
    env = FromBrax(Slider(), 3, arrays="jax")
    state, obs = env.reset(0)
    slope = jax.grad(lambda action: env.step(state, action)[1].reward.sum())(jnp.full((3, 1), 0.5))
    np.testing.assert_allclose(slope, -2 * 0.1 * (obs + 0.05), rtol=1e-6)


def test_mjx_on_warp_has_no_gradients():
    option = SimpleNamespace(iterations=1, disableflags=0)
    model = SimpleNamespace(impl="Impl.WARP", opt=option)
    assert not is_differentiable(SimpleNamespace(mjx_model=model))
    assert is_differentiable(SimpleNamespace(mjx_model=SimpleNamespace(impl="Impl.JAX", opt=option)))


def test_an_object_takes_no_options_and_must_be_an_environment():
    with pytest.raises(ValueError, match="backend need an environment given by its name"):
        FromBrax(Toy(), 2, backend="spring")
    with pytest.raises(ValueError, match="has no reset"):
        FromBrax(object(), 2)


class Grows(Toy):
    """Its step returns one observation more than its reset."""

    def step(self, state, action):
        after = super().step(state, action)
        return after.replace(obs=jnp.append(after.obs, 0.0))


class Fails(Toy):
    """Its step uses what the installed JAX does not have."""

    def step(self, state, action):
        return jnp.clip(action, a_min=0)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Grows(), r"\.obs of the state is \(5,\) after reset and \(6,\) after step"),
        (Fails(), "the step of .*TypeError"),
    ],
)
def test_what_does_not_run_is_refused_at_once(env, message):
    with pytest.raises(ValueError, match=message):
        FromBrax(env, 2)


def test_jax_is_told_of_wrong_actions():
    env = toy("jax")
    state, _ = env.reset(0)
    with pytest.raises(ValueError, match=r"shape \(3, 2\).*expected \(4, 2\)"):
        env.step(state, jnp.zeros((3, 2)))
    with pytest.raises(TypeError, match="action is a torch array"):
        env.step(state, torch.zeros(4, 2))


@pytest.mark.parametrize(("name", "expected"), [("ant", True), ("inverted_double_pendulum", False)])
def test_with_mjx_only_one_iteration_of_the_solver_is_differentiable(name, expected):
    env = envs.get_environment(name, backend="mjx")
    assert (int(env.sys.opt.iterations) == 1) is expected is is_differentiable(env)


# Compilation ---------------------------------------------------------------------------------------------------------


def test_a_long_compilation_says_so_and_is_kept_where_the_user_wants_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_jax_compiled, "_PATIENCE", 0.0)
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        if sys.platform.startswith("linux"):
            assert _jax_compiled.keep_compiled() == tmp_path / "diffsim" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
        assert _jax_compiled.keep_compiled() == tmp_path / "mine"
        toy().reset(0)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    said = capsys.readouterr()
    assert "JAX compiles the reset of 4 worlds of toy, which may take minutes" in said.err and not said.out
    assert str(tmp_path / "mine") in said.err
