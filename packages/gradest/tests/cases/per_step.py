from __future__ import annotations

from functools import partial

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(31)
T, N, m = 4, 6, 3
first, zeroth = ((x, "T N m") for x in rng.normal(size=(2, T, N, m)))
value = (rng.normal(size=(T, N)), "T N")
valid = (rng.random((T, N)) < 0.8, "T N")
trusted = (np.array([True, False, True, True]), "T")
pair = {"first": first, "zeroth": zeroth}

CASES = {
    # infinity and NaN are findings in the first order
    "per_step_mixture": Case(
        gradest.per_step_mixture,
        floats=pair,
        nan=("zeroth",),
        out=("T N m", "T m", "T m", "T m", "T N"),
    ),
    "per_step_mixture:trace, flags": Case(
        partial(gradest.per_step_mixture, variance="trace", nonfinite="mask", outliers=2.0),
        floats=pair,
        flags={"valid": valid, "trusted": trusted},
        nan=("zeroth",),
        out=("T N m", "T", "T", "T", "T N"),
    ),
    "smoothness_test": Case(
        gradest.smoothness_test,
        floats={"first": first, "value": value},
        flags={"valid": valid},
        nan=(),
        out=("T", "T", "T"),
    ),
    "composite_gradient": Case(
        partial(gradest.composite_gradient, sigma=0.5),
        floats={"first": (first[0][0], "N m"), "zeroth": (zeroth[0][0], "N m"), "value": (0.01 * value[0][0], "N")},
        out=("m", "", "", "", ""),
    ),
}
