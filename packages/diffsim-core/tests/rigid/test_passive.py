"""Gravity compensation and fluid: against MuJoCo, the twin, and central differences."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.dynamics import RigidDynamics

from .host import buffer, random_states, step, vjp
from .trees import random_state, random_tree

pytestmark = pytest.mark.filterwarnings("ignore:model .* will diverge")

OPTIONS = {
    "air": 'density="1.2" viscosity="0.00002" wind="1 -2 0.5"',
    "water": 'density="900" viscosity="3" wind="0.3 0.2 -0.4"',
    "honey": 'density="0" viscosity="9"',
}


def immersed(seed: int, fluid: str = "", ellipsoids: bool = False, gravcomp: bool = False) -> str:
    """A random tree, some of whose bodies are welded together, in a fluid and partly held."""
    rng = np.random.default_rng(seed)

    def body(found: re.Match[str]) -> str:
        held = f'gravcomp="{rng.choice([0.0, 1.0, rng.uniform(0, 2)]):.3g}" ' if gravcomp else ""
        return f"<body {held}"

    def geom(found: re.Match[str]) -> str:
        numbers = " ".join(f"{x:.3g}" for x in rng.uniform(0.1, 2, 5))
        return f'<geom fluidshape="ellipsoid" fluidcoef="{numbers}" ' if rng.random() < 0.7 else "<geom "

    xml = re.sub("<body ", body, random_tree(seed))
    xml = re.sub("<geom ", geom, xml) if ellipsoids else xml
    return xml.replace("<option ", f"<option {fluid} ") if fluid else xml


CASES: list[dict[str, Any]] = [
    {"gravcomp": True},
    *({"fluid": fluid} for fluid in OPTIONS.values()),
    *({"fluid": fluid, "ellipsoids": True, "gravcomp": True} for fluid in OPTIONS.values()),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_forces_and_accelerations_are_mujocos(case: int) -> None:
    for seed in range(12):
        xml = immersed(seed, **CASES[case])
        model = load_model(xml)
        m = mujoco.MjModel.from_xml_string(xml)
        m.opt.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
        m.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT | mujoco.mjtDisableBit.mjDSBL_CLAMPCTRL
        d = mujoco.MjData(m)
        rng = np.random.default_rng(seed)
        q, qd = random_state(rng, m.nq, m.jnt_type)
        u = rng.normal(size=m.nu)
        d.qpos[:], d.qvel[:], d.ctrl[:] = q, qd, u
        mujoco.mj_forward(m, d)
        found = RigidDynamics(model, dt=0.01, substeps=1, dtype="float64", threads=1).probe(q[None], qd[None], u[None])
        scale = np.abs(d.qfrc_passive).max() + np.abs(d.qfrc_bias).max() + np.abs(d.qfrc_actuator).max()
        expected = d.qfrc_passive + d.qfrc_actuator - d.qfrc_bias
        assert np.abs(found.force[0] - expected).max() < 1e-10 * scale, seed
        assert np.abs(found.qdd[0] - d.qacc).max() < 1e-9 * np.abs(d.qacc).max(), seed
        assert np.abs(twin.forward_dynamics(model, q, qd, u) - d.qacc).max() < 1e-9 * np.abs(d.qacc).max(), seed


@pytest.mark.parametrize("case", range(len(CASES)))
def test_vjp_equals_central_differences(case: int) -> None:
    for seed in range(4):
        d = RigidDynamics(load_model(immersed(seed, **CASES[case])), dt=1e-3, substeps=4, dtype="float64", threads=1)
        arrays = random_states(d.model, 2, seed)
        rng = np.random.default_rng(seed)
        bars = [rng.standard_normal(a.shape) for a in arrays[:2]]
        found = vjp(d, *arrays, *bars)
        for k, x in enumerate(arrays):
            expected = np.zeros_like(x)
            for j in range(x.shape[1]):
                values = []
                for sign in (1, -1):
                    moved = [a.copy() for a in arrays]
                    moved[k][:, j] += sign * 1e-6
                    out = step(d, *moved)
                    values.append(sum((a * b).sum(1) for a, b in zip((out.q, out.qd), bars, strict=True)))
                expected[:, j] = (values[0] - values[1]) / 2e-6
            scale = max(np.abs(a).max() for a in found if a.size)
            assert not x.size or np.abs(found[k] - expected).max() < 1e-6 * scale, (seed, k)


def test_masses_and_gravity_as_inputs() -> None:
    """Gradients by what gravity compensation depends on."""
    m = load_model(immersed(12, OPTIONS["air"], gravcomp=True))
    assert m.link_gravcomp.any() and m.link_gravcomp_offset.any()
    names = ("link_mass", "link_com", "gravity")
    d = RigidDynamics(m, dt=1 / 60, substeps=2, dtype="float64", threads=1, parameters=names)
    q, qd, u = random_states(m, 1, 12)
    params = d.parameters.nominal[None].copy()
    bars = [np.random.default_rng(k).standard_normal(a.shape) for k, a in enumerate((q, qd))]

    def run(p):
        out, ok, saved = [np.full_like(a, np.nan) for a in (q, qd)], np.zeros(1, np.int32), np.zeros(d.saved_size(1))
        d.step([buffer(q), buffer(qd)], [buffer(u), buffer(p)], [buffer(a) for a in out], buffer(ok), buffer(saved))
        return out, ok, saved

    out, ok, saved = run(params)
    expected = twin.control_step(m, q[0], qd[0], u[0], 1 / 60, 2)
    assert all(np.abs(a[0] - b).max() < 1e-10 for a, b in zip(out, expected, strict=True))
    found = [np.full_like(a, np.nan) for a in (q, qd, u, params)]
    given = [[buffer(q), buffer(qd)], [buffer(u), buffer(params)], buffer(ok), buffer(saved)]
    d.vjp(*given, [buffer(b) for b in bars], [buffer(a) for a in found])
    expected = []
    for j in range(params.shape[1]):
        moved = [params + sign * 1e-6 * np.eye(1, params.shape[1], j) for sign in (1, -1)]
        values = [sum(np.vdot(a, b) for a, b in zip(run(p)[0], bars, strict=True)) for p in moved]
        expected.append((values[0] - values[1]) / 2e-6)
    assert np.abs(found[3][0] - expected).max() < 1e-6 * np.abs(expected).max()


def test_a_body_that_is_held_floats_and_the_energy_says_so() -> None:
    body = '<body pos="0 0 1" gravcomp="1"><freejoint/><geom size="0.1" mass="2" pos="0.2 0.1 0"/></body>'
    m = load_model(f"<mujoco><worldbody>{body}</worldbody></mujoco>")
    qd = np.array([0.3, 0, 0.2, 1, 2, 3])
    q, after = twin.control_step(m, m.q_ref, qd, np.zeros(0), 1.0, 400)
    energies = [twin.energy(m, *state) for state in ((m.q_ref, qd), (q, after))]
    assert abs(energies[0].potential) < 1e-12 and abs(energies[1].potential) < 1e-12
    assert energies[1].kinetic == pytest.approx(energies[0].kinetic, rel=0.05)
    assert np.linalg.norm(after[:3]) < 1.5  # nothing fell for a second


def test_a_ball_falls_as_stokes_says() -> None:
    """Terminal velocity of a small sphere: weight over 3 pi d mu, with the box's side for d, as MuJoCo has it."""
    xml = """<mujoco><option viscosity="5"/><worldbody><body><freejoint/><geom size="0.05" mass="0.1"/></body>
      </worldbody></mujoco>"""
    m = load_model(xml)
    _, qd = twin.control_step(m, m.q_ref, np.zeros(6), np.zeros(0), 2.0, 400)
    side = np.sqrt(0.4 * 0.05**2 * 6)
    assert qd[2] == pytest.approx(-0.1 * 9.81 / (3 * np.pi * side * 5), rel=1e-6)


