"""A control step against the readable twin, its derivatives against differences, and worlds against each other."""

from __future__ import annotations

import numpy as np
import pytest

import diffsim_mpm.tet.dynamics as simulator
from diffsim_mpm.tet import Contact, TetDynamics, TetModel, box, twin
from diffsim_mpm.tet._kernels import kernels

from .host import FREE, Worlds, some_model, some_worlds, step, still, vjp

STEP = {"dt": 0.004, "substeps": 6}


@pytest.fixture(params=["lanes", "one world"])
def place(request, monkeypatch):
    """Eight worlds in a lane, as on a CPU, or one for each item, as on CUDA."""
    if request.param == "one world":
        monkeypatch.setattr(simulator, "kernels", lambda dtype, on_cuda: kernels(dtype, True))


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("options", [{}, {"ground": None}, {"capsules": ()}, {**FREE}])
def test_a_step_is_the_twins(options):
    model = some_model(**options)
    worlds = some_worlds(model, 5, seed=1)
    out, ok = step(TetDynamics(model, **STEP, dtype="float64"), worlds)
    assert ok.all()
    for k in range(5):
        one = Worlds(*(a[k] for a in worlds))
        scale = (one.k_mu, one.k_lambda, one.density)
        x, v = twin.step(model, one.x, one.v, one.u, **STEP, ends=one.ends, ends_v=one.ends_v, scale=scale)
        np.testing.assert_allclose(out.x[k], x, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(out.v[k], v, rtol=1e-10, atol=1e-10)


def differences(dynamics: TetDynamics, worlds: Worlds, seed: int, *, together: bool = False) -> int:
    """A random direction of every input, and every world by itself; worlds with a switch within reach are left out.

    With ``together`` both ends of a capsule move alike. Returns how many numbers were compared.
    """
    n, random = len(worlds.x), np.random.default_rng(seed)
    out, ok = step(dynamics, worlds)
    assert ok.all()
    gx, gv = random.normal(size=out.x.shape), random.normal(size=out.v.shape)
    exact = vjp(dynamics, worlds, ok, gx, gv)

    def loss(at: Worlds) -> np.ndarray:
        after, _ = step(dynamics, at)
        return (gx * after.x + gv * after.v).reshape(n, -1).sum(axis=1)

    def slope(name: str, along: np.ndarray, h: float) -> np.ndarray:
        value = getattr(worlds, name)
        sides = [loss(worlds._replace(**{name: value + sign * h * along})) for sign in (1, -1)]
        return (sides[0] - sides[1]) / (2 * h)

    found, expected, doubt = {}, {}, {}
    for name in (name for name in Worlds._fields if getattr(worlds, name).size):
        along = random.normal(size=getattr(worlds, name).shape)
        if together and name.startswith("ends"):
            along[:, :, 1] = along[:, :, 0]
        found[name] = (getattr(exact, name) * along).reshape(n, -1).sum(axis=1)
        expected[name] = slope(name, along, 1e-6)
        doubt[name] = abs(expected[name] - slope(name, along, 2e-6))
    scale = max(abs(values).max() for values in expected.values())
    compared = 0
    for name, values in expected.items():
        size = max(abs(values).max(), 1e-3 * scale)
        smooth = doubt[name] < 1e-5 * size
        np.testing.assert_allclose(found[name][smooth] / size, values[smooth] / size, atol=1e-6, err_msg=name)
        compared += smooth.sum()
    assert compared > 0.9 * n * len(expected)
    return compared


@pytest.mark.usefixtures("place")
def test_derivatives_where_everything_touches():
    model = some_model()
    differences(TetDynamics(model, **STEP, dtype="float64"), some_worlds(model, 9, seed=2), seed=3)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("substeps", [1, 6, 7])
def test_derivatives_are_the_same_with_less_memory(substeps):
    model = some_model()
    worlds = some_worlds(model, 5, seed=13)
    size = {"dt": 0.0006 * substeps, "substeps": substeps, "dtype": "float64"}
    fast, low = (TetDynamics(model, **size, memory=memory) for memory in ("fast", "low"))
    ok = np.ones(5, np.int32)
    for a, b in zip(*(vjp(d, worlds, ok, worlds.x, worlds.v) for d in (fast, low)), strict=True):
        assert np.array_equal(a, b)


def test_derivatives_in_the_undeformed_state():
    model = some_model(**FREE)
    differences(TetDynamics(model, **STEP, dtype="float64"), still(model, 2), seed=4)


def test_derivatives_of_activations_at_rest():
    model = some_model(**FREE)
    worlds = still(model, 3)
    worlds = worlds._replace(u=0.3 * np.random.default_rng(0).uniform(-1, 1, worlds.u.shape))
    differences(TetDynamics(model, **STEP, dtype="float64"), worlds, seed=5)


@pytest.mark.parametrize(("speed", "slides"), [(0.001, False), (2.0, True)])
def test_derivatives_of_a_body_that_stands_or_slides_on_the_ground(speed, slides):
    model = some_model(capsules=())
    worlds = still(model, 3, lift=model.contact.radius - 0.004)
    worlds.v[:] = [speed, 0.0, -0.02]
    lowest = worlds.x[0, :, 2] < model.contact.radius
    assert lowest.any()
    force = twin.touch(model, -0.004, np.array([0.0, 0, 1]), worlds.v[0, 0])
    assert slides == (abs(force[0]) < 0.999 * model.contact.kf * speed)
    differences(TetDynamics(model, **STEP, dtype="float64"), worlds, seed=6)


@pytest.mark.parametrize("sphere", [False, True])
def test_derivatives_of_what_a_capsule_does(sphere):
    """Only the capsule touches the body; between its ends, beyond them, and where it is a sphere."""
    model = some_model(ground=None, capsules=(0.3,))
    worlds = some_worlds(model, 8, seed=7)
    if sphere:
        worlds.ends[:, :, 1], worlds.ends_v[:, :, 1] = worlds.ends[:, :, 0], worlds.ends_v[:, :, 0]
    dynamics = TetDynamics(model, **STEP, dtype="float64")
    differences(dynamics, worlds, seed=8, together=sphere)
    ok = np.ones(8, np.int32)
    pulled = vjp(dynamics, worlds, ok, worlds.x, worlds.v)
    assert (abs(pulled.ends).reshape(8, -1).max(axis=1) > 0).sum() > 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_worlds_do_not_depend_on_others_or_on_threads(dtype, monkeypatch):
    model = some_model()
    worlds = some_worlds(model, 100, seed=9)
    one = TetDynamics(model, **STEP, dtype=dtype, threads=1)
    out, ok = step(one, worlds)
    pulled = vjp(one, worlds, ok, worlds.x, worlds.v)
    monkeypatch.setattr(simulator, "_TETS_WORTH_A_THREAD", 1)
    four = TetDynamics(model, **STEP, dtype=dtype, threads=4)
    for chosen, dynamics in ((slice(0, 100), four), (slice(3, 4), one), (slice(50, 63), one)):
        few = Worlds(*(a[chosen] for a in worlds))
        again, found = step(dynamics, few)
        back = vjp(dynamics, few, found, few.x, few.v)
        for a, b in zip((out.x, out.v, *pulled), (again.x, again.v, *back), strict=True):
            assert np.array_equal(a[chosen], b)


def test_float32_is_float64_rounded():
    model = some_model()
    worlds = some_worlds(model, 8, seed=10)
    wide, narrow = (step(TetDynamics(model, **STEP, dtype=dtype), worlds)[0] for dtype in ("float64", "float32"))
    np.testing.assert_allclose(narrow.x, wide.x, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(narrow.v, wide.v, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("spoil", Worlds._fields)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_lost_world_is_contained(spoil, value):
    model = some_model()
    worlds = some_worlds(model, 12, seed=11)
    dynamics = TetDynamics(model, **STEP, dtype="float64")
    clean, good = step(dynamics, worlds)
    untouched = vjp(dynamics, worlds, good, worlds.x, worlds.v)
    array = getattr(worlds, spoil).copy()
    array[5].flat[0] = value if array.ndim > 1 else 0
    if array.ndim == 1:
        array[5] = value
    spoilt = worlds._replace(**{spoil: array})
    out, ok = step(dynamics, spoilt)
    assert ok[5] == 0 and ok.sum() == 11
    pulled = vjp(dynamics, spoilt, ok, worlds.x, worlds.v)
    rest = np.arange(12) != 5
    for name in ("x", "v"):
        assert np.array_equal(getattr(out, name)[5], getattr(spoilt, name)[5], equal_nan=True)
        assert np.array_equal(getattr(out, name)[rest], getattr(clean, name)[rest])
    for gradient, wanted in zip(pulled, untouched, strict=True):
        assert (gradient[5] == 0).all() and np.array_equal(gradient[rest], wanted[rest])


@pytest.mark.parametrize("name", ["k_mu", "k_lambda", "density"])
def test_a_factor_that_is_not_positive_loses_its_world(name):
    model = some_model()
    worlds = some_worlds(model, 3, seed=12)
    getattr(worlds, name)[1] = 0.0
    _, ok = step(TetDynamics(model, **STEP, dtype="float64"), worlds)
    assert ok.tolist() == [1, 0, 1]


def test_a_world_that_leaves_the_finite_range_is_contained():
    model = TetModel(mesh=box((1, 1, 1), (1, 1, 1)), **FREE)
    worlds = still(model, 3)
    worlds.v[1] += 2e4
    out, ok = step(TetDynamics(model, dt=0.001, substeps=1, limit=1e4), worlds)
    assert ok.tolist() == [1, 0, 1] and np.array_equal(out.x[1], worlds.x[1].astype(np.float32))


def test_bodies_may_be_inside_out_and_come_back():
    """The energy has no barrier, so a body that is turned inside out relaxes instead of ending in NaN."""
    model = TetModel(mesh=box((1, 1, 1), (2, 2, 2)), k_damp=5.0, contact=Contact(ke=0.0), **FREE)
    worlds = still(model, 1)
    middle = worlds.x.mean(axis=1, keepdims=True)
    squashed = middle + (worlds.x - middle) * [1.0, 1.0, -0.3]
    now = worlds._replace(x=squashed + 0.01 * np.random.default_rng(1).normal(size=worlds.x.shape))
    dynamics = TetDynamics(model, dt=0.05, substeps=200, dtype="float64")
    before = twin.energy(model, now.x[0], worlds.u[0])
    for _ in range(20):
        now, ok = step(dynamics, now)
        assert ok.all()
    assert twin.energy(model, now.x[0], worlds.u[0]) < 0.9 * before
