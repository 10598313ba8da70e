"""The compiled engine against the NumPy twin, against finite differences, and against itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.dynamics import RigidDynamics, RigidState
from diffsim_core.tasks._rigid import bundled_model

from .host import random_states, step, vjp
from .models import MODELS, model
from .trees import random_tree

LAWS = [("paper", "paper"), ("released", "released")]
DT = 1 / 240


def dynamics(m, substeps=4, dtype="float64", **options):
    return RigidDynamics(m, dt=substeps * DT / 4, substeps=substeps, dtype=dtype, **options)


def relative(found, expected):
    return np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300)


@pytest.mark.parametrize("laws", LAWS)
@pytest.mark.parametrize("name", MODELS)
def test_control_step_equals_twin(name, laws):
    m = model(name, *laws)
    d = dynamics(m)
    q, qd, u = random_states(m, 9, seed=1)
    out = step(d, q, qd, u)
    assert out.ok.all() and np.isfinite(out.saved[: 8 * d.substeps]).all()
    touching = 0
    for i in range(len(q)):
        expected = twin.control_step(m, q[i], qd[i], u[i], d.dt, d.substeps)
        assert relative(out.q[i], expected[0]) < 1e-10
        assert relative(out.qd[i], expected[1]) < 1e-10
        touching += np.abs(twin.contact_forces(m, twin.kinematics(m, q[i]), qd[i])).max() > 0
    assert touching > 0, "no contact was active: the test would prove too little"


@pytest.mark.parametrize("seed", range(200))
def test_random_tree_equals_twin(seed):
    m = load_model(random_tree(seed))
    q, qd, u = random_states(m, 3, seed)
    mass, force, qdd, _ = dynamics(m).probe(q, qd, u)
    for i in range(len(q)):
        kin = twin.kinematics(m, q[i])
        expected = twin.forward_dynamics(m, q[i], qd[i], u[i])
        assert relative(mass[i], twin.mass_matrix(m, kin)) < 1e-11
        assert relative(qdd[i], expected) < 1e-9
        assert relative(force[i], mass[i] @ expected) < 1e-9


def central_differences(d, arrays, gq, gqd, eps=1e-6):
    gradients = []
    for k, x in enumerate(arrays):
        g = np.zeros_like(x)
        for j in range(x.shape[1]):
            values = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[k][:, j] += sign * eps
                out = step(d, *moved)
                values.append((out.q * gq).sum(1) + (out.qd * gqd).sum(1))
            g[:, j] = (values[0] - values[1]) / (2 * eps)
        gradients.append(g)
    return gradients


@pytest.mark.parametrize("laws", LAWS)
@pytest.mark.parametrize("name", [*MODELS, "ant"])
def test_vjp_equals_central_differences(name, laws):
    m = bundled_model("ant", contact_law=laws[0], limit_law=laws[1]) if name == "ant" else model(name, *laws)
    d = dynamics(m, substeps=6)
    arrays = random_states(m, 7, seed=2, spread=0.2)
    if name == "ant":
        arrays[0][:, 2] = 0.4
    rng = np.random.default_rng(3)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    found = vjp(d, *arrays, gq, gqd)
    for a, b in zip(found, central_differences(d, arrays, gq, gqd), strict=True):
        assert relative(a, b) < 1e-7


@pytest.mark.parametrize("seed", range(25))
def test_vjp_of_a_random_tree_equals_central_differences(seed):
    d = dynamics(load_model(random_tree(seed)), substeps=2)
    arrays = random_states(d.model, 3, seed)
    rng = np.random.default_rng(seed)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    found, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd)
    scale = max(np.abs(e).max() for e in expected if e.size)
    for a, b in zip(found, expected, strict=True):
        assert a.size == 0 or np.abs(a - b).max() < 1e-6 * scale


def test_vjp_of_unnormalised_quaternion_is_tangential():
    m = model("free-ball-hinge")
    d = dynamics(m)
    q, qd, u = random_states(m, 2, seed=4)
    q[:, 3:7] *= 1.3
    rng = np.random.default_rng(5)
    gq, gqd = rng.standard_normal(q.shape), rng.standard_normal(qd.shape)
    found = vjp(d, q, qd, u, gq, gqd)[0]
    assert np.abs((found[:, 3:7] * q[:, 3:7]).sum(1)).max() < 1e-10 * np.abs(found).max()
    assert relative(found, central_differences(d, (q, qd, u), gq, gqd)[0]) < 1e-7


def test_single_precision_follows_double():
    m = bundled_model("ant")
    q, qd, u = random_states(m, 16, seed=6, spread=0.1)
    q[:, 2] = 0.6
    double = step(dynamics(m, 16), q, qd, u)
    single = step(dynamics(m, 16, "float32"), *(a.astype(np.float32) for a in (q, qd, u)))
    assert np.abs(single.q - double.q).max() < 2e-5
    assert np.abs(single.qd - double.qd).max() < 2e-3


def test_far_from_the_origin_single_precision_is_as_good():
    m = bundled_model("ant")
    q, qd, u = random_states(m, 4, seed=7, dtype="float32", spread=0.1)
    q[:, 2] = 0.7
    d = dynamics(m, 16, "float32")
    near = step(d, q, qd, u)
    q[:, :2] += np.float32(4096.0)
    far = step(d, q, qd, u)
    assert np.array_equal(near.qd, far.qd)
    assert np.array_equal(near.q[:, 2:], far.q[:, 2:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_world_does_not_depend_on_the_others_or_on_threads(dtype):
    m = bundled_model("ant")
    arrays = random_states(m, 203, seed=8, dtype=dtype, spread=0.1)
    arrays[0][:, 2] = np.linspace(0.3, 0.9, 203)
    cotangents = [np.ones_like(a) for a in arrays[:2]]
    one = dynamics(m, 16, dtype, threads=1)
    whole, whole_vjp = step(one, *arrays), vjp(one, *arrays, *cotangents)
    threaded = dynamics(m, 16, dtype, threads=4)
    for _ in range(3):
        again = step(threaded, *arrays)
        assert np.array_equal(again.q, whole.q) and np.array_equal(again.qd, whole.qd)
    for part in (slice(0, 1), slice(5, 16), slice(100, 203)):
        alone = [np.ascontiguousarray(a[part]) for a in arrays]
        out = step(one, *alone)
        assert np.array_equal(out.q, whole.q[part]) and np.array_equal(out.qd, whole.qd[part])
        given = vjp(one, *alone, *[c[part].copy() for c in cotangents])
        for a, b in zip(given, whole_vjp, strict=True):
            assert np.array_equal(a, b[part])


def test_a_world_does_not_depend_on_how_many_share_a_register(monkeypatch):
    m, found = bundled_model("ant"), []
    arrays = random_states(m, 19, seed=9, dtype="float32", spread=0.1)
    arrays[0][:, 2] = np.linspace(0.3, 0.9, 19)
    cotangents = [np.ones_like(a) for a in arrays[:2]]
    for lanes in (8, 16):
        monkeypatch.setattr("diffsim_core.rigid.dynamics.wide_lanes", lambda dtype, lanes=lanes: lanes)
        one = dynamics(m, 16, "float32", threads=1)
        out = step(one, *arrays)
        assert out.ok.all()
        found.append((out.q, out.qd, *vjp(one, *arrays, *cotangents)))
        assert one.saved_size(1) == one.saved_size(lanes) < one.saved_size(lanes + 1)  # blocks of that many worlds
    for narrow, wide in zip(*found, strict=True):
        assert np.array_equal(narrow, wide)


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30])
def test_a_diverged_world_is_contained(poison):
    m = bundled_model("ant")
    d = dynamics(m, 16, "float32")
    q, qd, u = random_states(m, 13, seed=9, dtype="float32", spread=0.1)
    gq, gqd = np.ones_like(q), np.ones_like(qd)
    clean, clean_vjp = step(d, q, qd, u), vjp(d, q, qd, u, gq, gqd)
    sick = qd.copy()
    sick[5, 8] = poison
    out, out_vjp = step(d, q, sick, u), vjp(d, q, sick, u, gq, gqd)
    others = np.arange(13) != 5
    assert out.ok.tolist() == others.astype(int).tolist()
    assert np.array_equal(out.q[5], q[5]), "a diverged world keeps the state it had"
    assert np.array_equal(out.q[others], clean.q[others]) and np.array_equal(out.qd[others], clean.qd[others])
    for a, b in zip(out_vjp, clean_vjp, strict=True):
        assert np.array_equal(a[others], b[others])
        assert not a[5].any()


def test_a_world_whose_gradient_explodes_is_masked():
    m = bundled_model("ant")
    d = dynamics(m, 16, "float32")
    q, qd, u = random_states(m, 3, seed=10, dtype="float32", spread=0.1)
    gq, gqd = np.ones_like(q), np.ones_like(qd)
    gqd[1] = np.inf
    given = vjp(d, q, qd, u, gq, gqd)
    for a in given:
        assert np.isfinite(a).all() and not a[1].any() and a[0].any()


@pytest.mark.parametrize("name", MODELS)
def test_low_memory_gives_the_same_gradient(name):
    m = model(name)
    arrays = random_states(m, 5, seed=14)
    cotangents = [np.ones_like(a) for a in arrays[:2]]
    fast, low = dynamics(m, memory="fast"), dynamics(m, memory="low")
    assert low.saved_size(64) < 0.7 * fast.saved_size(64)
    for a, b in zip(vjp(fast, *arrays, *cotangents), vjp(low, *arrays, *cotangents), strict=True):
        assert relative(a, b) < 1e-12


def test_linear_in_the_cotangent():
    m = model("two-trees")
    d = dynamics(m)
    arrays = random_states(m, 4, seed=11)
    rng = np.random.default_rng(12)
    a, b = ([rng.standard_normal(x.shape) for x in arrays[:2]] for _ in range(2))
    mixed = vjp(d, *arrays, *[2 * x - 3 * y for x, y in zip(a, b, strict=True)])
    for m_, x, y in zip(mixed, vjp(d, *arrays, *a), vjp(d, *arrays, *b), strict=True):
        assert relative(m_, 2 * x - 3 * y) < 1e-9


@pytest.mark.parametrize("field", ["contact_law", "limit_law"])
def test_unknown_law_is_named(field):
    bad = dataclasses.replace(model("two-trees"), **{field: "coulomb"})
    with pytest.raises(ValueError, match=f"{field}='coulomb'.*paper, released"):
        dynamics(bad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.0, "substeps": 1}, "dt=0.0"),
        ({"dt": 0.1, "substeps": 0}, "substeps=0"),
        ({"dt": 0.1, "substeps": 1, "dtype": "float16"}, "dtype='float16'"),
        ({"dt": 0.1, "substeps": 1, "memory": "none"}, "memory='none'"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RigidDynamics(model("two-trees"), **options)


def test_thread_count_from_the_environment(monkeypatch):
    monkeypatch.setenv("DIFFSIM_NUM_THREADS", "3")
    assert dynamics(model("two-trees")).threads == 3
    monkeypatch.setenv("DIFFSIM_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="DIFFSIM_NUM_THREADS='many'"):
        dynamics(model("two-trees"))


def test_active_contacts_are_the_points_below_ground():
    m = bundled_model("ant")
    q, qd, _ = random_states(m, 6, seed=13, spread=0.1)
    q[:, 2] = np.linspace(0.1, 0.8, 6)
    expected = []
    for qi in q:
        kin = twin.kinematics(m, qi)
        heights = [
            kin.position[link][2] + (kin.rotation[link] @ at)[2] - radius
            for link, at, radius in zip(m.contact_link, m.contact_pos, m.contact_radius, strict=True)
        ]
        expected.append(sum(h < 0 for h in heights))
    found = dynamics(m).active_contacts(RigidState(q, qd)).tolist()
    assert found == expected
    assert found[0] > 10 and found[-1] == 0