def test_actuatorgravcomp_only_says_which_force_it_is() -> None:
    """MuJoCo counts it among the actuators' forces; without bounds on these the motion is the same."""
    arm = """<mujoco><worldbody><body gravcomp="0.7"><joint name="j" axis="0 1 0" actuatorgravcomp="{}"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0.4 0 0"/></body></worldbody>
      <actuator><motor joint="j"/></actuator></mujoco>"""
    plain, counted = (load_model(arm.format(flag)) for flag in ("false", "true"))
    at = np.array([0.3]), np.array([0.1]), np.zeros(1)
    m = mujoco.MjModel.from_xml_string(arm.format("true"))
    d = mujoco.MjData(m)
    d.qpos[:], d.qvel[:] = at[:2]
    mujoco.mj_forward(m, d)
    assert twin.forward_dynamics(counted, *at) == twin.forward_dynamics(plain, *at) == pytest.approx(d.qacc, rel=1e-12)


def test_the_swimmer_of_gymnasium_swims_as_in_mujoco() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "swimmer.xml"
    m, dt, substeps = load_model(path), 1 / 60, 16
    dynamics = RigidDynamics(m, dt=dt, substeps=substeps, dtype="float64", threads=1)
    reference = mujoco.MjModel.from_xml_path(str(path))
    reference.opt.timestep = dt / substeps
    d = mujoco.MjData(reference)
    q, qd = m.q_ref[None].copy(), np.zeros((1, m.nv))
    for t in range(60):
        u = 0.3 * np.sin([[t / 15, t / 15 - 1.5]])
        d.ctrl[:] = u[0]
        mujoco.mj_step(reference, d, substeps)
        q, qd = step(dynamics, q, qd, u)[:2]
    assert m.fluid.n == 3 and np.abs(d.qpos).max() > 1
    assert np.abs(q[0] - d.qpos).max() < 2e-3


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("size", np.array([[0.1, 0.1, 0.0]]), "give positive lengths"),
        ("density", -1.0, "density is -1"),
        ("link", np.array([3]), "fluid.link has 3 to 3"),
        ("wind", np.zeros(2), "fluid.wind has shape"),
        ("viscosity", np.nan, "fluid.viscosity is not finite"),
    ],
)
def test_a_fluid_written_by_hand_is_checked(field: str, value: Any, said: str) -> None:
    body = "<body><freejoint/><geom size='1'/></body>"
    m = load_model(f"<mujoco><option density='1'/><worldbody>{body}</worldbody></mujoco>")
    wrong = replace(m, fluid=replace(m.fluid, **{field: value}))
    with pytest.raises(ValueError, match=re.escape(said)):
        RigidDynamics(wrong, dt=0.01, substeps=1)


def test_a_model_without_them_is_compiled_without_them() -> None:
    plain = RigidDynamics(load_model(random_tree(3)), dt=0.01, substeps=1, dtype="float64")
    assert not plain._size(False).passive


@pytest.mark.parametrize("options", [OPTIONS["water"], 'density="1000"'])
def test_rest_has_a_derivative(options: str) -> None:
    """At zero velocity the drag's own formulas divide zero by zero."""
    m = load_model(immersed(2, options.split(" wind")[0], ellipsoids=True))
    for dtype in ("float32", "float64"):
        d = RigidDynamics(m, dt=0.01, substeps=1, dtype=dtype, threads=1)
        q, _, u = random_states(m, 1, 0, dtype)
        bars = [np.ones((1, n), dtype) for n in (m.nq, m.nv)]
        assert all(
            np.isfinite(g).all() and (not g.size or g.any()) for g in vjp(d, q, np.zeros_like(bars[1]), u, *bars)
        )
