"""Two hundred random trees whose shapes touch the ground, hills and each other: twin, gradients, same bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.twin_pairs import pair_contacts

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
    return sum(bool(pair_contacts(model.pairs, i, tuple(pose))) for i, pose in enumerate(poses))


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
        alone = step(d, *(np.ascontiguousarray(a[1:2]) for a in arrays))
        assert np.array_equal(alone.q, once.q[1:2]) and np.array_equal(alone.qd, once.qd[1:2]), seed
    assert ground > 100 and between > 10, "too few contacts: the test would prove too little"


@pytest.mark.parametrize("seed", [2, 4, 8])
def test_low_memory_gives_the_same_gradient(seed: int) -> None:
    model = contact_tree(seed)
    arrays = random_states(model, WORLDS, seed)
    cotangents = [np.ones_like(a) for a in arrays[:2]]
    fast, low = (vjp(dynamics(model, memory=memory), *arrays, *cotangents) for memory in ("fast", "low"))
    for a, b in zip(fast, low, strict=True):
        assert a.size == 0 or relative(a, b) < 1e-11


@pytest.mark.parametrize("poison", [np.nan, np.inf, -1e30])
@pytest.mark.parametrize("seed", [8, 12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_diverged_world_is_contained(seed: int, poison: float, dtype: str) -> None:
    """On hills, where a place is an index into an array, and with pairs, where it decides what is worked out."""
    model = contact_tree(seed)
    d = dynamics(model, dtype=dtype)
    q, qd, u = random_states(model, 11, seed, dtype=dtype)
    clean = step(d, q, qd, u), vjp(d, q, qd, u, q, qd)
    others = np.arange(11) != 4
    for spoilt in (0, 1):
        sick = [q.copy(), qd.copy()]
        sick[spoilt][4] = poison
        out, gradients = step(d, *sick, u), vjp(d, *sick, u, q, qd)
        assert out.ok.tolist() == others.astype(int).tolist()
        assert np.array_equal(out.q[others], clean[0].q[others])
        for a, b in zip(gradients, clean[1], strict=True):
            assert np.array_equal(a[others], b[others]) and not a[4].any()
