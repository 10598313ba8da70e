"""The engine on NumPy arrays: what the bridges do, without an array library."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core._buffer import Buffer
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import RigidModel


class Step(NamedTuple):
    q: Any
    qd: Any
    ok: Any
    saved: Any
    act: Any = None


def buffer(array: Any) -> Buffer:
    assert array.flags.c_contiguous
    return Buffer(array.ctypes.data, array.shape, str(array.dtype), "cpu")


def _state(q: Any, qd: Any, act: Any) -> list[Buffer]:
    return [buffer(q), buffer(qd), *([buffer(act)] if act is not None and act.shape[1] else [])]


def step(dynamics: RigidDynamics, q: Any, qd: Any, u: Any, act: Any = None) -> Step:
    """Outputs are poisoned first, so a number that nobody writes is found."""
    out = Step(
        np.full_like(q, np.nan),
        np.full_like(qd, np.nan),
        np.full(len(q), -1, np.int32),
        np.full(dynamics.saved_size(len(q)), np.nan, q.dtype),
        None if act is None else np.full_like(act, np.nan),
    )
    state, after = _state(q, qd, act), _state(out.q, out.qd, out.act)
    dynamics.step(state, [buffer(u)], after, buffer(out.ok), buffer(out.saved))
    return out


def vjp(
    dynamics: RigidDynamics, q: Any, qd: Any, u: Any, gq: Any, gqd: Any, act: Any = None, gact: Any = None
) -> tuple[Any, ...]:
    """Cotangents of q, qd, u and, of a model that has them, activations."""
    out = step(dynamics, q, qd, u, act)
    given = [np.full_like(a, np.nan) for a in (q, qd, u, act) if a is not None]
    dynamics.vjp(
        _state(q, qd, act),
        [buffer(u)],
        buffer(out.ok),
        buffer(out.saved),
        _state(gq, gqd, gact),
        [*_state(*given[:2], given[3] if len(given) > 3 else None), buffer(given[2])],
    )
    return tuple(given)


def random_states(
    model: RigidModel, n: int, seed: int, dtype: str = "float64", spread: float = 0.3, speed: float = 1.0
) -> tuple[Any, Any, Any]:
    """Coordinates about the reference pose (unit quaternions), velocities and controls of ``n`` worlds."""
    rng = np.random.default_rng(seed)
    q = model.q_ref + spread * rng.standard_normal((n, model.nq))
    for kind, a in zip(model.joint_type, model.joint_q, strict=True):
        if (offset := JOINTS.at(int(kind)).quaternion) is not None:
            start = a + offset
            q[:, start : start + 4] /= np.linalg.norm(q[:, start : start + 4], axis=1, keepdims=True)
    qd = speed * rng.standard_normal((n, model.nv))
    u = rng.uniform(-1, 1, (n, model.nu))
    return q.astype(dtype), qd.astype(dtype), u.astype(dtype)
