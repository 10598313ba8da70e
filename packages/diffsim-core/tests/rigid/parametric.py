"""The engine with parameters, on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid.dynamics import RigidDynamics

from .host import Step, buffer


def step(dynamics: RigidDynamics, q: Any, qd: Any, params: Any, u: Any) -> Step:
    """One control step."""
    out = Step(
        np.full_like(q, np.nan),
        np.full_like(qd, np.nan),
        np.full(len(q), -1, np.int32),
        np.full(dynamics.saved_size(len(q)), np.nan, q.dtype),
    )
    state, inputs = [buffer(x) for x in (q, qd)], [buffer(x) for x in (u, params)]
    dynamics.step(state, inputs, [buffer(x) for x in (out.q, out.qd)], buffer(out.ok), buffer(out.saved))
    return out


def vjp(dynamics: RigidDynamics, q: Any, qd: Any, params: Any, u: Any, cotangents: Any) -> list[Any]:
    """Cotangents of ``(q, qd, params, u)`` from those of the next ``(q, qd)``."""
    out = step(dynamics, q, qd, params, u)
    given = [np.full_like(a, np.nan) for a in (q, qd, params, u)]
    gq, gqd, gparams, gu = (buffer(a) for a in given)
    dynamics.vjp(
        [buffer(x) for x in (q, qd)],
        [buffer(u), buffer(params)],
        buffer(out.ok),
        buffer(out.saved),
        [buffer(x) for x in cotangents],
        [gq, gqd, gu, gparams],
    )
    return given
