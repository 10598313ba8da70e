"""The simulator on NumPy arrays, without an array library, and bodies to put into it."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core import Buffer
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.model import MpmBody, MpmModel


def buffer(array: Any) -> Buffer:
    assert array.flags.c_contiguous
    return Buffer(array.ctypes.data, array.shape, str(array.dtype), "cpu")


def _given(dynamics: MpmDynamics, arrays: Any) -> list[Any]:
    return [np.ascontiguousarray(a, dtype=dynamics.dtype) for a in arrays]


def controls(dynamics: MpmDynamics, n: int, u: Any = None, params: Any = None, load: Any = None) -> list[Any]:
    """Controls and constants; by default joints do not move, nothing pulls and materials are the model's."""
    arrays = []
    if dynamics.model.nq:
        arrays.append(np.zeros((n, dynamics.model.nq)) if u is None else u)
    if dynamics.loads:
        arrays.append(np.zeros((n, dynamics.model.nr, 6)) if load is None else load)
    if len(dynamics.parameters):
        nominal = np.broadcast_to(dynamics.parameters.nominal, (n, len(dynamics.parameters)))
        arrays.append(nominal if params is None else params)
    return _given(dynamics, arrays)


def step(dynamics: MpmDynamics, state: Any, u: Any = None, params: Any = None, load: Any = None) -> tuple[Any, Any]:
    """Outputs are poisoned first, so a number that nobody writes is found."""
    given, n = _given(dynamics, state), len(state.x)
    out = [np.full_like(a, np.nan) for a in given]
    ok = np.full(n, -1, np.int32)
    control = controls(dynamics, n, u, params, load)
    dynamics.step(*([buffer(a) for a in arrays] for arrays in (given, control, out)), buffer(ok), None)
    return dynamics.state_type(*out), ok


def vjp(
    dynamics: MpmDynamics, state: Any, ok: Any, cotangent: Any, u: Any = None, params: Any = None, load: Any = None
) -> dict[str, Any]:
    """Cotangents of state, control and constants by name, from those of the next state."""
    given, n = _given(dynamics, state), len(state.x)
    control, cotangent = controls(dynamics, n, u, params, load), _given(dynamics, cotangent)
    pulled = [np.full_like(a, np.nan) for a in (*given, *control)]
    nothing = np.zeros(0, dynamics.dtype)
    lists = [[buffer(a) for a in arrays] for arrays in (given, control, cotangent, pulled)]
    dynamics.vjp(lists[0], lists[1], buffer(ok), buffer(nothing), lists[2], lists[3])
    specs = (*dynamics.state_spec, *dynamics.control_spec, *dynamics.constant_spec)
    return {spec.name: a for spec, a in zip(specs, pulled, strict=True)}


def box(low: Any, size: Any, count: Any) -> Any:
    """Particles in the middles of ``count`` equal boxes that fill a box ``[n, 3]``."""
    axes = [lo + s * (np.arange(c) + 0.5) / c for lo, s, c in zip(low, size, count, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def block(
    low: Any = (0.3, 0.3, 0.3),
    size: Any = (0.2, 0.2, 0.2),
    count: Any = (6, 6, 6),
    density: float = 1000.0,
    **body: Any,
) -> MpmBody:
    """A block of particles at equal distances."""
    volume = float(np.prod(size)) / float(np.prod(count))
    return MpmBody(**{"name": "block", "particles": box(low, size, count), "volume": volume, "density": density} | body)


def some_model(*bodies: MpmBody, cells: int = 16, **options: Any) -> MpmModel:
    return MpmModel(**{"bodies": bodies or (block(),), "cells": (cells,) * 3, "dx": 1 / cells} | options)


def some_state(dynamics: MpmDynamics, n: int, seed: int, *, speed: float = 0.5, strain: float = 0.03) -> Any:
    """Particles near their places, in motion and deformed."""
    random = np.random.default_rng(seed)
    state = dynamics.rest(n)
    shift = 0.1 * dynamics.model.dx * random.uniform(-1, 1, state.x.shape)
    known = {
        "x": state.x + shift,
        "v": speed * random.standard_normal(state.v.shape),
        "C": speed * random.standard_normal(state.C.shape),
        "F": state.F + strain * random.standard_normal(state.F.shape),
    }
    return state._replace(**{name: a.astype(dynamics.dtype) for name, a in known.items()})
