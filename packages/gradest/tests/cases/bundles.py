from __future__ import annotations

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(5)
keep = rng.random((6, 4)) < 0.7
keep[0], keep[1] = True, False
kept = (keep, "N n")
gradients = (rng.normal(size=(6, 4, 3)), "N n P")
quaternions = (rng.normal(size=(6, 1, 4)) + 0.3 * rng.normal(size=(6, 4, 4)), "N n 4")

CASES = {
    "bundle_mean": Case(gradest.bundle_mean, floats={"branches": gradients}, out=("N P",), other_ranks=True),
    "bundle_mean:kept": Case(
        gradest.bundle_mean,
        floats={"branches": gradients},
        flags={"keep": kept},
        out=("N P",),
        other_ranks=True,
        nan=(),
    ),
    "bundle_mean_quaternion": Case(gradest.bundle_mean_quaternion, floats={"branches": quaternions}, out=("N 4",)),
    "bundle_mean_quaternion:kept": Case(
        gradest.bundle_mean_quaternion, floats={"branches": quaternions}, flags={"keep": kept}, out=("N 4",), nan=()
    ),
}
