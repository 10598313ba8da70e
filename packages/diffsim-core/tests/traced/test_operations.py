"""Every operation that the tracer knows, against PyTorch's own: values, and derivatives at kinks, poles and beyond."""

from __future__ import annotations

import math

import pytest
import torch

from diffsim_core._traced import OPS
from diffsim_core._traced._namespace import _BINARY, _UNARY

from .tasks import observing

NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, 1e-3, 0.25, 1e5, -700.0, math.pi, 1.5, -2.5]
NUMBERS += [math.nan, math.inf, -math.inf]
LOGICAL = ("and", "or", "xor")


SUMS = ("cross", "matmul")
"""Compared at numbers up to 1e3: beyond, rounding shows, and zeros times infinity are added up or left out."""


def columns() -> dict[str, object]:
    """Functions ``(xp, x [N, 2]) -> [N]`` of every operation."""

    def real(xp, x, like):
        return xp.astype(x, like.dtype) if x.dtype == xp.bool else x

    found = {}
    for name in _UNARY:
        if name in ("logical_not", "bitwise_invert"):
            found[name] = lambda xp, x, name=name: real(xp, getattr(xp, name)(x[:, 0] > x[:, 1]), x)
        else:
            found[name] = lambda xp, x, name=name: real(xp, getattr(xp, name)(x[:, 0]), x)
    for name, op in _BINARY.items():
        if op in LOGICAL:
            found[name] = lambda xp, x, name=name: real(xp, getattr(xp, name)(x[:, 0] > 0, x[:, 1] > 0), x)
        else:
            found[name] = lambda xp, x, name=name: real(xp, getattr(xp, name)(x[:, 0], x[:, 1]), x)
    for k in (0, 1, 2, 3, 4, 0.5, -0.5, -1, -2, 2.5):
        found[f"power {k}"] = lambda xp, x, k=k: x[:, 0] ** k
    three = lambda xp, x: xp.stack([x[:, 0], x[:, 1], 2 * x[:, 0] - x[:, 1]], axis=1)  # noqa: E731
    found |= {
        "power": lambda xp, x: x[:, 0] ** x[:, 1],
        "base": lambda xp, x: 1.5 ** xp.clip(x[:, 0], -5.0, 5.0),
        "from the left": lambda xp, x: (2 - x[:, 0]) * 3 + 1 / x[:, 1],
        "abs": lambda xp, x: abs(x[:, 0]),
        "square": lambda xp, x: xp.square(x[:, 0]),
        "reciprocal": lambda xp, x: xp.reciprocal(x[:, 0]),
        "clip": lambda xp, x: xp.clip(x[:, 0], -0.5, 1.0),
        "clip below": lambda xp, x: xp.clip(x[:, 0], 0.5, None),
        "clip above": lambda xp, x: xp.clip(x[:, 0], None, 1.0),
        "where": lambda xp, x: xp.where(x[:, 0] > 0, xp.sqrt(x[:, 0]), x[:, 1] * 0.0),
        "where of where": lambda xp, x: xp.where(x[:, 0] > 0, xp.where(x[:, 1] > 0, x[:, 0], 1 / x[:, 1]), x[:, 1]),
        "truth as number": lambda xp, x: (x[:, 0] > 0) * x[:, 1],
        "sum": lambda xp, x: xp.sum(three(xp, x), axis=1),
        "mean": lambda xp, x: xp.mean(three(xp, x), axis=-1),
        "prod": lambda xp, x: xp.prod(three(xp, x), axis=1),
        "max": lambda xp, x: xp.max(three(xp, x), axis=1),
        "min": lambda xp, x: xp.min(three(xp, x), axis=1),
        "var": lambda xp, x: xp.var(three(xp, x), axis=1),
        "std": lambda xp, x: xp.std(three(xp, x), axis=1, correction=1),
        "norm": lambda xp, x: xp.linalg.vector_norm(x, axis=1),
        "vecdot": lambda xp, x: xp.linalg.vecdot(x, three(xp, x)[:, 1:]),
        "cross": lambda xp, x: xp.linalg.cross(three(xp, x), xp.flip(three(xp, x), axis=1) + 1.0)[:, 1],
        "any": lambda xp, x: xp.where(xp.any(x > 0, axis=1), x[:, 0], x[:, 1]),
        "all": lambda xp, x: xp.where(xp.all(x > 0, axis=1), x[:, 0], x[:, 1]),
        "matmul": lambda xp, x: (x[:, None, :] @ xp.stack([x, 2 * x], axis=2))[:, 0, 1],
        "floor of sqrt": lambda xp, x: xp.floor(xp.sqrt(x[:, 0])),
        "not a number": lambda xp, x: x[:, 0] + math.nan,
        "an entry of roots": lambda xp, x: xp.sqrt(x)[:, 1],
        "an entry of joined roots": lambda xp, x: xp.concat([xp.sqrt(x[:, :1]), x], axis=1)[:, 1],
        "an entry beside roots": lambda xp, x: x[:, 1] + 0 * xp.concat([x, xp.sqrt(x[:, :1])], axis=1)[:, 1],
        "infinite": lambda xp, x: x[:, 0] * math.inf,
        "times zero": lambda xp, x: 0.0 * (1 / x[:, 0]),
    }
    return found


