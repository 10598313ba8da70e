"""The simulator on NumPy arrays, without an array library, and worlds to put into it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core import Buffer
from diffsim_mpm.tet import Contact, TetDynamics, TetModel, box


class Worlds(NamedTuple):
    """State, controls and constants, in the order in which a simulator gets them."""

    x: Any
    v: Any
    u: Any
    ends: Any
    ends_v: Any
    k_mu: Any
    k_lambda: Any
    density: Any


def buffer(array: Any) -> Buffer:
    assert array.flags.c_contiguous
    return Buffer(array.ctypes.data, array.shape, str(array.dtype), "cpu")


def step(dynamics: TetDynamics, worlds: Worlds) -> tuple[Worlds, Any]:
    """Outputs are poisoned first, so a number that nobody writes is found."""
    given = _arrays(dynamics, worlds)
    out = [np.full_like(a, np.nan) for a in given[:2]]
    ok = np.full(len(out[0]), -1, np.int32)
    dynamics.step(*_split(given), [buffer(a) for a in out], buffer(ok), None)
    return worlds._replace(x=out[0], v=out[1]), ok


def vjp(dynamics: TetDynamics, worlds: Worlds, ok: Any, gx: Any, gv: Any) -> Worlds:
    """Cotangents of everything, from those of the next x and v; None where the simulator takes none."""
    given = _arrays(dynamics, worlds)
    pulled = [np.full_like(a, np.nan) for a in given]
    cotangent = [np.ascontiguousarray(a, dtype=dynamics.dtype) for a in (gx, gv)]
    nothing = np.zeros(0, dynamics.dtype)
    dynamics.vjp(
        *_split(given), buffer(ok), buffer(nothing), [buffer(a) for a in cotangent], [buffer(a) for a in pulled]
    )
    return worlds._replace(**dict(zip(_names(dynamics), pulled, strict=True)))


def _names(dynamics: TetDynamics) -> list[str]:
    return [spec.name for spec in (*dynamics.state_spec, *dynamics.control_spec, *dynamics.constant_spec)]


def _arrays(dynamics: TetDynamics, worlds: Worlds) -> list[Any]:
    return [np.ascontiguousarray(getattr(worlds, name), dtype=dynamics.dtype) for name in _names(dynamics)]


def _split(given: list[Any]) -> tuple[list[Buffer], list[Buffer]]:
    return [buffer(a) for a in given[:2]], [buffer(a) for a in given[2:]]


def some_model(**options: Any) -> TetModel:
    """A box with materials and densities that differ from one tetrahedron to the next, ground, and two capsules."""
    mesh = box((1.0, 0.5, 0.7), (2, 1, 2))
    random = np.random.default_rng(5)

    def about(middle: float) -> Any:
        return middle * random.uniform(0.8, 1.2, mesh.num_tets)

    given = {"density": about(1.0), "k_mu": about(1000.0), "k_lambda": about(800.0), "k_damp": about(1.0)}
    actuators = np.arange(mesh.num_tets) // 2 - 1
    return TetModel(**{"mesh": mesh, "actuators": actuators, "capsules": (0.2, 0.15), **given, **options})


def some_worlds(model: TetModel, n: int, seed: int, *, height: float = 0.0, strain: float = 0.04) -> Worlds:
    """Bodies that are strained, move and are activated; capsules in and around them."""
    random = np.random.default_rng(seed)
    x = model.mesh.x + [0, 0, height] + strain * random.normal(size=(n, model.num_nodes, 3))
    v = random.normal(size=x.shape)
    u = 0.2 * random.normal(size=(n, model.num_controls))
    ends = random.uniform(-0.3, 1.0, (n, len(model.capsules), 2, 3))
    ends_v = random.normal(size=ends.shape)
    factors = random.uniform(0.8, 1.2, (3, n))
    return Worlds(x, v, u, ends, ends_v, *factors)


def still(model: TetModel, n: int = 1, *, lift: float = 0.0) -> Worlds:
    """The rest shape without motion, activation or capsules."""
    x = np.repeat(model.mesh.x[None] + [0, 0, lift], n, axis=0)
    one, none = np.ones(n), np.zeros((n, 0, 2, 3))
    return Worlds(x, np.zeros_like(x), np.zeros((n, model.num_controls)), none, none, one, one, one)


FREE = {"ground": None, "capsules": (), "gravity": (0.0, 0.0, 0.0)}
"""Options of a model that nothing touches and nothing pulls at."""
SLIPPERY = Contact(mu=0.0, kf=0.0)
