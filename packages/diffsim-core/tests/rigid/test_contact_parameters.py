"""Gains of contact as inputs: on hills, of ellipsoids and cylinders, and between bodies."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.parameters import Parameters

from .test_pairs import tumbled_states
from .test_parameters import assert_equals_twin, assert_gradients_equal_differences, drawn

HILLS = '<asset><hfield name="h" nrow="3" ncol="4" size="2 2 0.2 0.1" elevation="0 1 2 3 4 5 6 7 8 9 0 1"/></asset>'
BODIES = """<body pos="0 0 0.35"><freejoint/><geom name="{}" type="{}" size="0.2 0.1 0.15" {}/>
  <geom name="trunk" type="box" size="0.2 0.1 0.15" pos="0.1 0 0.1"/>
  <body pos="0.2 0.1 0.25"><joint type="ball" armature="0.1"/><geom name="palm" size="0.15"/></body></body>
  <body pos="0.1 -0.1 0.6"><freejoint/><geom name="rod" type="capsule" size="0.1 0.2"/></body>"""


def model(shape: str, hills: bool, law: str) -> RigidModel:
    ground = '<geom type="hfield" hfield="h" pos="0 0 -0.1"' if hills else '<geom type="plane" size="5 5 1"'
    bodies = BODIES.format("foot", shape, 'contype="2" conaffinity="0"')
    xml = f"""<mujoco>{HILLS if hills else ""}<worldbody>{ground} contype="0" conaffinity="3"/>{bodies}</worldbody>
        </mujoco>"""
    return load_model(xml, body_contact=True, contact_law=law)


@pytest.mark.parametrize("law", ["paper", "released"])
@pytest.mark.parametrize(("shape", "hills"), [("cylinder", False), ("ellipsoid", True)])
def test_gains_as_inputs(shape: str, hills: bool, law: str) -> None:
    m = model(shape, hills, law)
    kinds = [f"{place}_{gain}" for place in ("contact", "pair") for gain in ("kn", "kd", "kt", "mu")]
    parameters = Parameters(m, [*kinds, "gravity"])
    assert {"contact_mu:foot", "contact_mu:trunk", "pair_kn:rod+trunk"} < set(parameters.names)
    d = RigidDynamics(m, dt=1 / 240, substeps=2, dtype="float64", parameters=parameters)
    q, qd, u = tumbled_states(m, 6, seed=1, spread=0.08)
    params = drawn(parameters, len(q), seed=2)
    assert d.probe(q, qd, u, params).contacts.min() > 0
    assert_equals_twin(d, q, qd, params, u)
    assert_gradients_equal_differences(d, q, qd, params, u, seed=3)


def test_a_pair_has_its_names_in_either_order() -> None:
    m = model("cylinder", hills=False, law="paper")
    one, other = Parameters(m, ["pair_mu:trunk+rod"]), Parameters(m, ["pair_mu:rod+trunk"])
    assert one.names == other.names and len(one) == 1
    changed = one.apply(np.array([0.25])).pairs
    for names, mu, before in zip(changed.geom, changed.mu, m.pairs.mu, strict=True):
        assert mu == (0.25 if set(names) == {"trunk", "rod"} else before)
