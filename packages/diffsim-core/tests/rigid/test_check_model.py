"""Models written or changed by hand: a named error before anything runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid.dynamics import RigidDynamics

from .models import MODELS, model


def changed(field, where, value):
    m = model("free-ball-hinge")
    array = np.array(getattr(m, field))
    array[where] = value
    return dataclasses.replace(m, **{field: array})


def refusal(m):
    with pytest.raises(ValueError) as caught:
        RigidDynamics(m, dt=1e-3, substeps=1)
    return str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_what_the_loader_makes_is_accepted(name):
    RigidDynamics(model(name), dt=1e-3, substeps=1)


@pytest.mark.parametrize(
    ("field", "where", "value", "words"),
    [
        ("gravity", 2, np.nan, ["gravity is not finite: nan"]),
        ("link_com", (1, 0), np.inf, ["link_com is not finite: inf at [1 0]"]),
        ("link_mass", 1, -2.0, ["link_mass[1] is -2", "at least 0"]),
        ("link_mass", 2, 0.0, []),  # the wrist has armature
        ("link_mass", slice(None), 0.0, ["joint 'root' moves nothing that has mass"]),
        ("link_inertia", (0, 1, 1), -1.0, ["link_inertia[0]", "'root'", "principal moment"]),
        ("contact_mu", 0, -0.5, ["contact_mu[0] is -0.5"]),
        ("dof_damping", 7, -1.0, ["dof_damping[7] is -1"]),
        ("link_parent", 1, 2, ["link_parent[1] is 2", "parents first"]),
        ("contact_link", 0, 9, ["contact_link has 0 to 9; give indices from 0 to 2"]),
        ("actuator_dof", 0, -1, ["actuator_dof has -1 to -1"]),
        ("link_quat", 1, 0.0, ["link_quat has a quaternion of length zero"]),
    ],
)
def test_impossible_values_are_refused_by_name(field, where, value, words):
    m = changed(field, where, value)
    if not words:
        RigidDynamics(m, dt=1e-3, substeps=1)
        return
    message = refusal(m)
    for word in ["model 'free-ball-hinge'", *words]:
        assert word in message


def test_wrong_shapes_are_refused():
    m = model("free-ball-hinge")
    assert "link_mass has shape (2,), expected (3,)" in refusal(dataclasses.replace(m, link_mass=m.link_mass[:2]))
    assert "gravity has shape (2,)" in refusal(dataclasses.replace(m, gravity=np.zeros(2)))


def test_all_problems_come_at_once():
    m = dataclasses.replace(model("free-ball-hinge"), gravity=np.full(3, np.nan), contact_kn=-np.ones(11))
    m = dataclasses.replace(m, contact_kn=-np.ones(m.nc))
    message = refusal(m)
    assert message.count("\n  - ") == 2 and "gravity" in message and "contact_kn" in message


EVERYTHING = """<mujoco><worldbody><geom type="plane" size="1 1 1"/><site name="w" pos="0 0 1"/>
  <body name="a" pos="0 0 .09"><freejoint/><geom name="ball" size=".1"/><site name="s"/>
    <body pos=".15 0 0"><joint name="h" axis="0 1 0" range="-30 30"/><geom size=".02" contype="0" conaffinity="0"/>
      <body pos="0 0 .1"><joint name="g"/><geom size=".1"/></body></body></body></worldbody>
  <tendon><spatial name="t" damping="1"><site site="w"/>
      <geom geom="ball" sidesite="s"/><site site="s"/><site site="w"/></spatial>
    <fixed name="f"><joint joint="h" coef="1"/></fixed></tendon>
  <actuator><muscle name="m" tendon="t" lengthrange=".1 1"/><motor tendon="t" gear="-1"/>
  <general tendon="f" dyntype="filter" dynprm=".1"/><muscle joint="h" lengthrange="-1 1"/>
  <position joint="h" kp="3" forcerange="-1 1"/></actuator></mujoco>"""


@pytest.fixture(scope="module")
def whole():
    """A model with a motor, a servo, a muscle, points on the ground, and pairs."""
    found = load_model(EVERYTHING, body_contact=True)
    assert min(found.nc, found.ns, found.muscles.n, found.tendons.n, found.na, len(found.pairs), len(found.sites)) > 0
    RigidDynamics(found, dt=1e-3, substeps=1)
    return found


def holders(m):
    return {"": m, "pairs.": m.pairs, "muscles.": m.muscles, "tendons.": m.tendons}


def put(m, prefix, **fields):
    if not prefix:
        return dataclasses.replace(m, **fields)
    part = prefix.rstrip(".")
    return dataclasses.replace(m, **{part: dataclasses.replace(getattr(m, part), **fields)})


def test_every_number_must_be_finite(whole):
    """Every field of the model and of its parts."""
    tried = 0
    for prefix, holder in holders(whole).items():
        for field in dataclasses.fields(holder):
            value = getattr(holder, field.name)
            if np.asarray(value, dtype=object if isinstance(value, tuple) else None).dtype.kind != "f" or not np.size(
                value
            ):
                continue
            for bad in (np.nan, np.inf):
                new = np.array(value)
                new.flat[-1] = bad
                message = refusal(put(whole, prefix, **{field.name: float(new) if isinstance(value, float) else new}))
                assert f"{prefix}{field.name}" in message and "not finite" in message
                tried += 1
    assert tried > 60


INDICES = {"link_parent", "joint_q", "joint_dof", "joint_type", "joint_limited", "actuator_dof", "servo_dof",
           "servo_actuator", "contact_link", "contact_kind", "contact_plane", "pairs.solid", "muscles.control",
           "muscles.activation", "muscles.first", "muscles.segment_link", "muscles.term_first", "muscles.term_joint",
           "muscles.segment_wrap", "muscles.wrap_kind", "muscles.wrap_link", "muscles.wrap_side_link",
           "tendons.segment_wrap", "tendons.wrap_kind", "tendons.wrap_link", "tendons.wrap_side_link",
           "tendons.control", "tendons.activation", "tendons.dynamics", "tendons.first", "tendons.segment_link",
           "tendons.term_first", "tendons.term_joint", "tendons.site_link"}  # fmt: skip


def test_every_index_must_be_one(whole):
    """Every field of whole numbers: too large, too small, and not whole."""
    found = set()
    for prefix, holder in holders(whole).items():
        for field in dataclasses.fields(holder):
            value = getattr(holder, field.name)
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or not value.size:
                continue
            found.add(prefix + field.name)
            for change in (value + 100_000, value - 100_000, value + 0.5):
                assert f"{prefix}{field.name}" in refusal(put(whole, prefix, **{field.name: change}))
    assert found == INDICES


COUNTING = {"link_parent", "q_ref", "dof_armature", "actuator_dof", "servo_dof", "contact_link", "joint_parameters",
            "pairs.solid", "muscles.control", "muscles.segment_link", "muscles.term_joint", "muscles.wrap_kind",
            "tendons.control", "tendons.wrap_kind", "tendons.segment_link", "tendons.term_joint"}  # fmt: skip
"""Fields whose lengths say how many there are."""


def test_every_shape_must_fit(whole):
    for prefix, holder in holders(whole).items():
        for field in dataclasses.fields(holder):
            value = getattr(holder, field.name)
            if prefix + field.name in COUNTING:
                continue
            if isinstance(value, np.ndarray) and value.size and prefix + field.name != "contact_kind":
                assert f"{prefix}{field.name}" in refusal(put(whole, prefix, **{field.name: value[:-1]}))


@pytest.mark.parametrize(
    ("prefix", "change", "words"),
    [
        ("", lambda m: {"joint_axis": 2 * m.joint_axis}, "joint_axis[1] (joint 'h') has length 2"),
        ("", lambda m: {"joint_range": m.joint_range[:, ::-1].copy()}, "joint_range[1] is"),
        ("", lambda m: {"servo_range": m.servo_range[:, ::-1].copy()}, "servo_range[0] is [1.0, -1.0]"),
        ("", lambda m: {"actuator_range": m.actuator_range[:, ::-1].copy()}, "actuator_range[0] is"),
        ("", lambda m: {"joint_q": 0 * m.joint_q}, "joint_q is [0, 0, 0]: joints of [7, 1, 1] numbers"),
        ("", lambda m: {"joint_dof": 0 * m.joint_dof}, "joint_dof is [0, 0, 0]: joints of [6, 1, 1] numbers"),
        ("", lambda m: {"contact_smoothing": -1.0}, "contact_smoothing is -1"),
        ("", lambda m: {"contact_quat": 0 * m.contact_quat}, "contact_quat has a quaternion of length zero"),
        ("", lambda m: {"contact_kind": 0 * m.contact_kind + 1}, "give an ellipsoid positive semi-axes"),
        ("", lambda m: {"joint_name": m.joint_name[:1]}, "joint_name has 1 entries, expected 3"),
        ("pairs.", lambda p: {"kn": -p.kn}, "pairs.kn[0] is -"),
        ("pairs.", lambda p: {"mu": -p.mu}, "pairs.mu[0] is -"),
        ("pairs.", lambda p: {"solid": 0 * p.solid}, "a pair is of two links"),
        ("muscles.", lambda u: {"first": u.first[::-1].copy()}, "it must rise from 0 to the number of segments"),
        ("muscles.", lambda u: {"hill": 0 * u.hill}, "muscles.hill[0] has"),
    ],
)
def test_values_that_no_kernel_expects_are_refused(whole, prefix, change, words):
    assert words in refusal(put(whole, prefix, **change(holders(whole)[prefix])))
