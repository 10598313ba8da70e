"""Gains of contact as inputs: on hills, of ellipsoids and cylinders, and between bodies."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.parameters import Parameters

from .parametric import step, vjp
from .test_pairs import tumbled_states
from .test_parameters import assert_equals_twin, drawn

HILLS = '<asset><hfield name="h" nrow="3" ncol="4" size="2 2 0.2 0.1" elevation="0 1 2 3 4 5 6 7 8 9 0 1"/></asset>'
BODIES = """<body pos="0 0 0.15"><freejoint/><geom name="{}" type="{}" size="0.2 0.1 0.15" {}/>
  <geom name="trunk" type="box" size="0.2 0.1 0.15" pos="0.1 0 0.1"/>
  <body pos="0.2 0.1 0.1"><joint type="ball" armature="0.1"/><geom name="palm" size="0.15"/></body></body>
  <body pos="0.1 -0.1 0.3"><freejoint/><geom name="rod" type="capsule" size="0.1 0.2"/></body>"""


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
    d = RigidDynamics(m, dt=1 / 240, substeps=2, dtype="float64", parameters=parameters.names)
    q, qd, u = tumbled_states(m, 6, seed=1, spread=0.08)
    params = drawn(parameters, len(q), seed=2)
    assert d.probe(q, qd, u, params=params).contacts.min() > 1
    assert_equals_twin(d, q, qd, params, u)
    # short differences: with many contacts a kink is never far
    rng, arrays = np.random.default_rng(3), [q, qd, params, u]
    cotangents = [rng.standard_normal(q.shape), rng.standard_normal(qd.shape)]
    for k, (x, found) in enumerate(zip(arrays, vjp(d, *arrays, cotangents), strict=True)):
        size = np.abs(x).max(axis=0) if k == 2 else np.ones(x.shape[1])
        expected = np.zeros_like(x)
        for j, h in enumerate((1e-5 if k == 2 else 1e-7) * size):
            ends = []
            for by in (-h, h):
                moved = [a.copy() for a in arrays]
                moved[k][:, j] += by
                out = step(d, *moved)
                ends.append((cotangents[0] * out.q).sum(1) + (cotangents[1] * out.qd).sum(1))
            expected[:, j] = (ends[1] - ends[0]) / (2 * h)
        assert x.size == 0 or np.abs((found - expected) * size).max() < 1e-6 * np.abs(expected * size).max()
    gradient = np.abs(vjp(d, q, qd, params, u, [np.ones_like(x) for x in (q, qd)])[2]).max(axis=0)
    for name in ("contact_kn:foot", "contact_mu:trunk", "pair_kn:rod+trunk", "pair_mu:rod+trunk"):
        assert gradient[parameters.names.index(name)] > 0, name


def test_a_pair_has_its_names_in_either_order() -> None:
    m = model("cylinder", hills=False, law="paper")
    one, other = Parameters(m, ["pair_mu:trunk+rod"]), Parameters(m, ["pair_mu:rod+trunk"])
    assert one.names == other.names and len(one) == 1
    changed = one.apply(np.array([0.25])).pairs
    for names, mu, before in zip(changed.geom, changed.mu, m.pairs.mu, strict=True):
        assert mu == (0.25 if set(names) == {"trunk", "rod"} else before)
