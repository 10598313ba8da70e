"""Sensors against MuJoCo's, the twin, and central differences; in torch and in JAX."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core.io import load_model  # noqa: E402
from diffsim_core.rigid import RigidDynamics, RigidState, Sensors, twin  # noqa: E402
from diffsim_core.rigid.sensors import KINDS  # noqa: E402

from .host import random_states  # noqa: E402
from .models import MODELS, model  # noqa: E402
from .trees import random_state, random_tree  # noqa: E402

MOTION = KINDS[:-1]
OF_MUJOCO = {
    "position": "framepos",
    "quaternion": "framequat",
    "velocity": "framelinvel",
    "angular_velocity": "frameangvel",
    "velocimeter": "velocimeter",
    "gyro": "gyro",
}


def with_sites(seed):
    """A random tree with a turned site on every body, and MuJoCo's sensors of all of them."""
    rng = np.random.default_rng(seed)
    parts = random_tree(seed).split("<inertial")
    text, sites = parts[0], []
    for k, part in enumerate(parts[1:]):
        pose = " ".join(f"{x:.5g}" for x in rng.normal(size=7))
        place, quat = pose.split()[:3], pose.split()[3:]
        text += f'<site name="s{k}" pos="{" ".join(place)}" quat="{" ".join(quat)}"/><inertial{part}'
        sites.append(f"s{k}")
    tags = "".join(
        f'<{tag} site="{s}"/>' if tag in ("gyro", "velocimeter") else f'<{tag} objtype="site" objname="{s}"/>'
        for s in sites
        for tag in OF_MUJOCO.values()
    )
    return text.replace("</mujoco>", f"<sensor>{tags}</sensor></mujoco>"), sites


def read(sensors, q, qd):
    return sensors(RigidState(torch.tensor(q), torch.tensor(qd))).numpy()


@pytest.mark.parametrize("seed", range(12))
def test_motion_is_mujocos(seed):
    xml, sites = with_sites(seed)
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    found = load_model(xml)
    movable = [s.name for s in found.sites if s.link >= 0]
    assert [s.name for s in found.sites] == sites
    dynamics = RigidDynamics(found, dt=1e-3, substeps=1, dtype="float64")
    sensors = Sensors(dynamics, [f"{kind}:{s}" for s in movable for kind in MOTION])
    rng = np.random.default_rng(seed)
    q, qd = random_state(rng, m.nq, m.jnt_type)
    d.qpos[:], d.qvel[:] = q, qd
    mujoco.mj_forward(m, d)
    values = read(sensors, q[None], qd[None])[0]
    start = 0
    for s in sites:
        for kind in MOTION:
            width = 4 if kind == "quaternion" else 3
            expected = d.sensordata[start : start + width]
            start += width
            if s not in movable:
                continue
            part = values[sensors.columns[f"{kind}:{s}"]]
            if kind == "quaternion":
                expected = expected * np.sign(expected @ part)
            np.testing.assert_allclose(part, expected, rtol=1e-10, atol=1e-10, err_msg=f"{kind} {s}")


def every_sensor(m):
    touching = sorted(set(m.contact_geom))
    bodies = [body.name for body in m.bodies if body.link >= 0]
    return [f"{k}:body/{b}" for b in bodies for k in MOTION] + [f"contact_force:{g}" for g in touching]


