"""Differences between variants of one algorithm on one task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._record import Row
from ._results import grouped, problem
from ._text import table

_LEVEL = 0.95


def differences(rows: Sequence[Row]) -> list[Row]:
    """Each variant against the first one of the same algorithm and task: what the means of their returns differ by.

    ``low`` and ``high`` bound the 95 % interval of Welch's t, which does not ask that both spread alike. It takes two
    finished seeds of each; a variant with fewer has no row.
    """
    first: dict[tuple[str, str], Row] = {}
    found = []
    for group in grouped(rows).values():
        one = group[0]
        returns = np.array([row["return_mean"] for row in group if row["status"] == "finished"])
        if len(returns) < 2:
            continue
        key = (one["algorithm"], problem(one))
        own = {"variant": one.get("variant") or one["algorithm"], "returns": returns}
        other = first.setdefault(key, own)
        if other is not own:
            low, high = _welch(returns, other["returns"])
            found.append(
                {
                    "algorithm": key[0],
                    "task": key[1],
                    "variant": own["variant"],
                    "against": other["variant"],
                    "seeds": [len(returns), len(other["returns"])],
                    "difference": float(returns.mean() - other["returns"].mean()),
                    "low": low,
                    "high": high,
                }
            )
    return found


def differences_text(found: Sequence[Row], *, markdown: bool) -> str:
    """A table of ``differences``."""
    head = ("", "seeds", "difference of mean returns", "95 % interval")
    cells = [
        (
            f"{row['algorithm']} {row['task']}: {row['variant']} against {row['against']}",
            f"{row['seeds'][0]} and {row['seeds'][1]}",
            f"{row['difference']:+,.1f}",
            f"{row['low']:+,.1f} to {row['high']:+,.1f}",
        )
        for row in found
    ]
    return table(head, cells, markdown=markdown)


def _welch(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The interval of ``mean(a) - mean(b)``, with the degrees of freedom of Welch and Satterthwaite."""
    from scipy.special import stdtrit

    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    difference, variance = float(a.mean() - b.mean()), float(parts.sum())
    if variance == 0:  # nothing spreads
        return difference, difference
    shares = parts / variance  # whose squares cannot underflow
    freedom = 1 / float((shares**2 / [len(a) - 1, len(b) - 1]).sum())
    half = float(stdtrit(freedom, 0.5 + _LEVEL / 2)) * variance**0.5
    return difference - half, difference + half
