"""Draws the learning curves of the first tour: ``python docs/figures/draw_tour.py``.

Runs the cells of ``docs/tour.ipynb`` in turn, which trains for two minutes. Needs diffrl-algos and ``gradest[plot]``.
"""

from __future__ import annotations

from draw_gradients import HERE, run

if __name__ == "__main__":
    for drawn in run(HERE.parent / "tour.ipynb", HERE):
        print(f"{drawn}.svg")
