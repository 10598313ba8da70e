"""The engine with parameters, on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid.dynamics import RigidDynamics

from .host import Step, buffer


def step(dynamics: RigidDynamics, q: Any, qd: Any, params: Any, u: Any) -> tuple[Step, Any]:
    """The step, and the parameters it passed on."""
    out = Step(
        np.full_like(q, np.nan),
        np.full_like(qd, np.nan),
        np.full(len(q), -1, np.int32),
        np.full(dynamics.saved_size(len(q)), np.nan, q.dtype),
    )
    kept = np.full_like(params, np.nan)
    state, control = [buffer(x) for x in (q, qd, params)], [buffer(u)]
    dynamics.step(state, control, [buffer(x) for x in (out.q, out.qd, kept)], buffer(out.ok), buffer(out.saved))
    return out, kept


def vjp(dynamics: RigidDynamics, q: Any, qd: Any, params: Any, u: Any, cotangents: Any) -> list[Any]:
    """Cotangents of ``(q, qd, params, u)`` from those of the next ``(q, qd, params)``."""
    out, _ = step(dynamics, q, qd, params, u)
    given = [np.full_like(a, np.nan) for a in (q, qd, params, u)]
    dynamics.vjp(
        [buffer(x) for x in (q, qd, params)],
        [buffer(u)],
        buffer(out.ok),
        buffer(out.saved),
        [buffer(x) for x in cotangents],
        [buffer(a) for a in given],
    )
    return given
