"""MuJoCo Playground's environments by name: on a stand-in of the package, and on the package where it is installed."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
pytest.importorskip("brax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from diffsim_core import make, task_options  # noqa: E402
from diffsim_core.adapters import FromBrax, FromPlayground, _brax_worlds, _from_playground  # noqa: E402

from .brax_worlds import Toy  # noqa: E402

CONFIG = {
    "impl": "warp",
    "episode_length": 7,
    "action_repeat": 1,
    "far": 0.22,
    "iterations": 1,
    "noise": {"level": 1.0, "on": True, "shape": (2, 2)},
}
NAME = "playground:PointSettle"


def load(name, config=None, config_overrides=None):
    """A point on springs that says of itself what an environment of Playground does."""
    config = {**CONFIG, **(config_overrides or {})}
    if config["far"] < 0:
        raise ValueError("far is\nnegative")
    env = Toy(far=config["far"])
    del config["noise"]
    option = SimpleNamespace(iterations=config["iterations"], disableflags=0)
    env.mjx_model = SimpleNamespace(impl=f"Impl.{config['impl'].upper()}", opt=option)
    env.config = config
    return env


@pytest.fixture
def loaded(monkeypatch, tmp_path):
    """Puts the stand-in in the package's place; gives what its ``load`` was called with."""
    calls = []

    def recorded(name, config=None, config_overrides=None):
        calls.append((name, config_overrides))
        return load(name, config, config_overrides)

    names = ("PointSettle", "PointSwing")
    package = ModuleType("mujoco_playground")
    package.__file__ = str(tmp_path / "mujoco_playground" / "__init__.py")
    package.dm_control_suite = SimpleNamespace(ALL_ENVS=names)
    package.registry = SimpleNamespace(
        ALL_ENVS=(*names, "RobotWalk"), get_default_config=lambda name: CONFIG, load=recorded
    )
    monkeypatch.setitem(sys.modules, "mujoco_playground", package)
    monkeypatch.setattr(_brax_worlds, "_SHARED", {})
    return calls


def test_the_configuration_is_the_options(loaded):
    declared = task_options(NAME)
    assert {name: one.default for name, one in declared.known.items()} == {
        "impl": "jax",
        "episode_length": 7,
        "far": 0.22,
        "iterations": 1,
        "noise.level": 1.0,
        "noise.on": True,
    }
    env = make(f"{NAME}?far=1&noise.on=false", num_envs=2, episode_length=3, **{"noise.level": 2})
    given = {"impl": "jax", "far": 1.0, "noise.on": False, "noise.level": 2.0, "episode_length": 3}
    assert loaded == [("PointSettle", given)]
    assert (env.spec.horizon, env.spec.dt, env.spec.differentiable) == (3, 0.1, True)
    assert env.spec.name == f"{NAME}?far=1&noise.on=false" and make(NAME, num_envs=2).spec.horizon == 7


def test_environments_of_one_name_are_told_apart(loaded):
    for env in ("PointSettle", "PointSwing"):
        FromPlayground(env, 2, name="mine")
    assert [name for name, _ in loaded] == ["PointSettle", "PointSwing"]


