from __future__ import annotations

from functools import partial

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(41)
T, N, P = 5, 6, 3
gradients = (rng.normal(size=(T, N, P)) + 0.3, "T N P")
flat = (gradients[0][0], "N P")
other = (rng.normal(size=(T, N, P)), "T N P")
cosine = (rng.uniform(0.6, 1.0, size=(T, N)), "T N")

CASES = {
    "empirical_bias": Case(
        gradest.empirical_bias, floats={"gradients": flat, "reference": (other[0][0, 0], "P")}, out=("", "")
    ),
    "empirical_bias:steps": Case(
        gradest.empirical_bias, floats={"gradients": gradients, "reference": (other[0][:, 0], "T P")}, out=("T", "T")
    ),
    "signal_to_noise": Case(gradest.signal_to_noise, floats={"gradients": flat}, out=("",), other_ranks=True),
    "signal_to_noise:steps, of the mean": Case(
        partial(gradest.signal_to_noise, of_mean=True), floats={"gradients": gradients}, out=("T",)
    ),
    "cosine_similarity": Case(gradest.cosine_similarity, floats={"a": gradients, "b": other}),
    "variance_by_horizon": Case(
        partial(gradest.variance_by_horizon, gamma=0.9), floats={"gradients": gradients}, out=("T",)
    ),
    "horizon_of_trust": Case(
        partial(gradest.horizon_of_trust, threshold=0.7), floats={"cosine": cosine}, differentiable=(), out=("N",)
    ),
    "horizon_of_trust:one world": Case(
        gradest.horizon_of_trust,
        floats={"cosine": (cosine[0][:, 0], "T")},
        differentiable=(),
        out=("",),
        other_ranks=True,
    ),
}
