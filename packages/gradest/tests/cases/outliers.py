from __future__ import annotations

from functools import partial

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(37)
T, N, P = 4, 7, 3
gradients = {"gradients": (rng.normal(size=(T, N, P)), "T N P")}
flat = {"gradients": (rng.normal(size=(N, P)), "N P")}
keep = (rng.random((T, N)) < 0.6, "T N")
state = (rng.normal(size=(N, P, 2)), "N P k")

# What is looked for may be in the gradients, so NaN is no mistake there; gates leave values alone altogether.
CASES = {
    "finite_mask": Case(gradest.finite_mask, floats=gradients, differentiable=(), nan=()),
    "quantile_mask": Case(
        partial(gradest.quantile_mask, low=0.1, high=0.7), floats=gradients, differentiable=(), nan=()
    ),
    "quantile_mask:one step": Case(
        gradest.quantile_mask, floats=flat, differentiable=(), nan=(), out=("N",), other_ranks=True
    ),
    "clip_max_norm": Case(partial(gradest.clip_max_norm, max_norm=1.5), floats=gradients, nan=(), out=("T N P",)),
    # a sample that is left out may hold NaN
    "masked_mean": Case(gradest.masked_mean, floats=gradients, flags={"keep": keep}, nan=(), out=("T P",)),
    # the difference of values knows nothing of a gate, so an open one stands here and test_outliers has the rest
    "gate_gradient": Case(
        gradest.gate_gradient,
        floats={"x": state},
        flags={"keep": (np.ones(N, dtype=bool), "N")},
        nan=(),
        out=("N P k",),
        other_ranks=True,
    ),
    "gate_nonfinite": Case(gradest.gate_nonfinite, floats={"x": state}, nan=(), out=("N P k",), other_ranks=True),
    "gate_norm": Case(
        partial(gradest.gate_norm, max_norm=1e3), floats={"x": state}, nan=(), out=("N P k",), other_ranks=True
    ),
}
