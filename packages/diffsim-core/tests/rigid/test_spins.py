"""Friction against turning: torsional and rolling."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ContactParams, load_model
from diffsim_core.rigid import HeightField, RigidDynamics, RigidModel, twin

from . import parametric
from .host import step, vjp
from .test_dynamics import central_differences, dynamics, relative
from .test_hulls import HILLS
from .test_pairs import tumbled_states
from .test_planes import FLOOR, SHAPES, WALL, mujocos, run, scene

STIFF = ContactParams(kn=3e4, kd=1e5, kt=300.0)
SOFT = ContactParams(kn=2e3, kd=300.0, kt=50.0, mu=0.8)
FREE = '<mujoco><worldbody><body><freejoint/><geom {} condim="6" friction="1 .05 .04"/></body></worldbody></mujoco>'


def free(shape: str, ground: float | HeightField = 0.0) -> RigidModel:
    return load_model(FREE.format(SHAPES[shape]), ground=ground, contact=SOFT)


@pytest.mark.parametrize("ground", [0.0, HILLS], ids=["plane", "hills"])
@pytest.mark.parametrize("shape", ["sphere", "ellipsoid"])
@pytest.mark.parametrize("law", ["paper", "released"])
def test_forces_and_gradients(shape: str, ground: float | HeightField, law: str) -> None:
    model = dataclasses.replace(free(shape, ground), contact_law=law, contact_smoothing=0.01)
    assert np.allclose(model.contact_spin, 0.05) and np.allclose(model.contact_roll, 0.04)
    d = dynamics(model, substeps=2)
    arrays = tumbled_states(model, 24, seed=3)
    arrays[0][:, 2] *= 0.5
    arrays[1][::2, 3:] *= 0.1  # some stick, some slip
    assert (d.probe(*arrays).contacts > 0).sum() > 6
    out = step(d, *arrays)
    for i, state in enumerate(zip(*arrays, strict=True)):
        q, qd = twin.control_step(model, *state, d.dt, 2)
        assert relative(out.q[i], q) < 1e-9
        assert relative(out.qd[i], qd) < 1e-9
    rng = np.random.default_rng(4)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    given, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd, eps=1e-7)
    for a, b in zip(given[:2], expected[:2], strict=True):
        assert np.abs(a - b).max(axis=1) == pytest.approx(0, abs=1e-6 * np.abs(b).max())


def test_steps_are_the_twins() -> None:
    model = load_model(
        scene(FLOOR + WALL, f'{SHAPES["box"]} condim="6" friction="1 .05 .04"', pos="0 0 0"), contact=SOFT
    )
    arrays = tumbled_states(model, 8, seed=1)
    arrays[0][:, 0] -= 0.2
    d = dynamics(model, substeps=2)
    out = step(d, *arrays)
    for i, state in enumerate(zip(*arrays, strict=True)):
        q, qd = twin.control_step(model, *state, d.dt, 2)
        assert relative(out.q[i], q) < 1e-9 and relative(out.qd[i], qd) < 1e-9


def test_gradients_of_gains() -> None:
    model = free("sphere")
    d = RigidDynamics(
        model,
        dt=0.004,
        substeps=2,
        dtype="float64",
        parameters=["contact_kn", "contact_kd", "contact_kt", "contact_mu"],
    )
    q, qd, u = tumbled_states(model, 12, seed=5)
    q[:, 2] = np.linspace(0.05, 0.1, 12)
    qd[::2, 3:] *= 0.05
    params = np.tile(d.parameters.nominal, (12, 1))
    rng = np.random.default_rng(6)
    gq, gqd = rng.standard_normal(q.shape), rng.standard_normal(qd.shape)
    given = parametric.vjp(d, q, qd, params, u, (gq, gqd))[2]
    for j, nominal in enumerate(d.parameters.nominal):
        values = []
        for sign in (1, -1):
            moved = params.copy()
            moved[:, j] += sign * 1e-5 * nominal
            out = parametric.step(d, q, qd, moved, u)
            values.append(np.sum(out.q * gq, axis=1) + np.sum(out.qd * gqd, axis=1))
        expected = (values[0] - values[1]) / (2e-5 * nominal)
        np.testing.assert_allclose(given[:, j], expected, atol=1e-6 * np.abs(expected).max())


def test_a_spinning_ball_stops_as_mujocos_does() -> None:
    """Its rate falls by ``mu r_spin m g / I`` a second."""
    xml = scene(
        FLOOR, f'{SHAPES["sphere"]} condim="4" friction="1 .01 0"', option='<option cone="elliptic" impratio="10"/>'
    )
    model = load_model(xml, contact=STIFF)
    assert model.contact_spin.tolist() == [0.01] and not model.contact_roll.any()
    spin = (0, 0, 0, 0, 0, 20.0)
    found, right = run(model, 0.25, spin), mujocos(xml, 0.25, spin)
    fall = 0.01 * 9.81 / 0.004 * 0.25
    assert found.qd[0, 5] == pytest.approx(20 - fall, abs=0.2)
    assert found.qd[0, 5] == pytest.approx(right.qvel[5], abs=0.4)
    assert abs(run(model, 1.2, spin).qd[0, 5]) < 1e-3


def test_a_rolling_ball_stops_as_mujocos_does() -> None:
    """Rolling friction ``mu r_roll m g`` brakes ``7/5 m R`` of speed."""
    xml = scene(
        FLOOR, f'{SHAPES["sphere"]} condim="6" friction="1 .005 .005"', option='<option cone="elliptic" impratio="10"/>'
    )
    model = load_model(xml, contact=STIFF)
    push = (1, 0, 0, 0, 10.0, 0)
    found, right = run(model, 1.0, push), mujocos(xml, 1.0, push)
    assert found.qd[0, 0] == pytest.approx(1 - 0.005 * 9.81 / (1.4 * 0.1), abs=0.02)
    assert found.qd[0, 0] == pytest.approx(right.qvel[0], abs=0.05)
    assert abs(run(model, 4.0, push).qd[0, 0]) < 1e-3


def test_what_does_not_turn_needs_no_tables() -> None:
    model = load_model(scene(FLOOR, f'{SHAPES["sphere"]} condim="3" friction="1 .05 .04"'))
    assert not model.contact_spin.any() and not model.contact_roll.any()
    m = mujoco.MjModel.from_xml_string(scene(FLOOR, f'{SHAPES["sphere"]} condim="3"'))
    assert m.geom_condim.max() == 3
