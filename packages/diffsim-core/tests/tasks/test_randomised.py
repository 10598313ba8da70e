"""Domain randomisation: drawn for each world and episode, with gradients, in torch and in JAX."""

from __future__ import annotations

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import diffsim_core  # noqa: E402
from diffsim_core._interop import to_numpy  # noqa: E402
from diffsim_core.check import check_env, check_gradients, check_task  # noqa: E402
from diffsim_core.rigid import Parameters, RigidState  # noqa: E402
from diffsim_core.tasks import Randomised  # noqa: E402

from ..pendulum import Pendulum  # noqa: E402
from .played import TASKS  # noqa: E402

RANGES = {"link_density:pole": (0.5, 2.0), "limit_damping": (0.8, 1.2), "gravity:z": (1.0, 1.0)}


def made(**options):
    return diffsim_core.make("cartpole", randomize=RANGES, **options)


def test_parameters_lie_in_their_ranges_and_one_factor_serves_a_name():
    env = diffsim_core.make("ant", num_envs=256, randomize={"link_density": (0.5, 1.5), "contact_mu:*": (0.1, 0.9)})
    params = to_numpy(env.reset(3)[0].constants.params)
    parameters = env.task.dynamics.parameters
    factor = params / parameters.nominal
    density, mu = (factor[:, list(group)] for group in parameters.groups.values())
    for block, (low, high) in ((density, (0.5, 1.5)), (mu, (0.1, 0.9))):
        np.testing.assert_allclose(block, block[:, :1].repeat(block.shape[1], 1), rtol=1e-6)
        assert low <= block.min() < low + 0.1 and high - 0.1 < block.max() <= high
        assert abs(block.mean() - (low + high) / 2) < 0.05
    assert abs(np.corrcoef(density[:, 0], mu[:, 0])[0, 1]) < 0.2


def test_an_episode_keeps_its_parameters_and_the_next_has_others():
    env = made(num_envs=6, episode_length=3)
    state, _ = env.reset(0)
    first = state.constants.params
    for k in range(3):
        assert torch.equal(state.constants.params, first)
        state, transition = env.step(state, torch.zeros(6, 1))
        assert bool(transition.truncated.all()) == (k == 2)
    assert not (state.constants.params[:, 0] == first[:, 0]).any()
    again, _ = made(num_envs=3).reset(0)
    assert torch.equal(again.constants.params, first[:3]), "named by seed, world and episode alone"


def test_the_parameters_act():
    env = made(num_envs=8, dtype="float64", random_start=False)
    state, _ = env.reset(0)
    after, _ = env.step(state, torch.ones(8, 1, dtype=torch.float64))
    assert len(set(after.physics.qd[:, 1].tolist())) == 8
    assert isinstance(after.physics, RigidState)
    assert after.constants is state.constants, "no step copies them"


def test_promises_of_the_protocol():
    check_env(made(num_envs=8), fewer=made(num_envs=2))


@pytest.mark.parametrize("task", [name for name in TASKS if name != "cartpole"])
def test_every_task_has_gradients_by_every_kind_of_parameter(task):
    """Those of ``diffrl check``, in a few worlds."""
    plain = diffsim_core.make(task, num_envs=2, dtype="float64")
    parameters = Parameters(plain.task.dynamics.model, plain.task.dynamics.parameters.kinds())
    ranges = {k: (0.9, 1.1) for k, group in parameters.groups.items() if parameters.nominal[list(group)].any()}
    env = diffsim_core.make(task, num_envs=2, dtype="float64", randomize=ranges)
    assert check_gradients(env, warmup=10).rel_error["parameters"] < 1e-6


def test_check_task_covers_parameters():
    report = check_task(functools.partial(diffsim_core.make, "cartpole"), num_envs=16, horizon=8)
    assert report.ok and report.gradients.rel_error["parameters"] <= 1e-6
    assert report.gradients.max_rel_error >= report.gradients.rel_error["parameters"] > 0


def test_jax_equals_torch():
    jax = pytest.importorskip("jax")
    results = []
    for arrays in ("torch", "jax"):
        env = made(num_envs=4, arrays=arrays)
        state, obs = env.reset(5)
        xp = env.xp
        step = env.step if arrays == "torch" else jax.jit(env.step)
        state, transition = step(state, xp.ones((4, 1), dtype=xp.float32))
        results.append([to_numpy(x) for x in (state.constants.params, obs, transition.reward, state.physics.qd)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({"link_density:pol": (0.5, 2)}, ["link_density:pol", "did you mean 'link_density:pole'"]),
        ({"link_mass:pole": (-1, 2)}, ["link_mass:pole is -", "greater than 0"]),
        ({"link_mass:pole": (2, 1)}, ["'link_mass:pole' has (2.0, 1.0)", "lower first"]),
        ({"link_mass:pole": (1, float("nan"))}, ["randomize of task 'cartpole'", "takes a table"]),
        ({"link_mass:pole": 2.0}, ["randomize of task 'cartpole' is {'link_mass:pole': 2.0}", "takes a table"]),
        ({"joint_stiffness": (0.5, 2)}, ["'joint_stiffness' is zero in the model"]),
    ],
)
def test_bad_ranges_are_refused(ranges, words):
    with pytest.raises(ValueError) as caught:
        diffsim_core.make("cartpole", num_envs=2, randomize=ranges)
    for word in words:
        assert word in str(caught.value)


def test_a_task_without_rigid_bodies_is_refused():
    with pytest.raises(TypeError, match="needs a task on RigidDynamics"):
        Randomised(Pendulum(), {"gravity": (1, 2)})
