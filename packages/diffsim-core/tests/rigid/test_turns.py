"""Joints turn no further than a sub-step resolves: the law, its gradient, what it leaves alone, and what it is for."""

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import RigidDynamics, twin
from diffsim_core.rigid.turns import TURN, bend, bent_links

from .host import random_states, step, vjp
from .test_dynamics import central_differences, relative

H = 1e-3
PADDLE = """
<mujoco>
  <option gravity="0 0 0"/>
  <worldbody><body><joint name="j" axis="0 0 1"/><geom size="{size}" type="{shape}" pos="{at} 0 0"/></body></worldbody>
  <actuator><motor joint="j"/></actuator>
</mujoco>"""
CHAIN = """
<mujoco>
  <compiler angle="radian"/>
  <worldbody><body pos="0 0 1"><freejoint/><geom size="0.1 0.05 0.02" type="box"/>
    <body pos="0.1 0 0"><joint type="ball"/><geom type="capsule" size="0.02" fromto="0 0 0 0.2 0 0.05"/>
      <body pos="0.2 0 0"><joint name="b" axis="0 1 0" range="-2 2"/>{slide}
        <geom type="capsule" size="0.02" fromto="0 0 0 0.1 0.1 0"/>
        <body pos="0.1 0 0"><joint name="d" axis="1 0 1"/><geom type="box" size="0.05 0.01 0.01" pos="0.05 0 0"/></body>
      </body>
    </body>
  </body></worldbody>
  <actuator><motor joint="b" gear="{gear}"/><motor joint="d" gear="{gear}"/></actuator>
</mujoco>"""


SLIDE = '<joint name="c" type="slide" axis="0 0 1"/>'


def paddle(shape="box", size="0.1 0.02 0.02", at="0.1"):
    return load_model(PADDLE.format(shape=shape, size=size, at=at))


def after(model, rates, **options):
    """Rates after one sub-step of ``H`` seconds without any force."""
    d = RigidDynamics(model, dt=H, substeps=1, dtype="float64", threads=1, **options)
    rates = np.array(rates, dtype=float)[:, None]
    return step(d, np.zeros_like(rates), rates, np.zeros_like(rates))


def test_a_rate_bends_where_the_sub_step_does_not_resolve_it():
    rates = np.array([0.0, 3.0, -249.999, 250.0, 300.0, -1000.0, 1e6])
    turns = np.abs(rates) * H
    found = after(paddle(), rates)
    expected = np.where(turns > TURN, np.sign(rates) * TURN / H * (2 - TURN / np.maximum(turns, TURN)), rates)
    np.testing.assert_allclose(found.qd[:, 0], expected, rtol=1e-14)
    np.testing.assert_array_equal(found.qd[:4, 0], rates[:4])  # the same bits
    np.testing.assert_allclose(found.q[:, 0], H * found.qd[:, 0], rtol=1e-14)
    assert np.abs(found.q).max() < 2 * TURN
    assert found.ok.all()


def test_the_explicit_integrator_bends_nothing():
    np.testing.assert_array_equal(after(paddle(), [1e4], integrator="explicit").qd, [[1e4]])


@pytest.mark.parametrize(
    ("shape", "size", "at", "bent"),
    [
        ("cylinder", "0.1 0.02", "0", False),
        ("sphere", "0.1", "0", False),
        ("box", "0.1 0.1 0.01", "0", False),  # a square is as round as a circle
        ("cylinder", "0.1 0.02", "0.05", True),
        ("box", "0.1 0.01 0.01", "0", True),
    ],
)
def test_round_wheels_turn_as_fast_as_they_like(shape, size, at, bent):
    model = paddle(shape, size, at)
    assert bent_links(model) == [bent]
    assert (after(model, [5000.0]).qd[0, 0] == 5000.0) != bent


def test_what_carries_links_is_no_wheel_and_a_slide_does_not_turn():
    model = load_model(CHAIN.format(gear=1, slide=SLIDE))
    assert bent_links(model) == [True, True, True, False, True]


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_a_fast_chain_equals_the_twin_and_its_gradient_equals_differences(memory):
    model = load_model(CHAIN.format(gear=10, slide=SLIDE))
    d = RigidDynamics(model, dt=4e-3, substeps=4, dtype="float64", threads=1, memory=memory)
    q, qd, u = random_states(model, 4, seed=1, speed=400.0)
    bent = 0
    out = step(d, q, qd, u)
    for i in range(len(q)):
        expected = twin.control_step(model, q[i], qd[i], u[i], d.dt, d.substeps)
        assert relative(out.q[i], expected[0]) < 1e-10
        assert relative(out.qd[i], expected[1]) < 1e-10
        bent += np.sum(bend(model, qd[i], d.dt / d.substeps) != qd[i])
    assert bent > 10
    rng = np.random.default_rng(2)
    gq, gqd = rng.standard_normal(q.shape), rng.standard_normal(qd.shape)
    found = vjp(d, q, qd, u, gq, gqd)
    for a, b in zip(found, central_differences(d, (q, qd, u), gq, gqd, eps=1e-5), strict=True):
        assert relative(a, b) < 1e-6


def test_a_chain_with_absurd_motors_does_not_run_away():
    model = load_model(CHAIN.format(gear=1000, slide=""))  # on the slide links would fly away
    d = RigidDynamics(model, dt=1 / 60, dtype="float64", threads=1)
    rng = np.random.default_rng(3)
    q, qd = np.tile(model.q_ref, (5, 1)), np.zeros((5, model.nv))
    for _ in range(100):
        out = step(d, q, qd, rng.uniform(-1, 1, (5, model.nu)))
        assert out.ok.all()
        q, qd = out.q, out.qd
