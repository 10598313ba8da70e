from __future__ import annotations

from functools import partial

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(31)
options = {"threshold": 2.0, "lr": 0.3, "low": 4.0, "high": 9.0}
floats = {
    "horizon": (np.array(6.5), ""),
    "multipliers": (rng.normal(size=8), "H"),
    "stiffness": (rng.uniform(0.1, 5.0, size=5), "T"),
}

CASES = {
    "adapt_horizon": Case(partial(gradest.adapt_horizon, **options), floats=floats, out=("", "H")),
    "adapt_horizon:the other way": Case(
        partial(gradest.adapt_horizon, **options, stiff="lengthens"), floats=floats, out=("", "H")
    ),
}