@pytest.mark.parametrize("law", ["paper", "released"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_central_differences(name, law):
    m = model(name, law)
    dynamics = RigidDynamics(m, dt=1e-3, substeps=1, dtype="float64")
    sensors = Sensors(dynamics, every_sensor(m))
    q, qd, _ = random_states(m, 7, seed=2, spread=0.2)
    height = {"planar-slides": 1, "free-ball-hinge": 2, "two-trees": m.nq - 5}[name]
    q[:, height] -= 0.25
    rng = np.random.default_rng(0)
    values = read(sensors, q, qd)
    weight = rng.standard_normal(values.shape)
    force = min(part.start for key, part in sensors.columns.items() if key.startswith("contact_force"))
    weight[:, force:] *= 1e-2  # newtons beside metres
    assert np.abs(values[:, force:]).max() > 0, "no contact was active: the test would prove too little"
    arrays = [torch.tensor(x, requires_grad=True) for x in (q, qd)]
    found = torch.autograd.grad((sensors(RigidState(*arrays)) * torch.tensor(weight)).sum(), arrays)
    eps = 1e-6
    for k, x in enumerate((q, qd)):
        expected = np.zeros_like(x)
        for j in range(x.shape[1]):
            ends = []
            for sign in (1, -1):
                moved = [q.copy(), qd.copy()]
                moved[k][:, j] += sign * eps
                ends.append((read(sensors, *moved) * weight).sum(1))
            expected[:, j] = (ends[0] - ends[1]) / (2 * eps)
        assert np.abs(found[k].numpy() - expected).max() < 1e-7 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("law", ["paper", "released"])
def test_contact_forces_are_the_twins(law):
    m = model("free-ball-hinge", law)
    dynamics = RigidDynamics(m, dt=1e-3, substeps=1, dtype="float64")
    sensors = Sensors(dynamics, [f"contact_force:{g}" for g in dict.fromkeys(m.contact_geom)])
    q, qd, _ = random_states(m, 9, seed=5, spread=0.2)
    q[:, 2] -= 0.25
    total = read(sensors, q, qd).reshape(9, -1, 3).sum(axis=1)
    for i in range(9):
        # a free root feels the sum of all forces in its three translations
        expected = twin.contact_forces(m, twin.kinematics(m, q[i]), qd[i])[:3]
        np.testing.assert_allclose(total[i], expected, rtol=1e-9, atol=1e-9)


def test_of_a_body_is_the_sum_of_its_geoms():
    m = model("planar-slides")
    dynamics = RigidDynamics(m, dt=1e-3, substeps=1, dtype="float64")
    geom = next(g for g, link in zip(m.contact_geom, m.contact_link, strict=True) if link == m.bodies[0].link)
    sensors = Sensors(dynamics, [f"contact_force:body/{m.bodies[0].name}", f"contact_force:geom/{geom}"])
    q, qd, _ = random_states(m, 5, seed=1)
    q[:, 1] -= 0.5
    values = read(sensors, q, qd)
    assert values.any() and np.allclose(values[:, :3], values[:, 3:])


def test_jax_equals_torch_where_parameters_are_inputs():
    jax = pytest.importorskip("jax")
    m = model("free-ball-hinge")
    dynamics = RigidDynamics(m, dt=1e-3, substeps=1, parameters=["gravity"])
    sensors = Sensors(dynamics, every_sensor(m)[:18])
    q, qd, _ = random_states(m, 11, seed=1, dtype="float32")
    state = RigidState(*(torch.tensor(x) for x in (q, qd)))
    expected = sensors(state).numpy()
    found = jax.jit(lambda *s: sensors(RigidState(*s)))(q, qd)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
    gradient = jax.jit(jax.grad(lambda q: (sensors(RigidState(q, qd)) ** 2).sum()))(q)
    leaf = torch.tensor(q, requires_grad=True)
    (expected,) = torch.autograd.grad((sensors(RigidState(leaf, state.qd)) ** 2).sum(), leaf)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


def test_far_from_the_origin_nothing_but_the_place_changes():
    m = model("free-ball-hinge")
    sensors = Sensors(RigidDynamics(m, dt=1e-3, substeps=1), ["position:hand", "velocity:hand", "quaternion:hand"])
    q, qd, _ = random_states(m, 4, seed=3, dtype="float32")
    far = q.copy()
    far[:, :2] += 4096
    here, there = read(sensors, q, qd), read(sensors, far, qd)
    assert np.array_equal(here[:, 3:], there[:, 3:])
    np.testing.assert_allclose(there[:, :2] - 4096, here[:, :2], atol=1e-3)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["position:hnad"], ["unknown sensor 'position:hnad'", "did you mean 'position:hand'"]),
        (["height:hand"], ["unknown sensor 'height:hand'"]),
        (["position:ground"], ["'ground' is fixed to the world"]),
        ([], ["at least one name"]),
    ],
)
def test_unknown_names_are_refused(names, words):
    with pytest.raises(ValueError) as caught:
        Sensors(RigidDynamics(model("free-ball-hinge"), dt=1e-3, substeps=1), names)
    for word in words:
        assert word in str(caught.value)


def test_contact_forces_need_level_ground_and_the_models_own_parameters():
    m = model("planar-slides")
    geom = m.contact_geom[0]
    varied = RigidDynamics(m, dt=1e-3, substeps=1, parameters=["contact_mu"])
    with pytest.raises(ValueError, match="contact parameters are inputs"):
        Sensors(varied, [f"contact_force:{geom}"])
    xml = '<mujoco><worldbody><body><freejoint/><geom name="g" size="0.1"/></body></worldbody></mujoco>'
    with pytest.raises(ValueError, match="no contact points"):
        Sensors(RigidDynamics(load_model(xml), dt=1e-3, substeps=1), ["contact_force:g"])
