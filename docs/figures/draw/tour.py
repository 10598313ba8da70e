"""Draws the learning curves of the first tour: ``python docs/figures/draw/tour.py``.

Runs the cells of ``docs/start/tour.ipynb`` in turn, which trains for two minutes. Needs diffrl-algos and
``gradest[plot]``.
"""

from __future__ import annotations

from gradients import FIGURES, run

if __name__ == "__main__":
    for drawn in run(FIGURES.parent / "start" / "tour.ipynb", FIGURES):
        print(f"{drawn}.svg")
