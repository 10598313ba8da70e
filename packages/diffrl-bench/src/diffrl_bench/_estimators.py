"""``bench estimators``: the cost of gradest's checks and generality, compared with expressions written by hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

import gradest

from ._by_hand import BY_HAND
from ._machine import describe, machine, versions
from ._text import rounded, table

FRAMEWORKS = ("numpy", "torch", "jax")
_OPTIONS: dict[str, dict[str, Any]] = {
    "discounted_returns": {"gamma": 0.99},
    "td_lambda": {"gamma": 0.99, "lam": 0.95},
    "gae": {"gamma": 0.99, "lam": 0.95},
    "n_step_returns": {"gamma": 0.99, "n": 5},
    "soft_reward": {"temperature": 0.2},
    "clipped_surrogate": {"clip": 0.2},
    "out_of_range_ratio": {"clip": 0.2},
    "mix_gradients": {"alpha": 0.3},
    "clip_max_norm": {"max_norm": 20.0},
}
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "discounted_returns": ("reward", "done"),
    "td_lambda": ("reward", "value", "terminated", "done"),
    "gae": ("reward", "value", "other", "terminated", "done"),
    "n_step_returns": ("reward", "value", "terminated", "done"),
    "clipped_surrogate": ("reward", "value", "other"),
    "additional_return": ("reward", "value", "other"),
    "empirical_variance": ("reward",),
    "clip_max_norm": ("reward",),
    "signal_to_noise": ("reward",),
    "gaussian_determinant": ("positive", "positive"),
}


def bench_estimators(
    *, shape: tuple[int, int] = (1000, 1000), repeats: int = 15, frameworks: Sequence[str] = FRAMEWORKS
) -> dict[str, Any]:
    """Time every function and its expression by hand by turns, on one core where the framework allows it.

    Args:
        shape: shape of every array, ``[T, N]`` or ``[N, P]``.
        repeats: timed calls of each; the ratio is the median over the pairs.
        frameworks: frameworks to time; JAX is compiled, torch and NumPy are not.

    Returns:
        A report for JSON.

    Raises:
        ValueError: an unknown framework, or results that differ from those by hand.
    """
    if min(shape) < 2 or repeats < 1:
        raise ValueError(f"shape={shape}, repeats={repeats}: expected at least 2 rows and columns, and 1 repeat")
    facts, rows = machine(), []
    arrays = _arrays(shape)
    for framework in frameworks:
        xp, convert, finish, compiled = _framework(framework)
        given = {name: convert(array) for name, array in arrays.items()}
        for name, by_hand in BY_HAND.items():
            call = [given[key] for key in _ARGUMENTS.get(name, ("reward", "value"))]
            ours = compiled(partial(getattr(gradest, name), **_OPTIONS.get(name, {})))
            theirs = compiled(partial(_numeric, by_hand, xp))
            _check_equal(framework, name, ours(*call), theirs(*call))
            pairs = _pairs(ours, theirs, call, finish, repeats)
            ratios = sorted(a / b for a, b in pairs)
            rows.append(
                {
                    "framework": framework,
                    "function": name,
                    "gradest_s": statistics.median(a for a, _ in pairs),
                    "by_hand_s": statistics.median(b for _, b in pairs),
                    "ratio": statistics.median(ratios),
                    "ratio_min": ratios[0],
                    "ratio_max": ratios[-1],
                }
            )
    return {
        "benchmark": "estimators",
        "shape": list(shape),
        "repeats": repeats,
        "rows": rows,
        "largest_ratio": max(row["ratio"] for row in rows),
        "machine": facts,
        "versions": versions(),
    }


def estimators_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench estimators`` without ``--json``."""
    rows = [
        (
            f"{row['framework']} {row['function']}",
            f"{1e3 * row['gradest_s']:.2f}",
            f"{1e3 * row['by_hand_s']:.2f}",
            rounded(row["ratio"]),
            f"{rounded(row['ratio_min'])} to {rounded(row['ratio_max'])}",
        )
        for row in report["rows"]
    ]
    return "\n".join(
        [
            f"arrays of {report['shape'][0]:,} x {report['shape'][1]:,}, medians of {report['repeats']} pairs of calls",
            f"{describe(report['machine'])}; load {rounded(report['machine']['load_before'])} before the run",
            "",
            table(("", "gradest, ms", "by hand, ms", "ratio", "of single pairs"), rows),
            "",
            f"largest ratio {rounded(report['largest_ratio'])}",
        ]
    )


def _arrays(shape: tuple[int, int]) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    floats = {name: rng.normal(size=shape).astype(np.float32) for name in ("reward", "value", "other")}
    terminated, truncated = rng.random((2, *shape)) < 0.01
    positive = np.exp(0.1 * floats["other"])
    return {**floats, "positive": positive, "terminated": terminated, "done": terminated | truncated}


def _framework(name: str) -> tuple[Any, Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """The framework's namespace, and functions that convert an array, wait for a result, and compile."""
    if name == "numpy":
        return np, np.asarray, lambda x: x, lambda f: f
    if name == "torch":
        import torch

        return torch, torch.from_numpy, lambda x: x, lambda f: f
    if name == "jax":
        import jax

        return jax.numpy, jax.numpy.asarray, jax.block_until_ready, jax.jit
    raise ValueError(f"framework {name!r} is unknown; expected one of {', '.join(FRAMEWORKS)}")


def _numeric(f: Callable[..., Any], xp: Any, *arrays: Any) -> Any:
    """The expression with flags converted to numbers first, as most code does."""
    float32 = getattr(xp, "float32")  # noqa: B009  - torch's and NumPy's, by one name
    flag = xp.bool if hasattr(xp, "bool") else xp.bool_
    cast = [(x.to(float32) if xp.__name__ == "torch" else x.astype(float32)) if x.dtype == flag else x for x in arrays]
    return f(xp, *cast)


def _check_equal(framework: str, name: str, ours: Any, theirs: Any) -> None:
    ours = ours[0] if isinstance(ours, tuple) else ours
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    scale = max(1e-3, float(np.abs(b).max()))
    if a.shape != b.shape or float(np.abs(a - b).max()) > 1e-3 * scale:
        raise ValueError(f"{name} on {framework} differs from the expression by hand; they cannot be compared")


def _pairs(
    ours: Callable[..., Any], theirs: Callable[..., Any], call: list[Any], finish: Callable[..., Any], repeats: int
) -> list[tuple[float, float]]:
    """Seconds of both functions, by turns; each is first equally often."""

    def seconds(f: Callable[..., Any]) -> float:
        start = time.perf_counter()
        finish(f(*call))
        return time.perf_counter() - start

    pairs = []
    for i in range(repeats + 1):
        if i % 2:
            one = seconds(ours)
            pairs.append((one, seconds(theirs)))
        else:
            two = seconds(theirs)
            pairs.append((seconds(ours), two))
    return pairs[1:]
