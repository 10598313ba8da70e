"""The engine against its readable twin, its own adjoint against differences, and what must not change a bit."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from diffsim_core import Buffer
from diffsim_mpm import _launches, twin
from diffsim_mpm.chain import Joint, KinematicChain
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.materials import MATERIALS
from diffsim_mpm.shapes import Box, Sphere

from .host import block, some_model, some_state, step, vjp
from .shuffled import for_cuda

SOFT = {"E": 1e4}


def soft(material: str) -> dict[str, float]:
    return SOFT if "E" in MATERIALS[material].parameter_names else {}


def hand() -> KinematicChain:
    """A ball on an arm that turns, and a box that comes down."""
    return KinematicChain(
        joints=(
            Joint(name="arm", axis=(0, 1, 0), pos=(0.2, 0.4, 0.3)),
            Joint(name="press", kind="slide", axis=(0, 0, -1), pos=(0.4, 0.4, 0.45)),
        ),
        shapes=(
            Sphere(joint="arm", pos=(0.12, 0, 0), radius=0.05, friction=0.4),
            Box(joint="press", half_sizes=(0.08, 0.08, 0.03), friction=0.9, softness=50.0),
        ),
    )


def bodies(*materials: str):
    """Small blocks in a row, the first ones on the ground."""
    lows = [(0.25 + 0.15 * k, 0.3, 0.14) for k in range(len(materials))]
    return [
        block(name=f"b{k}", low=low, size=(0.14, 0.2, 0.2), count=(3, 3, 4), material=name, parameters=soft(name))
        for k, (low, name) in enumerate(zip(lows, materials, strict=True))
    ]


def twin_world(dynamics: MpmDynamics, state, i: int) -> twin.World:
    missing = {"q": np.zeros(0), "h": np.zeros(dynamics.model.n)}
    given = {name: np.asarray(a[i], dtype=np.float64) for name, a in state._asdict().items() if name != "wrench"}
    return twin.World(**missing | given)


@pytest.mark.parametrize("materials", [(name,) for name in MATERIALS] + [("von_mises", "drucker_prager")])
@pytest.mark.parametrize("friction", [0.0, 0.4, np.inf])
def test_twin(materials, friction):
    model = some_model(*bodies(*materials), ground_friction=friction)
    dynamics = MpmDynamics(model, dt=1e-3, substeps=5, dtype="float64", threads=1)
    state = some_state(dynamics, 2, seed=1)
    out, ok = step(dynamics, state)
    assert ok.all()
    for i in range(2):
        expected = twin.step(model, twin_world(dynamics, state, i), None, dynamics.dt, 5)
        for name, a in out._asdict().items():
            b = getattr(expected, name)
            assert np.abs(a[i] - b).max() <= 1e-10 * max(1.0, np.abs(b).max()), name


def test_twin_with_shapes():
    model = some_model(*bodies("von_mises", "fluid"), ground_friction=0.3, shapes=hand())
    dynamics = MpmDynamics(model, dt=1e-3, substeps=4, dtype="float64", threads=1, reactions=True)
    state = some_state(dynamics, 2, seed=2)
    u = np.array([[0.05, 0.01], [-0.02, 0.03]])
    state = state._replace(q=np.array([[0.1, 0.05], [0.3, 0.0]]))
    out, ok = step(dynamics, state, u)
    assert ok.all()
    alone, _ = step(MpmDynamics(some_model(*model.bodies), dt=1e-3, substeps=4, dtype="float64"), _without_q(state))
    assert (np.abs(out.v - alone.v).max(axis=(1, 2)) > 1e-3).all()  # the shapes do touch
    for i in range(2):
        impulses = np.zeros((2, 6))
        expected = twin.step(model, twin_world(dynamics, state, i), u[i], dynamics.dt, 4, impulses=impulses)
        for name, a in out._asdict().items():
            b = impulses / dynamics.dt if name == "wrench" else getattr(expected, name)
            assert np.abs(a[i] - b).max() <= 1e-10 * max(1.0, np.abs(b).max()), name


def _without_q(state):
    from diffsim_mpm.dynamics import MpmState

    return MpmState(state.x, state.v, state.C, state.F)


def relative_error(dynamics, state, seed, u=None, *, directions=2):
    """Largest relative difference of directional derivatives from central ones, over inputs and directions."""
    random, n = np.random.default_rng(seed), len(state.x)
    params = np.tile(dynamics.parameters.nominal, (n, 1)) if len(dynamics.parameters) else None
    out, ok = step(dynamics, state, u, params)
    assert ok.all()
    weights = [random.standard_normal(a.shape) for a in out]
    pulled = vjp(dynamics, state, ok, weights, u, params)

    def loss(inputs):
        known = state._replace(**{k: a for k, a in inputs.items() if k in state._fields})
        result, good = step(dynamics, known, inputs.get("u"), inputs.get("params"))
        assert good.all()
        return sum((w * a).reshape(n, -1).sum(axis=1) for w, a in zip(weights, result, strict=True))

    inputs = {**state._asdict(), "u": u, "params": params}
    inputs = {name: a for name, a in inputs.items() if a is not None}
    worst = 0.0
    for name, at in inputs.items():
        scale = np.abs(at) if name == "params" else dynamics.model.dx if name == "x" else 1.0
        for _ in range(directions):
            way = random.standard_normal(at.shape) * scale
            exact = (pulled[name] * way).reshape(n, -1).sum(axis=1)
            errors = []
            for h in (1e-4, 1e-5, 1e-6):
                up, down, up2, down2 = (loss({**inputs, name: at + k * h * way}) for k in (1, -1, 2, -2))
                if name == "wrench":  # which a step does not read
                    assert (pulled[name] == 0).all() and (up == down).all()
                slope = (8 * (up - down) - (up2 - down2)) / (12 * h)
                errors.append(np.abs(slope - exact) / np.maximum(np.abs(slope), 1e-9))
            worst = max(worst, np.min(errors, axis=0).max())
    return worst


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("strain", [0.0, 0.05])
def test_gradients(material, strain):
    """At the undeformed state and a deformed one (plasticine yields, sand flows), on the ground with friction."""
    model = some_model(*bodies(material), ground_friction=0.4)
    names = MATERIALS[material].parameter_names
    dynamics = MpmDynamics(model, dt=1e-3, substeps=6, dtype="float64", threads=1, parameters=names)
    state = some_state(dynamics, 3, seed=3, strain=strain)
    if material == "drucker_prager":
        state = state._replace(F=0.97 * state.F)  # without pressure sand is between flowing and not
    assert relative_error(dynamics, state, 4) < 1e-6


def test_gradients_of_a_hand():
    """Two materials under moving shapes: also of what the shapes feel, by joint positions and by their motion."""
    model = some_model(*bodies("von_mises", "drucker_prager"), ground_friction=0.4, shapes=hand())
    options = {"parameters": ("E", "yield_stress"), "reactions": True}
    dynamics = MpmDynamics(model, dt=1e-3, substeps=4, dtype="float64", threads=1, **options)
    state = some_state(dynamics, 3, seed=5, strain=0.02)
    random = np.random.default_rng(6)
    state = state._replace(q=np.array([[0.1, 0.05], [0.3, 0.0], [0.2, 0.1]]), F=0.97 * state.F)
    assert relative_error(dynamics, state, 7, 0.02 * random.standard_normal((3, 2))) < 1e-6


def test_float32_gradients_over_8_control_steps():
    pulled = {}
    for dtype in ("float32", "float64"):
        dynamics = MpmDynamics(
            some_model(*bodies("von_mises", "fixed_corotated"), ground_friction=0.4),
            dt=2e-3,
            substeps=10,
            dtype=dtype,
            threads=1,
        )
        state = some_state(dynamics, 2, seed=8, strain=0.0)
        states = [state]
        for _ in range(8):
            state, ok = step(dynamics, state)
            assert ok.all()
            states.append(state)
        random = np.random.default_rng(9)
        g = [random.standard_normal(a.shape) for a in state]
        for before in states[-2::-1]:
            g = list(vjp(dynamics, before, ok, g).values())
        pulled[dtype] = np.concatenate([np.asarray(a, np.float64).reshape(2, -1) for a in g], axis=1)
    a, b = pulled["float32"], pulled["float64"]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert (cosine > 0.999).all()


def mixed(threads: int, dtype: str = "float32", **options) -> MpmDynamics:
    model = some_model(*bodies("von_mises", "drucker_prager"), ground_friction=0.4, shapes=hand())
    options |= {"parameters": ("yield_stress", "friction_angle"), "reactions": True}
    return MpmDynamics(model, dt=1e-3, substeps=3, dtype=dtype, threads=threads, **options)


def everything(dynamics, state):
    out, ok = step(dynamics, state)
    g = [np.ones_like(a) for a in out]
    return [*out, *vjp(dynamics, state, ok, g).values()], ok


def test_bits_do_not_depend_on_worlds_and_threads():
    dynamics = mixed(1)
    state = some_state(dynamics, 5, seed=10)
    state = state._replace(v=20 * state.v)
    together, ok = everything(dynamics, state)
    assert ok.all()
    again, _ = everything(mixed(3), state)
    assert all((a == b).all() for a, b in zip(together, again, strict=True))
    for i in range(5):
        alone, _ = everything(dynamics, type(state)(*(a[i : i + 1] for a in state)))
        assert all((a[i] == b[0]).all() for a, b in zip(together, alone, strict=True))


def test_grids_that_are_not_kept_are_made_again(monkeypatch):
    """Whether there is room for the grids of all sub-steps, of some or of none, bits are the same."""
    found = []
    for nodes in (1000, 150, 0):
        monkeypatch.setattr(_launches, "_KEPT_NODES", nodes)
        monkeypatch.setattr(_launches, "_KEPT_NODES_A_PARTICLE", 0)
        dynamics = mixed(1)
        found.append(everything(dynamics, some_state(dynamics, 2, seed=14))[0])
    for other in found[1:]:
        assert all((a == b).all() for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("wrong", ["nan", "outside", "fast", "joint"])
def test_a_lost_world_is_contained(wrong):
    dynamics = mixed(1)
    state = some_state(dynamics, 3, seed=11)
    clean, _ = everything(dynamics, state)
    bad = type(state)(*(a.copy() for a in state))
    if wrong == "nan":
        bad.F[1, 5] = np.nan
    elif wrong == "outside":
        bad.x[1, 7] = 2.0
    elif wrong == "joint":
        bad.q[1, 0] = np.nan
    else:
        bad.v[1] = 1e12
    lost, ok = everything(dynamics, bad)
    assert ok.tolist() == [1, 0, 1]
    states = len(state)
    for k, (a, b) in enumerate(zip(lost, clean, strict=True)):
        assert (a[[0, 2]] == b[[0, 2]]).all()
        expected = bad[k][1] if k < states else 0.0
        assert np.array_equal(a[1], np.broadcast_to(expected, a[1].shape), equal_nan=True)


def test_a_world_that_outgrows_max_box_is_lost():
    apart = [block(name=name, low=(low, 0.4, 0.4), count=(3, 3, 3)) for name, low in (("a", 0.28), ("b", 0.5))]
    state = None
    for max_box, expected in ((None, [1, 1]), (280, [1, 0])):
        dynamics = MpmDynamics(some_model(*apart, max_box=max_box), dt=5e-3, substeps=10, threads=1)
        if state is None:
            state = dynamics.rest(2)
            state.v[1, :, 0] = np.where(state.x[1, :, 0] < 0.49, -10.0, 10.0)  # they fly away from each other
        assert step(dynamics, state)[1].tolist() == expected


@pytest.mark.parametrize("atomics", [False, True])
def test_cuda_source_on_a_cpu(monkeypatch, atomics):
    """What is made for CUDA does the same; a CPU runs it one item after the other."""
    expected = mixed(1, "float64")
    for_cuda(monkeypatch)
    dynamics = mixed(1, "float64", atomics=atomics)
    state = some_state(dynamics, 4, seed=12)
    state.x[1, 7] = 2.0  # a lost world
    state.q[2, 1] = np.nan  # and another one
    u = np.array([[0.02, 0.01], [0.0, 0.0], [0.0, 0.0], [0.05, 0.03]])
    random = np.random.default_rng(13)
    g = [random.standard_normal(a.shape) for a in state]
    for one, other in zip(_both_passes(dynamics, state, u, g), _both_passes(expected, state, u, g), strict=True):
        assert one == pytest.approx(other, abs=1e-10 * max(1.0, np.nanmax(np.abs(other))), nan_ok=True)


def test_a_control_step_of_cuda_is_one_graph(monkeypatch):
    """Both passes are captured and replayed, so that nothing in them waits for the host; here by a CPU's graphs."""
    for_cuda(monkeypatch)
    check_graph("cpu")


