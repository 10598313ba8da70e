"""Smoothed contact, and contact from a distance in the backward pass alone."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import diffsim_core  # noqa: E402
from diffsim_core.io import load_model  # noqa: E402
from diffsim_core.rigid.dynamics import RigidDynamics  # noqa: E402
from diffsim_core.rigid.twin_contact import Contact, contact_force  # noqa: E402
from diffsim_core.tasks._rigid import bundled_model  # noqa: E402

from .host import random_states, step, vjp  # noqa: E402
from .test_dynamics import central_differences, dynamics, relative  # noqa: E402

BALL = """<mujoco><worldbody><geom type="plane" size="5 5 1"/><body pos="0 0 0.1"><freejoint/><geom size="0.1"/></body>
  </worldbody></mujoco>"""
PUSH = """<mujoco><worldbody>
  <body name="finger"><joint type="slide" axis="1 0 0"/><geom size="0.1" mass="1"/></body>
  <body name="ball" pos="0.25 0 0"><joint type="slide" axis="1 0 0"/><geom size="0.1" mass="1"/></body>
  </worldbody><actuator><motor joint="finger" gear="5"/></actuator></mujoco>""".replace(
    '<body name="finger"><joint', '<body name="finger"><joint name="finger"'
)


def normal(d: float, width: float) -> float:
    """Normal force for kn = 1 at rest."""
    n = np.array([0.0, 0, 1])
    return float(contact_force("paper", width, (1.0, 0, 0, 0), Contact(n, n, d), np.zeros(3))[2])


def test_the_smoothed_law_joins_the_hard_one_smoothly() -> None:
    w = 0.01
    for d in (-0.05, -w, w, 0.02):
        assert normal(d, w) == pytest.approx(normal(d, 0.0), abs=1e-15)
    assert normal(0.0, w) == w / 4
    at = np.linspace(-2 * w, 2 * w, 4001)
    slope = np.gradient([normal(d, w) for d in at], at)
    assert slope.min() >= -1 - 1e-9 and slope.max() <= 1e-9
    assert np.abs(np.diff(slope)).max() < 1e-3  # the hard law's slope jumps by 1


@pytest.mark.parametrize("law", ["paper", "released"])
def test_smoothed_gradients(law: str) -> None:
    d = dynamics(bundled_model("ant", contact_law=law), substeps=6, contact_smoothing=0.03)
    arrays = random_states(d.model, 7, seed=2, spread=0.2)
    arrays[0][:, 2] = np.linspace(0.4, 0.9, 7)
    rng = np.random.default_rng(3)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    for a, b in zip(vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd), strict=True):
        assert relative(a, b) < 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backward_smoothing_leaves_the_forward_pass_alone(dtype: str) -> None:
    m = bundled_model("ant")
    q, qd, u = random_states(m, 9, seed=1, dtype=dtype, spread=0.1)
    q[:, 2] = np.linspace(0.3, 0.9, 9)
    hard, soft = dynamics(m, 16, dtype), dynamics(m, 16, dtype, backward_smoothing=0.05)
    a, b = step(hard, q, qd, u), step(soft, q, qd, u)
    assert np.array_equal(a.q, b.q) and np.array_equal(a.qd, b.qd) and np.array_equal(a.saved, b.saved)
    assert soft.model.contact_smoothing == 0
    same = vjp(dynamics(m, 16, dtype, backward_smoothing=0.0), q, qd, u, q, qd)
    for x, y, z in zip(vjp(hard, q, qd, u, q, qd), same, vjp(soft, q, qd, u, q, qd), strict=True):
        assert np.array_equal(x, y) and not np.array_equal(x, z)


def test_backward_smoothing_is_the_gradient_of_the_smoothed_force() -> None:
    """A ball's mass matrix is constant, so in one sub-step the force is all that can tell the two laws apart."""
    m = load_model(BALL)
    hard, smooth = (
        dynamics(m, 1, integrator="explicit", **{key: 0.02}) for key in ("backward_smoothing", "contact_smoothing")
    )
    q, qd, u = random_states(m, 8, seed=5, spread=0.01)
    q[:, 2] = 0.1 + np.linspace(-0.015, 0.03, 8)
    rng = np.random.default_rng(6)
    gq, gqd = rng.standard_normal(q.shape), rng.standard_normal(qd.shape)
    gq[:, 3:] = 0  # the next attitude depends on the two laws' own velocities
    found = vjp(hard, q, qd, u, gq, gqd)
    expected = central_differences(smooth, (q, qd, u), gq, gqd)
    for a, b in zip(found[:2], expected[:2], strict=True):
        assert relative(a, b) < 1e-6


def test_a_body_that_is_not_touched_yet_pulls_the_gradient() -> None:
    """5 cm between finger and ball: the ball's place after the step depends on the push in the backward pass alone."""
    m = load_model(PUSH, body_contact=True)
    q, qd, u = np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 1))
    gq, gqd = np.array([[0.0, 1.0]]), np.zeros((1, 2))

    def gradient(**options: float) -> float:
        return float(vjp(RigidDynamics(m, dt=0.1, substeps=50, dtype="float64", **options), q, qd, u, gq, gqd)[2][0, 0])

    assert gradient() == 0
    assert gradient(backward_smoothing=0.04) == 0
    assert gradient(backward_smoothing=0.1) > 0
    assert gradient(contact_smoothing=0.1) > 0


def test_tasks_have_the_options() -> None:
    hard, soft = (diffsim_core.make("ant", num_envs=2, **o) for o in ({}, {"backward_smoothing": 0.02}))
    assert soft.task.dynamics.model.contact_smoothing == 0
    wide = diffsim_core.make("ant", num_envs=2, contact_smoothing=0.02)
    assert wide.task.dynamics.model.contact_smoothing == 0.02
    ends, gradients = [], []
    for env in (hard, soft, wide):
        state, _ = env.reset(seed=0)
        action = torch.zeros(2, 8, requires_grad=True)
        for _ in range(20):
            state, transition = env.step(state, action)
        transition.reward.sum().backward()
        ends.append(state.physics.q.detach())
        gradients.append(action.grad)
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])
    assert not torch.equal(gradients[0], gradients[1])


@pytest.mark.parametrize("name", ["contact_smoothing", "backward_smoothing"])
@pytest.mark.parametrize("width", [-0.1, np.nan, np.inf])
def test_a_bad_width_is_named(name: str, width: float) -> None:
    with pytest.raises(ValueError, match=f"{name}=.*at least 0"):
        dynamics(load_model(BALL), **{name: width})
