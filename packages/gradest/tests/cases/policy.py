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

mean, mean_old, noise = ((x, "T N m") for x in rng.normal(size=(3, T, N, M)))
logstd, logstd_old = ((x, "T N m") for x in rng.normal(size=(2, T, N, M)) / 2)
weight = (rng.choice([0.0, 0.5, 1.3], size=(T, N), p=[0.2, 0.4, 0.4]), "T N")
weight[0][T // 2, N // 2] = 1.3  # where the test puts its NaN

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
    "gated_ratio": Case(
        gradest.gated_ratio, floats={"log_prob": near, "log_prob_old": log_prob_old}, differentiable=()
    ),
    "reused_objective": Case(
        gradest.reused_objective,
        floats={"mean": mean, "logstd": logstd, "noise": noise, "gradient": gradient, "weight": weight},
        differentiable=("mean", "logstd"),
        out=("",),
    ),
    "recovered_noise": Case(
        gradest.recovered_noise,
        floats={"action": noise, "mean": mean, "logstd": logstd},
        differentiable=(),
        out=("T N m",),
    ),
    "gaussian_kl": Case(
        gradest.gaussian_kl,
        floats={"mean_old": mean_old, "logstd_old": logstd_old, "mean": mean, "logstd": logstd},
    ),
    "gaussian_entropy": Case(gradest.gaussian_entropy, floats={"logstd": logstd}, other_ranks=True),
}