def check_graph(device):
    dynamics = mixed(1, device=device)
    state = some_state(dynamics, 3, seed=19)
    arrays = [*state, np.full((3, 2), 0.01), np.tile(dynamics.parameters.nominal, (3, 1))]
    given = [wp.array(a.astype(np.float32), device=device) for a in arrays]
    out, g = given[: len(state)], [wp.ones(a.shape, dtype=float, device=device) for a in given[: len(state)]]
    out, back = ([wp.zeros_like(a) for a in each] for each in (out, given))
    ok = wp.zeros(3, dtype=wp.int32, device=device)

    def passes():
        lists = [[Buffer(a.ptr, a.shape, "float32", device) for a in each] for each in (given, out, g, back)]
        flags = Buffer(ok.ptr, ok.shape, "int32", device)
        dynamics.step(lists[0][: len(state)], lists[0][len(state) :], lists[1], flags, None)
        dynamics.vjp(lists[0][: len(state)], lists[0][len(state) :], flags, flags, lists[2], lists[3])

    passes()  # which makes room
    results = [*out, *back]
    expected = [a.numpy().copy() for a in results]
    assert ok.numpy().all() and all((results[k].numpy() != 0).all() for k in (1, len(state) + 1))  # x and its cotangent
    with wp.ScopedCapture(device=device) as capture:
        passes()
    for a in results:
        a.fill_(-1.0)
    wp.capture_launch(capture.graph)
    for a, b in zip(results, expected, strict=True):
        assert (a.numpy() == b).all()


