"""MyoSim's models: what loads is close to MuJoCo's, and what does not is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ModelError, load_model
from diffsim_core.rigid import RigidDynamics, full_state, twin
from diffsim_core.rigid._twin_muscles import lengths_and_moments
from diffsim_core.rigid.model import RigidModel

myo_sim = pytest.importorskip("myo_sim")
compose = pytest.importorskip("myo_sim.build.compose")

QUICK = ("myohand_r", "myolegs", "myolegs26", "myoarm_r", "myotorso", "myotorso_abdomen", "myofinger", "osl")
SLOW = sorted(set(compose.MODEL_REGISTRY) - set(QUICK))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo logs warnings about MyoSim's specs to the working directory."""
    monkeypatch.chdir(tmp_path)


def spec_of(name: str) -> Any:
    """The spec without the pedestal, and with joints held that follow another joint."""
    spec = myo_sim.load_spec(name)
    for geom in list(spec.worldbody.geoms):
        if geom.type == mujoco.mjtGeom.mjGEOM_CYLINDER:
            spec.delete(geom)
    for equality in list(spec.equalities):
        joint = spec.joint(equality.name1)
        spec.delete(equality)
        spec.delete(joint)
    return spec


@pytest.mark.filterwarnings("ignore:Attaching a spec")
@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_everything_that_is_not_simulated_is_named(name: str) -> None:
    spec = myo_sim.load_spec(name)
    m = spec.compile()
    expected = {
        "equality": int((m.eq_type != mujoco.mjtEq.mjEQ_JOINT).sum()),
        "has no lengthrange": m.nu if name == "myofinger" else 0,
    }
    if not any(expected.values()):
        load_model(spec)
        return
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    found = {words: sum(words in problem for problem in caught.value.problems) for words in expected}
    assert found == expected
    assert len(caught.value.problems) == sum(expected.values())


def test_models_in_files() -> None:
    folder = Path(myo_sim.__file__).parent
    for name, dofs, controls in (("myoelbow", 1, 6), ("myoelbow_2dof", 2, 6), ("myoelbow_exo", 1, 7)):
        path = myo_sim.get_xml_path(name)
        with pytest.raises(ModelError, match="outside the model's folder"):
            load_model(path, wrapping="straight")
        model = load_model(path, root=folder, wrapping="straight")
        assert (model.nv, model.nu, model.na, len(model.notes)) == (dofs, controls, 6, 5)


def deviations(spec: Any, model: RigidModel, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of lengths and of lever arms against MuJoCo's wrapped paths, in random poses."""
    m = spec.compile()
    d = mujoco.MjData(m)
    tendon = m.actuator_trnid[model.muscles.control, 0]
    joint = [mujoco.mj_name2id(m, mujoco.mjtObj.mjOBJ_JOINT, name) for name in model.joint_name]
    assert m.nq == m.nv == model.nv
    rng = np.random.default_rng(0)
    lengths, levers = [], []
    for _ in range(count):
        d.qpos[:] = rng.uniform(*m.jnt_range.T)
        found, moments = lengths_and_moments(model, *twin.kinematics(model, d.qpos[joint]))
        mujoco.mj_forward(m, d)
        expected = np.array([moment(m, d, t) for t in tendon])[:, joint]
        lengths.append(found / d.ten_length[tendon] - 1)
        levers.append(np.linalg.norm(moments - expected, axis=1) / np.linalg.norm(expected, axis=1))
    return np.concatenate(lengths), np.concatenate(levers)


def moment(m: Any, d: Any, t: int) -> np.ndarray:
    """Row of MuJoCo's sparse tendon Jacobian."""
    layout = m if hasattr(m, "ten_J_rowadr") else d
    start, n = layout.ten_J_rowadr[t], layout.ten_J_rownnz[t]
    row = np.zeros(m.nv)
    row[layout.ten_J_colind.ravel()[start : start + n]] = d.ten_J.ravel()[start : start + n]
    return row


@pytest.mark.filterwarnings("ignore:Attaching a spec")
@pytest.mark.parametrize(
    ("name", "length", "lever", "exact"),
    [("myoelbow_2dof", 0.01, 1e-6, 0.6), ("myohand_r", 0.015, 0.05, 0.35), ("myotorso_abdomen", 0.03, 1e-6, 0.8)],
)
def test_straight_paths_are_mujocos_where_nothing_is_in_the_way(
    name: str, length: float, lever: float, exact: float
) -> None:
    spec = spec_of(name)
    lengths, levers = deviations(spec, load_model(spec, wrapping="straight"), 40)
    assert np.sqrt((lengths**2).mean()) < length
    assert lengths.max() < 1e-9  # never longer
    assert np.median(levers) < lever
    assert (levers < 1e-9).mean() > exact


@pytest.mark.filterwarnings("ignore:Attaching a spec")
@pytest.mark.parametrize("name", ["myoelbow_2dof", "myohand_r", "myotorso_abdomen"])
def test_paths_wrap_as_mujocos_do(name: str) -> None:
    spec = spec_of(name)
    lengths, levers = deviations(spec, load_model(spec), 8)
    assert np.abs(lengths).max() < 1e-9
    assert levers.max() < 1e-4  # MuJoCo solves for ways through openings to 1e-6 only


@pytest.mark.filterwarnings("ignore:Attaching a spec")
def test_forces_of_a_leg_in_the_engine_are_its_twins() -> None:
    model = load_model(spec_of("myolegs"))
    assert (model.nv, model.na, model.nc > 20) == (20, 80, True)
    rng = np.random.default_rng(1)
    q = model.q_ref + 0.1 * rng.normal(size=(3, model.nq))
    q[:, 3:7] /= np.linalg.norm(q[:, 3:7], axis=1, keepdims=True)
    qd = rng.normal(size=(3, model.nv))
    u, act = rng.uniform(0, 1, (2, 3, model.nu))
    found = RigidDynamics(model, dt=0.01, substeps=8, dtype="float64").probe(q, qd, u, act=act)
    for i in range(3):
        qdd = twin.forward_dynamics(model, q[i], qd[i], u[i], act[i])
        np.testing.assert_allclose(found.qdd[i], qdd, rtol=1e-7, atol=1e-7 * np.abs(qdd).max())


@pytest.mark.filterwarnings("ignore:Attaching a spec")
def test_coupled_joints_of_the_torso_move_as_mujocos_mass_and_forces_say() -> None:
    """15 of 18 joints follow three, and 210 muscles pull: without constraints, reduced by hand."""
    spec = myo_sim.load_spec("myotorso")
    model, m = load_model(spec), spec.compile()
    assert (model.nv, len(model.couplings), model.couplings.curved) == (3, 15, False)
    m.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
    d, rng = mujoco.MjData(m), np.random.default_rng(0)
    q, qd, act = 0.05 * rng.normal(size=3), rng.normal(size=3), rng.uniform(size=model.na)
    d.qpos[:], d.qvel[:] = full_state(model, q, qd)
    d.act[:] = d.ctrl[:] = act
    mujoco.mj_forward(m, d)
    M = np.zeros((m.nv, m.nv))
    for column, unit in zip(M, np.eye(m.nv), strict=True):
        mujoco.mj_mulM(m, d, column, unit)
    G = np.array([full_state(model, q, unit).qd for unit in np.eye(3)]).T
    force = d.qfrc_passive + d.qfrc_actuator - d.qfrc_bias
    expected = np.linalg.solve(G.T @ M @ G, G.T @ force)
    found = twin.forward_dynamics(model, q, qd, act, act)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
