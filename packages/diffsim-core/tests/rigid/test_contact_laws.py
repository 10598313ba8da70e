"""What every contact law promises, those of the package and one that is added here: Hunt and Crossley's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.entries import struct_name
from diffsim_core.io import ContactParams, load_model
from diffsim_core.rigid import CONTACT_LAWS, ContactLaw, Gains, RigidDynamics, RigidModel, register_contact_law, twin
from diffsim_core.rigid.twin_contact import Contact, contact_force

from . import parametric
from .added import HUNT_CROSSLEY
from .host import step, vjp
from .test_dynamics import central_differences, dynamics, relative
from .test_pairs import tumbled_states
from .test_surfaces import hills

KD = {"s/m": 0.8, "N s/m^2": 2e3}
"""A damping that can be felt, by the unit that a law gives it."""
UP = np.array([0.0, 0, 1])
WORLDS = {
    "plane": '<body pos="0 0 0.1"><freejoint/><geom type="capsule" size="0.1 0.2"/></body>',
    "hills": '<body pos="0 0 0.05"><freejoint/><geom type="ellipsoid" size="0.3 0.2 0.1"/></body>',
    "pairs": '<body><freejoint/><geom size="0.2"/></body><body pos="0 0 0.3"><freejoint/><geom size="0.2"/></body>',
}


@pytest.fixture(params=list(CONTACT_LAWS))
def law(request) -> ContactLaw:
    return CONTACT_LAWS[request.param]


def world(kind: str, law: ContactLaw) -> RigidModel:
    ground = {"plane": 0.0, "hills": hills(), "pairs": None}[kind]
    xml = f"<mujoco><worldbody>{WORLDS[kind]}</worldbody></mujoco>"
    gains = ContactParams(kn=4e3, kd=KD[law.units[1]], kt=100, mu=0.4)
    return load_model(xml, ground=ground, body_contact=kind == "pairs", contact=gains, contact_law=law.name)


def test_the_header_defines_the_struct(law):
    assert f"struct {struct_name(law.name)} " in law.header.read_text()


def test_nothing_pulls_at_a_distance_and_force_begins_at_zero(law):
    gains = (4e3, 0.8, 60.0, 0.7)
    for u in (np.zeros(3), np.array([0.3, 0.1, -0.5])):
        assert not contact_force(law.name, 0.0, gains, Contact(UP, UP, 1e-3), u).any()
        small = [np.linalg.norm(contact_force(law.name, 0.0, gains, Contact(UP, UP, -d), u)) for d in (1e-3, 1e-6)]
        assert 0 < small[1] < 2e-3 * small[0]


def test_pushes_harder_deeper_and_never_less_while_approaching(law):
    gains = Gains(4e3, 0.8, 60.0, 0.7)
    depths = -np.linspace(1e-3, 0.1, 20)
    for u in (-0.4, 0.0):
        force = [law.normal(gains, float(d), u)[0] for d in depths]
        assert (np.diff(force) > 0).all() and force[0] > 0
    assert law.normal(gains, -0.05, -0.4)[0] >= law.normal(gains, -0.05, 0.0)[0]


def test_friction_opposes_sliding_within_the_bound(law):
    gains = Gains(4e3, 0.8, 60.0, 0.7)
    for speed in (1e-4, 0.1, 3.0):
        u = np.array([0.6 * speed, -0.8 * speed, -0.2])
        force = contact_force(law.name, 0.0, gains, Contact(UP, UP, -0.02), u)
        bound = law.normal(gains, -0.02, -0.2)[1]
        size = np.linalg.norm(force[:2])
        assert size == pytest.approx(min(60 * speed, bound), rel=1e-3)
        assert force[:2] @ u[:2] == pytest.approx(-size * speed)


@pytest.mark.parametrize("smoothing", [0.0, 0.03])
@pytest.mark.parametrize("kind", WORLDS)
def test_engine_is_the_twin_and_vjp_the_differences(kind, law, smoothing):
    m = dataclasses.replace(world(kind, law), contact_smoothing=smoothing)
    d = dynamics(m, substeps=2)
    arrays = tumbled_states(m, 16, seed=3, spread=0.08)
    found = d.probe(*arrays)
    assert (found.contacts > 0).sum() > 5
    for i, state in enumerate(zip(*arrays, strict=True)):
        assert relative(found.qdd[i], twin.forward_dynamics(m, *state)) < 1e-10
        after = twin.control_step(m, *state, d.dt, 2)
        out = step(d, *(a[i : i + 1] for a in arrays))
        assert relative(out.q[0], after[0]) < 1e-10 and relative(out.qd[0], after[1]) < 1e-10
    rng = np.random.default_rng(4)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    given, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd, eps=1e-7)
    for a, b in zip(given[:2], expected[:2], strict=True):
        assert np.abs(a - b).max() < 1e-6 * np.abs(b).max()


@pytest.mark.parametrize("kind", WORLDS)
def test_vjp_of_gains_equals_central_differences(kind, law):
    m = world(kind, law)
    names = [f"{'pair' if kind == 'pairs' else 'contact'}_{gain}" for gain in ("kn", "kd", "kt", "mu")]
    d = dynamics(m, substeps=2, parameters=names)
    q, qd, u = tumbled_states(m, 12, seed=5, spread=0.08)
    params = np.tile(d.parameters.nominal, (12, 1)) * np.random.default_rng(6).uniform(0.8, 1.2, (12, 4))
    rng = np.random.default_rng(7)
    cotangents = [rng.standard_normal(q.shape), rng.standard_normal(qd.shape)]
    found = parametric.vjp(d, q, qd, params, u, cotangents)[2]
    assert (np.abs(found).max(axis=0) > 0).all()
    for j in range(4):
        h = 1e-5 * params[0, j]
        moved = []
        for side in (h, -h):
            given = params.copy()
            given[:, j] += side
            out = parametric.step(d, q, qd, given, u)
            moved.append((out.q * cotangents[0]).sum(1) + (out.qd * cotangents[1]).sum(1))
        expected = (moved[0] - moved[1]) / (2 * h)
        assert np.abs(found[:, j] - expected).max() < 1e-6 * np.abs(expected).max()


# The law that is added here, against what is known of it


def bounced(speed: float, loss: float) -> float:
    """Speed after a bounce over the speed before it, of a ball without gravity."""
    xml = '<mujoco><option gravity="0 0 0"/><worldbody><body pos="0 0 0.1"><joint type="slide" axis="0 0 1"/>'
    xml += '<geom size="0.1" mass="1"/></body></worldbody></mujoco>'
    m = load_model(xml, ground=0.0, contact=ContactParams(kn=1e5, kd=loss, kt=0, mu=0), contact_law="hunt_crossley")
    d = RigidDynamics(m, dt=0.1, substeps=20_000, dtype="float64", integrator="explicit")
    out = step(d, np.array([m.q_ref]).reshape(1, 1), np.array([[-speed]]), np.zeros((1, 0)))
    assert out.ok.all() and out.q[0, 0] > 0, "it is still in contact"
    return float(out.qd[0, 0] / speed)


def test_restitution_of_hunt_and_crossley():
    """e = 1 - c v + O((c v)^2): what is left over falls by four as the speed is halved."""
    c = 0.2
    rest = [bounced(v, c) - (1 - c * v) for v in (0.4, 0.2)]
    assert abs(rest[0]) < (c * 0.4) ** 2 and rest[0] / rest[1] == pytest.approx(4, rel=0.1)
    assert bounced(0.4, 0.0) == pytest.approx(1, abs=1e-5)


def test_a_law_may_be_named_in_a_file():
    xml = """<mujoco><custom><text name="diffsim_contact_law" data="hunt_crossley"/></custom><worldbody>
      <geom type="plane" size="1 1 1"/><body><freejoint/><geom size="0.1"/></body></worldbody></mujoco>"""
    m = load_model(xml)
    assert m.contact_law == "hunt_crossley"
    assert dynamics(m)._size(False).laws == (HUNT_CROSSLEY,)
    assert dynamics(world("plane", CONTACT_LAWS["paper"]))._size(False).laws == ()


# Mistakes


def test_unknown_law_is_refused_by_name():
    m = dataclasses.replace(world("plane", HUNT_CROSSLEY), contact_law="hunt_crosley")
    with pytest.raises(ValueError, match="contact_law='hunt_crosley' is not known; use one of paper, released"):
        dynamics(m)
    with pytest.raises(ValueError, match="unknown contact law 'hunt_crosley'; did you mean 'hunt_crossley'"):
        contact_force(m.contact_law, 0.0, (1.0, 0, 0, 0), Contact(UP, UP, -0.1), np.zeros(3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": ("N", "", "")}, "'hunt_crossley' is already registered"),
        ({"name": "no name"}, "must be an identifier"),
        ({"name": "lost", "header": HUNT_CROSSLEY.header.with_name("lost.h")}, "lost.h' does not exist"),
    ],
)
def test_register_contact_law_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        register_contact_law(dataclasses.replace(HUNT_CROSSLEY, **changes))
    assert not {"no name", "lost"} & set(CONTACT_LAWS) and CONTACT_LAWS["hunt_crossley"] == HUNT_CROSSLEY
