"""The peer simulates the same thing: closed form, sub-steps, state layout."""

from __future__ import annotations

import numpy as np
import pytest

from diffrl_bench._hulled import hulled_humanoid
from diffrl_bench._mujoco import JACOBIANS, MuJoCoWindow, bundled_mjcf, compiled, mujoco
from diffrl_bench._stopwatch import Clock, Stopwatch

_SLIDER = """
<mujoco>
  <option gravity="0 0 -10"/>
  <worldbody>
    <body><joint name="z" type="slide" axis="0 0 1"/><geom type="sphere" size="0.1" mass="2"/></body>
  </worldbody>
  <actuator><motor joint="z" gear="4"/></actuator>
</mujoco>
"""


def _slider(dt: float, steps: int, *, jacobians: bool = False) -> MuJoCoWindow:
    control = np.full((steps, 3, 1), [[0.0], [5.0], [1.0]])
    return MuJoCoWindow(_SLIDER, np.zeros((3, 1)), np.ones((3, 1)), control, dt=dt, threads=2, jacobians=jacobians)


@pytest.mark.parametrize(("dt", "substeps"), [(1 / 60, 2), (0.01, 1), (0.02, 2), (0.0101, 2), (0.1, 10)])
def test_substeps_are_the_fewest_of_at_most_10_ms(dt: float, substeps: int) -> None:
    window = _slider(dt, 1)
    assert window.substeps == substeps
    assert window.step_s == pytest.approx(dt / substeps)
    window.close()


def test_window_is_the_closed_form() -> None:
    window = _slider(0.02, 10)
    watch = Stopwatch(Clock())
    window(watch)
    window.close()
    h, n = window.step_s, 20
    acceleration = np.array([-10.0, 0.0, -8.0])  # gravity, and 4 N per unit of control on 2 kg
    expected = n * h + acceleration * h * h * n * (n + 1) / 2  # semi-implicit Euler
    np.testing.assert_allclose(window._out[:, -1, 1], expected, rtol=1e-9)
    assert window.steps == 3 * 20
    assert window.finite
    assert window.contacts() == 0.0
    assert set(watch.laps) == {"forward"}


def test_jacobians_are_timed_when_asked_for() -> None:
    window = _slider(0.02, 2, jacobians=True)
    watch = Stopwatch(Clock())
    window(watch)
    window.close()
    assert set(watch.laps) == {"forward", "jacobians"}
    assert window._linear is not None
    assert len(window._linear._states) == JACOBIANS
    # x' = x + h (v + h a), v' = v + h a, a = g + 2 u
    h = window.step_s
    np.testing.assert_allclose(window._linear._a, [[1, h], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(window._linear._b, [[2 * h * h], [2 * h]], atol=1e-6)


def test_other_models_are_refused() -> None:
    with pytest.raises(ValueError, match="does not describe"):
        MuJoCoWindow(
            _SLIDER, np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 1, 1)), dt=0.01, threads=1, jacobians=False
        )


def test_bundled_models() -> None:
    assert "<mujoco" in (bundled_mjcf("ant") or "")
    assert bundled_mjcf("no-such-task") is None


def test_ant_starts_in_the_same_state_and_lands_on_the_same_ground() -> None:
    """Free fall of the whole Ant without actions: both engines agree until a foot meets the ground."""
    import torch

    import diffsim_core

    env = diffsim_core.make("ant", num_envs=2, dtype="float64", threads=1, random_start=False)
    state, _ = env.reset(0)
    physics = state.physics
    lifted = physics.q.clone()
    lifted[:, 2] += 2.0
    turning = torch.zeros_like(physics.qd)
    turning[:, 0], turning[:, 5] = 1.0, 0.5
    mjcf = bundled_mjcf("ant")
    assert mjcf is not None
    window = MuJoCoWindow(
        mjcf, lifted.numpy(), turning.numpy(), np.zeros((6, 2, 8)), dt=1 / 60, threads=1, jacobians=False
    )
    window(Stopwatch(Clock()))
    window.close()
    q, qd = lifted, turning
    for _ in range(6):
        (q, qd), ok = env.dynamics_step(type(physics)(q, qd), (torch.zeros(2, 8, dtype=torch.float64),))
        assert bool(ok.all())
    theirs = window._out[:, -1, 1:8]
    # Within what semi-implicit Euler with steps of 8 ms and of 1 ms differ in falling: g t h / 2.
    np.testing.assert_allclose(q[:, :7].numpy(), theirs, atol=9.81 * 0.1 * (1 / 120) / 2 + 1e-3)


def test_the_hulled_humanoid_has_twenty_hulls_inside_its_capsules() -> None:
    model = compiled(hulled_humanoid())
    bodies = mujoco.MjModel.from_xml_string(bundled_mjcf("humanoid"))
    assert (model.nmesh, model.nq, model.nu) == (20, bodies.nq, bodies.nu)
    assert set(map(int, model.mesh_vertnum)) == {26}
    shapes = [
        model.geom(k).name for k in range(model.ngeom) if int(model.geom_type[k]) == int(mujoco.mjtGeom.mjGEOM_MESH)
    ]
    assert len(shapes) == 20
    ours, theirs = mujoco.MjData(model), mujoco.MjData(bodies)
    mujoco.mj_kinematics(model, ours)
    mujoco.mj_kinematics(bodies, theirs)
    for name in set(shapes) - {"neck"}:
        k, g = model.geom(name).id, bodies.geom(name).id
        mesh = int(model.geom_dataid[k])
        start = int(model.mesh_vertadr[mesh])
        points = np.array(model.mesh_vert[start : start + 26]) @ ours.geom_xmat[k].reshape(3, 3).T + ours.geom_xpos[k]
        local = (points - theirs.geom_xpos[g]) @ theirs.geom_xmat[g].reshape(3, 3)
        half = bodies.geom_size[g, 1] if int(bodies.geom_type[g]) == int(mujoco.mjtGeom.mjGEOM_CAPSULE) else 0.0
        local[:, 2] -= np.clip(local[:, 2], -half, half)
        np.testing.assert_allclose(
            np.linalg.norm(local, axis=1), bodies.geom_size[g, 0], atol=1e-6
        )  # six digits of XML
