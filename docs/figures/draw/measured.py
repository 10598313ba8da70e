"""Draws the results of the measured suites: ``python docs/figures/draw/measured.py``.

Reads ``docs/results/SUITE/NAME.json`` and writes ``docs/results/SUITE/SUITE.svg`` for ``gradients`` and ``scaling``,
and for ``simulators`` a picture for each robot.
"""

from __future__ import annotations

import json
from pathlib import Path

from diffrl_bench._plot_gradients import plot_gradients
from diffrl_bench._plot_scaling import plot_scaling
from diffrl_bench._plots import plot_sim

RESULTS = Path(__file__).parents[2] / "results"

DRAWN = {
    "gradients": (
        plot_gradients,
        ("dejong_64", "cartpole", "hopper", "ant", "ant-stiff", "rolling_pin", "pace_car", "newton", "brax"),
    ),
    "scaling": (plot_scaling, ("ant", "humanoid", "pace_car", "rolling_pin")),
}

for suite, (draw, names) in DRAWN.items():
    files = [RESULTS / suite / f"{name}.json" for name in names]
    reports = [{"label": file.stem, **json.loads(file.read_text(encoding="utf-8"))} for file in files if file.exists()]
    if reports:
        draw(reports, RESULTS / suite / f"{suite}.svg")

for name in ("ant", "humanoid"):
    if (file := RESULTS / "simulators" / f"{name}.json").exists():
        plot_sim(json.loads(file.read_text(encoding="utf-8")), file.with_suffix(".svg"))
