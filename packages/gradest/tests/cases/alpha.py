from __future__ import annotations

from functools import partial

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(31)
T, N, M = 6, 5, 3
action, gradient, target = ((x, "T N m") for x in rng.normal(size=(3, T, N, M)))
std, std_old = ((x, "T N m") for x in rng.uniform(0.3, 1.5, size=(2, T, N, M)))
log_prob, log_prob_old, advantage = ((x, "T N") for x in rng.normal(size=(3, T, N)))
_hessian = 0.3 * rng.normal(size=(T, N, M, M))
# its symmetric part: the same number on both sides, so that a difference along any direction stays symmetric enough
hessian = (_hessian, "T N m m")
ratio = (log_prob_old[0] + np.log(rng.choice([0.5, 0.9, 1.1, 3.0], size=(T, N))), "T N")

CASES = {
    "alpha_policy_target": Case(
        partial(gradest.alpha_policy_target, alpha=0.3),
        floats={"action": action, "gradient": gradient},
        differentiable=(),
        out=("T N m",),
    ),
    "alpha_policy_loss": Case(
        gradest.alpha_policy_loss,
        floats={"action": action, "target": target},
        differentiable=("action",),
        out=("",),
    ),
    "hessian_determinant": Case(partial(gradest.hessian_determinant, alpha=0.3), floats={"hessian": hessian}),
    "largest_alpha": Case(
        gradest.largest_alpha,
        floats={"hessian": (_hessian + np.swapaxes(_hessian, -1, -2), "T N m m")},
        differentiable=(),
        out=("",),
    ),
    "gaussian_determinant": Case(gradest.gaussian_determinant, floats={"std": std, "std_old": std_old}),
    "density_determinant": Case(
        gradest.density_determinant, floats={"log_prob": log_prob, "log_prob_old": log_prob_old}
    ),
    "alpha_policy_log_prob": Case(
        gradest.alpha_policy_log_prob, floats={"log_prob": log_prob, "determinant": (std[0][..., 0], "T N")}
    ),
    "out_of_range_ratio": Case(
        partial(gradest.out_of_range_ratio, clip=0.2),
        floats={"log_prob": ratio, "log_prob_old": log_prob_old},
        differentiable=(),
        out=("",),
    ),
    "additional_return": Case(
        gradest.additional_return,
        floats={"log_prob": log_prob, "log_prob_old": log_prob_old, "advantage": advantage},
        out=("",),
    ),
    "additional_return:to the letter, cut": Case(
        partial(gradest.additional_return, centred=False, max_log_ratio=0.5),
        floats={"log_prob": log_prob, "log_prob_old": log_prob_old, "advantage": advantage},
        out=("",),
    ),
}
