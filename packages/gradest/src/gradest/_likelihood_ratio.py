"""Likelihood-ratio gradients (REINFORCE): the score of what was done, weighted by what it brought."""

from __future__ import annotations

from ._check import Array, check_arrays, check_samples
from ._stop import stop_gradient
from ._values import refuse_nan


def likelihood_ratio_objective(log_prob: Array, advantage: Array) -> Array:
    """A number whose gradient is the likelihood-ratio policy gradient.

    ``mean(log pi(a | s) A)``, with ``A`` a constant. Williams 1992; with a state value as baseline, Sutton et al.
    1999. Its value means nothing; only its gradient does.

    Two readings, by what the samples are: single decisions, with ``A`` an advantage or the reward to go (shapes
    ``[T, N]``), whose gradient is an average over steps; or whole trajectories, with the summed log-probabilities and
    the return of each (shapes ``[N]``).

    Args:
        log_prob: log-density of the actions taken, any shape; differentiable.
        advantage: what each brought, the same shape. No gradient flows through it.

    Returns:
        A scalar array.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN; the message names it.
    """
    xp = check_arrays({"log_prob": (log_prob, "..."), "advantage": (advantage, "...")})
    objective = xp.mean(log_prob * stop_gradient(advantage))
    refuse_nan(xp, objective, log_prob=log_prob, advantage=advantage)
    return objective


def likelihood_ratio_gradients(score: Array, advantage: Array) -> Array:
    """The likelihood-ratio gradient of each sample: what variances and mixtures are computed from.

    ``g_i = A_i grad log pi(a_i | s_i)``; their mean is the gradient of ``likelihood_ratio_objective``.

    Args:
        score: gradient of each sample's log-density by the parameters, shape ``[N, P]`` (see
            ``gradest.torch.per_sample_gradients``).
        advantage: what each sample brought, less a baseline, shape ``[N]`` or, with one baseline for each parameter,
            ``[N, P]``.

    Returns:
        Per-sample gradients, shape ``[N, P]``.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN; the message names it.
    """
    per_parameter = len(getattr(advantage, "shape", ())) == 2
    xp = check_arrays({"score": (score, "N P"), "advantage": (advantage, "N P" if per_parameter else "N")})
    gradients = score * (advantage if per_parameter else advantage[:, None])
    refuse_nan(xp, gradients, score=score, advantage=advantage)
    return gradients


def leave_one_out_baseline(returns: Array) -> Array:
    """For each sample the mean return of all others: a baseline that needs no value function and adds no bias.

    ``b_i = 1/(N-1) sum_{j != i} R_j``. (The mean over all samples would correlate with each and shrink the gradient
    by ``1 - 1/N``.)

    Args:
        returns: returns of independent samples of one start state distribution, shape ``[N]``, or ``[T, N]`` for
            each step by itself.

    Returns:
        Baselines, the shape of ``returns``; subtract them.

    Raises:
        ValueError: ``returns`` has the wrong type or shape, holds NaN or fewer than two samples.
    """
    steps = len(getattr(returns, "shape", ())) == 2
    xp = check_arrays({"returns": (returns, "T N" if steps else "N")})
    check_samples("returns", returns, -1)
    refuse_nan(xp, returns=returns)
    count = returns.shape[-1]
    return (xp.sum(returns, axis=-1, keepdims=True) - returns) / (count - 1)


def optimal_baseline(score: Array, returns: Array, *, per_parameter: bool = False) -> Array:
    """The constant baseline under which the likelihood-ratio gradient varies least.

    ``b = E[|score|^2 R] / E[|score|^2]`` minimises the summed variance of the components; with ``per_parameter`` each
    component has its own, ``b_p = E[score_p^2 R] / E[score_p^2]`` (Greensmith et al. 2004, section 4; Peters &
    Schaal 2008, Eq. 20). Estimated from the samples themselves, so that using it on the same samples biases the
    gradient by O(1/N). Where no score is different from zero it is the mean return.

    Args:
        score: gradient of each sample's log-density by the parameters, shape ``[N, P]``.
        returns: return of each sample, shape ``[N]``.
        per_parameter: one baseline for each parameter.

    Returns:
        A scalar array, or ``[P]``; a constant to the gradient.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN; the message names it.
    """
    xp = check_arrays({"score": (score, "N P"), "returns": (returns, "N")})
    refuse_nan(xp, score=score, returns=returns)
    score, returns = stop_gradient(score), stop_gradient(returns)
    square = score * score if per_parameter else xp.sum(score * score, axis=1, keepdims=True)
    total = xp.sum(square, axis=0)
    flat = total == 0
    weighted = xp.sum(square * returns[:, None], axis=0) / xp.where(flat, xp.ones_like(total), total)
    baseline = xp.where(flat, xp.mean(returns) * xp.ones_like(total), weighted)
    return baseline if per_parameter else baseline[0]