@pytest.mark.parametrize("atomics", [False, True])
def test_the_order_of_threads_changes_no_bit(monkeypatch, atomics):
    """On CUDA, in both passes, with shapes, what they feel, and parameters as inputs; only atomics are in any order."""
    found = []
    for seed in range(3):
        with monkeypatch.context() as patch:
            for_cuda(patch, np.random.default_rng(seed))
            dynamics = mixed(1, atomics=atomics)
            state = some_state(dynamics, 3, seed=17, strain=0.02)
            state = state._replace(q=np.array([[0.1, 0.05], [0.3, 0.0], [0.2, 0.1]], np.float32))
            u = np.array([[0.05, 0.01], [-0.02, 0.03], [0.0, 0.02]])
            out, ok = step(dynamics, state, u)
            assert ok.all() and (out.wrench != 0).any()
            g = [np.random.default_rng(18).standard_normal(a.shape) for a in out]
            back = vjp(dynamics, state, ok, g, u)
            found.append(out._asdict() | {f"g{name}": a for name, a in back.items()})
    same = {name: all((other[name] == a).all() for other in found[1:]) for name, a in found[0].items()}
    if atomics:
        assert not same["v"] and not same["gv"]
    else:
        assert all(same.values()), same


def _both_passes(dynamics, state, u, g):
    out, ok = step(dynamics, state, u)
    assert ok.tolist() == [1, 0, 0, 1]
    return [*out, *vjp(dynamics, state, ok, g, u).values()]
