from __future__ import annotations

from functools import partial

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(29)
T, N, M, P = 6, 5, 7, 3
first, zeroth = ((x, "T N P") for x in rng.normal(size=(2, T, N, P)))
flat_first, flat_zeroth = (first[0][0], "N P"), (zeroth[0][0] + 0.3, "N P")
other = (rng.normal(size=(M, P)), "M P")
v1, v0, c = ((x, "T P") for x in rng.uniform(0.1, 1.0, size=(3, T, P)))
bias, radius = ((x, "T P") for x in (rng.uniform(0.5, 2.0, size=(T, P)), rng.uniform(0.1, 1.0, size=(T, P))))
reward, q_value, q_next = ((x, "T N") for x in rng.normal(size=(3, T, N)))
_terminated, _truncated = rng.random((2, T, N)) < 0.15
terminated, done = (_terminated, "T N"), (_terminated | _truncated, "T N")
alpha = (rng.uniform(0.2, 0.9, size=T), "T")
valid = (rng.random((T, N)) < 0.8, "T N")
ends = {"terminated": terminated, "done": done}
pair = {"first": first, "zeroth": zeroth}


def shares_of(like):
    """Some weights in the framework of ``like``."""
    one = like * 0 + 1
    return gradest.CreditWeights(0.5 * one, 0.3 * one, 0.2 * one, one, one, one > 0)


CASES = {
    "empirical_variance": Case(
        gradest.empirical_variance, floats={"gradients": flat_first}, out=("",), other_ranks=True
    ),
    "empirical_variance:steps, per parameter": Case(
        partial(gradest.empirical_variance, per_parameter=True), floats={"gradients": first}, out=("T P",)
    ),
    "empirical_covariance": Case(gradest.empirical_covariance, floats=pair, out=("T",)),
    "inverse_variance_weight": Case(
        gradest.inverse_variance_weight, floats={"variance_first": v1, "variance_zeroth": v0}, out=("T P",)
    ),
    "inverse_variance_weight:covariance": Case(
        gradest.inverse_variance_weight,
        floats={"variance_first": (v1[0] + 1, "T P"), "variance_zeroth": (v0[0] + 1, "T P"), "covariance": c},
        out=("T P",),
    ),
    "mix_gradients:steps": Case(gradest.mix_gradients, floats={**pair, "alpha": alpha}, out=("T N P",)),
    "mix_gradients:parameters": Case(
        partial(gradest.mix_gradients, per_parameter=True), floats={**pair, "alpha": (v1[0][0], "P")}, out=("T N P",)
    ),
    "mix_gradients:number": Case(partial(gradest.mix_gradients, alpha=0.3), floats=pair, out=("T N P",)),
    "inverse_variance_gradient": Case(
        gradest.inverse_variance_gradient,
        floats={"first": flat_first, "zeroth": other},
        out=("P", "", "", ""),
    ),
    "inverse_variance_gradient:covariance, per parameter": Case(
        partial(gradest.inverse_variance_gradient, covariance=True, per_parameter=True),
        floats=pair,
        out=("T P", "T P", "T P", "T P"),
    ),
    "bernstein_radius": Case(
        partial(gradest.bernstein_radius, samples=10, dimension=3, bound=2.0, delta=0.1),
        floats={"variance": v1},
        out=("T P",),
        other_ranks=True,
    ),
    "alpha_order_weight": Case(
        partial(gradest.alpha_order_weight, tolerance=0.7),
        floats={"variance_first": v1, "variance_zeroth": v0, "bias": bias, "radius": radius},
        out=("T P",),
    ),
    "alpha_order_gradient": Case(
        partial(gradest.alpha_order_gradient, tolerance=4.0, bound=1.0, delta=0.5),
        floats={"first": flat_first, "zeroth": other},
        out=("P", "", "", "", "", ""),
    ),
    "alpha_order_gradient:slack": Case(
        partial(gradest.alpha_order_gradient, slack=0.3, bound=1.0, delta=0.5),
        floats={"first": flat_first, "zeroth": other},
        out=("P", "", "", "", "", ""),
    ),
    # NaN is a finding there, not a mistake, and the ratio is a constant
    "adaptive_ratio": Case(gradest.adaptive_ratio, floats=pair, differentiable=(), nan=(), out=("T",)),
    "adaptive_ratio:tolerance": Case(
        partial(gradest.adaptive_ratio, tolerance=0.5), floats=pair, differentiable=(), nan=(), out=("T",)
    ),
    "adaptive_ratio:vector, valid": Case(
        partial(gradest.adaptive_ratio, variance="vector", nonfinite="mask"),
        floats=pair,
        flags={"valid": valid},
        differentiable=(),
        nan=(),
        out=("T",),
    ),
    "adaptive_ratio:one step": Case(
        gradest.adaptive_ratio,
        floats={"first": flat_first, "zeroth": flat_zeroth},
        differentiable=(),
        nan=(),
        out=("",),
    ),
    "credit_step": Case(
        partial(gradest.credit_step, threshold=0.3),
        floats={"beta": (np.abs(reward[0][0]), "N"), "alpha": (np.array(0.5), "")},
        flags={"done": (done[0][1], "N")},
        differentiable=(),
        out=("N", "N"),
    ),
    **{
        f"credit_weights:{truncation}": Case(
            partial(gradest.credit_weights, gamma=0.9, threshold=0.3, truncation=truncation),
            floats={"alpha": alpha},
            flags=ends,
            differentiable=(),
            out=("T N",) * 6,
        )
        for truncation in ("restart", "every")
    },
    "credit_mean": Case(
        lambda reward, q_value, q_next: gradest.credit_mean(shares_of(reward), reward, q_value, q_next),
        floats={"reward": reward, "q_value": q_value, "q_next": q_next},
        out=("",),
    ),
    **{
        f"credit_objective:{truncation}": Case(
            partial(gradest.credit_objective, gamma=0.9, threshold=0.3, truncation=truncation),
            floats={"reward": reward, "q_value": q_value, "q_next": q_next, "alpha": alpha},
            flags=ends,
            differentiable=("reward", "q_value", "q_next"),
            # what has no weight may be NaN: values that are not bootstrapped from, and steps after a truncation
            nan=("reward", "q_value", "alpha") if truncation == "restart" else ("alpha",),
            out=("",),
        )
        for truncation in ("drop", "bootstrap", "restart")
    },
    "effective_horizon": Case(
        partial(gradest.effective_horizon, threshold=0.3),
        floats={"alpha": alpha},
        flags={"done": done},
        differentiable=(),
        out=("",),
    ),
}