@pytest.mark.parametrize("given", [{"iterations": 4}, {"impl": "warp"}])
def test_more_iterations_and_warp_have_no_gradients(loaded, given):
    assert not make(NAME, num_envs=2, **given).spec.differentiable
    assert make(NAME, num_envs=2).spec.differentiable


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("PointSetle", {}, "unknown environment of MuJoCo Playground 'PointSetle'; did you mean 'PointSettle'"),
        ("PointSettle", {"fat": 1.0}, "unknown option of environment 'PointSettle' of .*: 'fat'; did you mean 'far'"),
        ("PointSettle", {"noise": 1.0}, "unknown option .*: 'noise'.* Known: .*noise.level"),
        ("PointSettle", {"action_repeat": 2}, "unknown option .*: 'action_repeat'"),
        ("PointSettle", {"far": "wide"}, "far of environment .* is 'wide'; it takes a number"),
        ("PointSettle", {"impl": "wrap"}, "impl of .* did you mean warp"),
        ("PointSettle", {"episode_length": 0}, "episode_length of .* is 0; it takes an integer from 1"),
        ("PointSettle", {"far": -1.0}, r"cannot be made with impl='jax', far=-1.0: ValueError: far is negative; use"),
        ("PointSettle", {"dtype": "float16"}, "dtype must be"),
        ("RobotWalk", {}, r"needs models of robots.*python -c \".*registry.load\('RobotWalk'\)"),
    ],
)
def test_errors_say_what_to_do(loaded, name, given, message):
    with pytest.raises(ValueError, match=message):
        make(f"playground:{name}", num_envs=2, **given)
    assert name != "RobotWalk" or not loaded


def test_a_robot_is_loaded_where_its_models_are(loaded, tmp_path):
    (tmp_path / "mujoco_playground/external_deps/mujoco_menagerie").mkdir(parents=True)
    assert make("playground:RobotWalk", num_envs=2).spec.num_actions == 2


def test_without_the_package_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_playground", None)
    with pytest.raises(ImportError, match="needs mujoco_playground, which is not installed: pip install playground"):
        make("playground:CartpoleBalance")


@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_its_worlds_are_those_of_the_object(loaded, arrays):
    """States, rewards and ends of episodes, bit for bit; and another environment of the name compiles nothing anew."""
    one = make(NAME, num_envs=4, arrays=arrays)
    two = FromBrax(load("PointSettle"), 4, arrays=arrays, episode_length=7, name=NAME)
    ours, theirs = one.reset(3), two.reset(3)
    actions = np.random.default_rng(0).uniform(-1, 0.4, (10, 4, 2)).astype(np.float32)
    for action in actions:
        action = torch.from_numpy(action) if arrays == "torch" else jnp.asarray(action)
        ours, theirs = one.step(ours[0], action), two.step(theirs[0], action)
        for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(left, right)
    assert int(ours[0].episode.sum()) > 0
    again = copy.deepcopy(one)
    assert isinstance(again, FromPlayground) and again._worlds is one._worlds and len(loaded) == 1


installed = pytest.mark.skipif(
    importlib.util.find_spec("mujoco_playground") is None, reason="MuJoCo Playground is not here; no extra installs it"
)


@installed
@pytest.mark.slow
def test_the_package_itself():
    """A gradient through MJX is that of finite differences."""
    from mujoco_playground import registry

    assert not make("playground:HopperHop", num_envs=2).spec.differentiable
    env = make("playground:CartpoleBalance", num_envs=2, dtype="float64", episode_length=20)
    assert env.spec.differentiable and (env.spec.horizon, env.spec.dt, env.spec.num_actions) == (20, 0.01, 1)
    assert registry.get_default_config("CartpoleBalance").impl == "warp"
    state, obs = env.reset(0)
    action = torch.tensor([[0.3], [-0.2]], dtype=torch.float64, requires_grad=True)

    def total(action):
        after, first = env.step(state, action)
        return (env.step(after, action)[1].final_obs + first.reward[:, None]).sum()

    (grad,) = torch.autograd.grad(total(action), action)
    with torch.no_grad():
        for world in range(2):
            step = torch.zeros_like(action)
            step[world] = 1e-5
            difference = (total(action + step) - total(action - step)) / 2e-5
            torch.testing.assert_close(grad[world, 0], difference, rtol=1e-6, atol=1e-9)
    assert obs.shape == (2, env.spec.num_obs) and grad.abs().min() > 0


@installed
def test_nothing_is_downloaded_by_us(monkeypatch):
    monkeypatch.setattr(_from_playground, "_MODELS", Path("nowhere"))
    with pytest.raises(ValueError, match="needs models of robots"):
        make("playground:Go1JoystickFlatTerrain", num_envs=2)
