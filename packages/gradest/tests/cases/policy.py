from __future__ import annotations

from functools import partial

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(19)
T, N, M, P = 7, 5, 3, 4
gradient = (rng.normal(size=(T, N, M)), "T N m")
done = (rng.random((T, N)) < 0.2, "T N")
log_prob, log_prob_old, advantage = ((x, "T N") for x in rng.normal(size=(3, T, N)))
# both sides of the clip range, none of them on its edge
ratios = np.array([0.1, 0.7, 0.9, 1.05, 1.3, 5.0])
near = (log_prob_old[0] + np.log(rng.choice(ratios, size=(T, N))), "T N")
score, returns = (rng.normal(size=(N, P)), "N P"), (rng.normal(size=N), "N")

CASES = {
    "gae_objective": Case(gradest.gae_objective, floats={"advantage": advantage}, flags={"done": done}, out=("",)),
    "gae_action_gradient": Case(
        partial(gradest.gae_action_gradient, gamma=0.9, lam=0.8),
        floats={"gradient": gradient},
        flags={"done": done},
        out=("T N m",),
    ),
    "likelihood_ratio_objective": Case(
        gradest.likelihood_ratio_objective,
        floats={"log_prob": log_prob, "advantage": advantage},
        differentiable=("log_prob",),
        out=("",),
    ),
    "likelihood_ratio_gradients": Case(
        gradest.likelihood_ratio_gradients, floats={"score": score, "advantage": returns}, out=("N P",)
    ),
    "likelihood_ratio_gradients:per parameter": Case(
        gradest.likelihood_ratio_gradients, floats={"score": score, "advantage": (score[0] ** 2, "N P")}, out=("N P",)
    ),
    "leave_one_out_baseline": Case(gradest.leave_one_out_baseline, floats={"returns": returns}, out=("N",)),
    "leave_one_out_baseline:steps": Case(gradest.leave_one_out_baseline, floats={"returns": log_prob}),
    "optimal_baseline": Case(
        gradest.optimal_baseline, floats={"score": score, "returns": returns}, differentiable=(), out=("",)
    ),
    "optimal_baseline:per parameter": Case(
        partial(gradest.optimal_baseline, per_parameter=True),
        floats={"score": score, "returns": returns},
        differentiable=(),
        out=("P",),
    ),
    "clipped_surrogate": Case(
        partial(gradest.clipped_surrogate, clip=0.2),
        floats={"log_prob": near, "log_prob_old": log_prob_old, "advantage": advantage},
        differentiable=("log_prob",),
        out=("",),
    ),
    "virtual_log_prob": Case(
        gradest.virtual_log_prob, floats={"log_prob_old": log_prob_old, "log_prob_alpha": log_prob}
    ),
}
