"""Two hundred random trees whose shapes touch the ground, hills and each other: twin, gradients, same bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.twin_contact import pair_contact

from .host import random_states, step, vjp
from .test_dynamics import central_differences, dynamics, relative
from .trees import TreeOptions, random_tree

TREES, PART, WORLDS = 200, 20, 3


def contact_tree(seed: int) -> RigidModel:
    """A random tree on a plane or hills, every other one with contact between bodies, some with smoothed contact."""
    between = seed % 2 == 0
    options = TreeOptions(
        plane=seed % 3 != 2,
        hills=seed % 3 == 2,
        round_shapes=True,
        scale=3.0 if between else 2.0,
        max_bodies=7,
        relatives=between,
    )
    law = ("paper", "released")[seed // 2 % 2]
    model = load_model(random_tree(seed, options), body_contact=between, contact_law=law)
    return dataclasses.replace(model, contact_smoothing=0.02 if seed % 5 == 0 else 0.0)


def touching_pairs(model: RigidModel, q: np.ndarray) -> int:
    """Pairs that touch, by the twin."""
    kin = twin.kinematics(model, q)
    poses = [[(kin.rotation[i], kin.position[i]) for i in links] for links in model.pairs.link]
    return sum(pair_contact(model.pairs, i, tuple(pose)).d < 0 for i, pose in enumerate(poses))


@pytest.mark.parametrize("first", range(0, TREES, PART))
def test_random_contacts(first: int) -> None:
    ground = between = 0
    for seed in range(first, first + PART):
        model = contact_tree(seed)
        d = dynamics(model, substeps=2)
        arrays = random_states(model, WORLDS, seed)
        found = d.probe(*arrays)
        for i, (q, qd, u) in enumerate(zip(*arrays, strict=True)):
            assert relative(found.qdd[i], twin.forward_dynamics(model, q, qd, u)) < 1e-9, seed
            pairs = touching_pairs(model, q)
            between += pairs
            ground += int(found.contacts[i]) - pairs
        rng = np.random.default_rng(seed)
        gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
        given, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd)
        scale = max(np.abs(e).max() for e in expected if e.size)
        for a, b, again in zip(given, expected, vjp(d, *arrays, gq, gqd), strict=True):
            assert a.size == 0 or np.abs(a - b).max() < 1e-6 * scale, seed
            assert np.array_equal(a, again), seed
        once, twice = step(d, *arrays), step(d, *arrays)
        assert np.array_equal(once.q, twice.q) and np.array_equal(once.qd, twice.qd), seed
    assert ground > 100 and between > 10, "too few contacts: the test would prove too little"