COLUMNS = columns()


def test_every_operation_is_tried():
    """What is added to the tracer appears here by itself, or has to be added."""
    names = set(_UNARY.values()) | set(_BINARY.values())
    by_hand = {"pow", "clip", "where", "where_mask", "max", "min", "norm", "held", "alias", "step", "rsqrt"}
    assert names | by_hand == set(OPS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_derivatives_are_those_of_pytorch(dtype):
    """At all pairs of hostile numbers, NaN and infinity included."""
    kind = getattr(torch, dtype)
    pairs = torch.tensor([(a, b) for a in NUMBERS for b in NUMBERS], dtype=kind)
    env = observing(lambda xp, x: x, dtype=dtype, num_envs=len(pairs), columns=COLUMNS)
    env.step(env.reset(0)[0], torch.zeros(len(pairs), 2, dtype=kind))
    assert env.fused
    values, derivatives = compiled_columns(env, pairs)
    rtol, atol = (1e-10, 1e-12) if dtype == "float64" else (5e-6, 1e-6)
    wrong = []
    for k, (name, function) in enumerate(COLUMNS.items()):
        x = pairs.clone().requires_grad_()
        y = function(env.xp, x)
        gradient = torch.zeros_like(x)
        if y.requires_grad:
            (gradient,) = torch.autograd.grad(y.sum(), x, materialize_grads=True)
        for what, ours, theirs in (("value", values[k], y.detach()), ("derivative", derivatives[k], gradient)):
            same = torch.isclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True)
            if name in SUMS:
                same |= ~(pairs.abs() < 1e3).all(1).reshape((-1,) + (1,) * (same.ndim - 1))
            if not same.all():
                at = int((~same).nonzero()[0, 0])
                wrong.append(
                    f"{name}: {what} at {pairs[at].tolist()} is {ours[at].tolist()}, not {theirs[at].tolist()}"
                )
    assert not wrong, "\n".join(wrong)


def compiled_columns(env, x):
    """What compiled code makes of states ``[N, 2]``: each metric, and its derivative alone."""
    node, n = env._fused._node, len(x)
    run, names = node.compiled, node.compiled.names
    zeros, columns = torch.zeros_like(x), [x.new_empty(n) for _ in COLUMNS]
    arrays = {"q0": zeros, "a": zeros, "n0": x, "o0": torch.empty_like(x), "w0": x.new_empty(n)}
    arrays |= {f"k{k}": column for k, column in enumerate(columns)}
    arrays |= {"ok": torch.ones(n, dtype=torch.int32), "t": torch.zeros(n, dtype=torch.int32)}
    arrays |= {"t_out": arrays["t"].clone(), "flags": torch.empty((4, n), dtype=torch.bool), "any": arrays["t"].clone()}
    run.after.run(n, 1, [arrays[name].data_ptr() for name in names("after")])
    derivatives = []
    for k in range(len(columns)):
        made = {"cq0": torch.empty_like(x), "ca": torch.empty_like(x), "cn0": torch.empty_like(x)}
        given = arrays | made | {f"gk{k}": x.new_ones(n)}
        run.after_vjp.run(n, 1, [given[name].data_ptr() if name in given else 0 for name in names("after_vjp")])
        derivatives.append(made["cn0"])
    return columns, derivatives
