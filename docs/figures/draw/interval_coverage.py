"""How often bootstrap intervals of few seeds hold the truth: the table of docs/benchmarks/statistics.md.

Run by hand: ``python docs/figures/draw/interval_coverage.py``; a few minutes on one core.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from diffrl_bench._statistics import _iqm, _tail

EXPERIMENTS, DRAWS = 600, 2000
CASES = ((3, 1), (4, 1), (5, 1), (6, 1), (10, 1), (3, 4))
MIDDLE = stats.expon.ppf(np.linspace(0.25, 0.75, 200_001)).mean()
"""Interquartile mean of the exponential distribution."""
TRUTH = {"normal": 0.0, "exponential": MIDDLE}


def coverage(draw: str, seeds: int, tasks: int, tail: float) -> float:
    """The fraction of experiments whose interval between the tails holds the truth."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(EXPERIMENTS):
        runs = [getattr(rng, draw)(size=seeds) for _ in range(tasks)]
        again = [one[rng.integers(0, seeds, (DRAWS, seeds))] for one in runs]
        low, high = np.quantile(_iqm(np.concatenate(again, axis=1)), [tail, 1 - tail])
        hits += low <= TRUTH[draw] <= high
    return hits / EXPERIMENTS


if __name__ == "__main__":
    print("| seeds | tasks | plain, normal | plain, exponential | expanded, normal | expanded, exponential |")
    print("|---|---|---|---|---|---|")
    for seeds, tasks in CASES:
        tails = (0.025, _tail(seeds, tasks * (seeds - 1)))
        cells = [f"{coverage(draw, seeds, tasks, tail):.0%}" for tail in tails for draw in TRUTH]
        print(f"| {seeds} | {tasks} | {' | '.join(cells).replace('%', ' %')} |", flush=True)
