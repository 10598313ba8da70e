"""Models written or changed by hand: a named error before anything runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

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
