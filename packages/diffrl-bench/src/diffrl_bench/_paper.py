"""The best returns of runs, compared with a paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ._record import Row
from ._text import table


def best_table(rows: Sequence[Row], paper: Mapping[tuple[str, str], float], *, markdown: bool) -> str:
    """One line for each algorithm and task of ``paper``: the mean over seeds of each run's best ``return_mean``.

    The best is over updates, of the mean return of the last 100 training episodes, so of the stochastic policy.
    """
    cells = []
    for (algorithm, task), value in paper.items():
        group = [row for row in rows if (row["algorithm"], row["task"]) == (algorithm, task)]
        best = [row["return_best"] for row in group if row.get("return_best") is not None]
        mean = float(np.mean(best)) if best else None
        span = f"{_short(min(best))} to {_short(max(best))}" if best else "-"
        cells.append((f"{algorithm} {task}", str(len(best)), _short(mean), span, _short(value), _ratio(mean, value)))
    head = ("", "seeds", "best, mean", "worst to best seed", "paper", "loss over the paper's")
    return table(head, cells, markdown=markdown)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _ratio(mean: float | None, paper: float) -> str:
    """Our loss divided by the paper's, if both are losses."""
    return f"{mean / paper:.2g}" if mean is not None and mean <= 0.0 and paper < 0.0 else "-"
