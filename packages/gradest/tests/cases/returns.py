from __future__ import annotations

from functools import partial

import numpy as np

import gradest

from .case import Case

rng = np.random.default_rng(7)
reward, value, value_next = ((x, "T N") for x in rng.normal(size=(3, 9, 6)))
_terminated, _truncated = rng.random((2, 9, 6)) < 0.15
_terminated[-1], _truncated[-1] = [True, False, False, True, False, False], [False, True, False, True, False, False]
terminated, done = (_terminated, "T N"), (_terminated | _truncated, "T N")

ends = {"terminated": terminated, "done": done}
# NaN is let through where a value is that of a terminated state, so a general place for it does not exist.
tail = {"floats": {"reward": reward, "value_next": value_next}, "flags": ends, "nan": ("reward",)}

factor = (rng.uniform(0.3, 0.95, size=(9, 6)), "T N")
# One for each step, or for each world.
steps, worlds = (rng.uniform(0.3, 0.95, size=(9, 1)), "T 1"), (rng.uniform(0.3, 0.95, size=(1, 6)), "1 N")
log_prob, log_prob_old = ((x, "T N") for x in 0.5 * rng.normal(size=(2, 9, 6)))
other = {"log_prob": log_prob, "log_prob_old": log_prob_old}


def with_factors(function, given, **factors):
    """A case whose factors are arrays."""
    floats = {**given["floats"], **factors}
    return Case(function, **{**given, "floats": floats, "nan": (*given["nan"], *factors)})


CASES = {
    "discounted_returns": Case(
        partial(gradest.discounted_returns, gamma=0.9), floats={"reward": reward}, flags={"done": done}
    ),
    "bootstrapped_returns": Case(partial(gradest.bootstrapped_returns, gamma=0.9), **tail),
    "n_step_returns:3": Case(partial(gradest.n_step_returns, gamma=0.9, n=3), **tail),
    "n_step_returns:all": Case(partial(gradest.n_step_returns, gamma=0.9, n=40), **tail),
    "n_step_transition": Case(
        partial(gradest.n_step_transition, gamma=0.9),
        floats={"reward": (rng.normal(size=(3, 6)), "T N")},
        flags={"terminated": (_terminated[:3], "T N"), "done": (_terminated[:3] | _truncated[:3], "T N")},
        out=("N", "N", "N"),
        nan=(),
    ),
    "soft_reward": Case(partial(gradest.soft_reward, temperature=0.2), floats={"reward": reward, "entropy": value}),
    "td_lambda": Case(partial(gradest.td_lambda, gamma=0.9, lam=0.7), **tail),
    "gae": Case(
        partial(gradest.gae, gamma=0.9, lam=0.7),
        floats={"reward": reward, "value": value, "value_next": value_next},
        flags=ends,
        nan=("reward", "value"),
    ),
    "segment_starts": Case(gradest.segment_starts, flags={"done": done}),
    "segment_discounted": Case(
        partial(gradest.segment_discounted, factor=0.8), floats={"value": value}, flags={"done": done}
    ),
    "segment_objective": Case(partial(gradest.segment_objective, gamma=0.9), **tail, out=("",)),
    "reparameterised_objective": Case(
        partial(gradest.reparameterised_objective, gamma=0.9, lam=0.7), **tail, out=("N",)
    ),
    "vtrace": Case(
        partial(gradest.vtrace, gamma=0.9, lam=0.8, rho_max=1.3, c_max=1.1),
        floats={"reward": reward, "value": value, "value_next": value_next, **other},
        flags=ends,
        out=("T N", "T N"),
        differentiable=("reward", "value", "value_next"),
        nan=("reward", "value", *other),
    ),
    "retrace": Case(
        partial(gradest.retrace, gamma=0.9, lam=0.8),
        floats={"reward": reward, "q_value": value, "value_next": value_next, **other},
        flags=ends,
        differentiable=("reward", "q_value", "value_next"),
        nan=("reward", "q_value", *other),
    ),
    "td_lambda:arrays": with_factors(gradest.td_lambda, tail, gamma=factor, lam=steps),
    "segment_objective:arrays": with_factors(gradest.segment_objective, {**tail, "out": ("",)}, gamma=steps),
    "reparameterised_objective:arrays": with_factors(
        gradest.reparameterised_objective, {**tail, "out": ("N",)}, gamma=factor, lam=worlds
    ),
}
