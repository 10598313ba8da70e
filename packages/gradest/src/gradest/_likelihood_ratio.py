"""Likelihood-ratio gradients (REINFORCE): the score of each action, weighted by its return."""

from __future__ import annotations

from ._check import Array, check_arrays, check_samples
from ._stop import stop_gradient
from ._values import refuse_nan


def likelihood_ratio_objective(log_prob: Array, advantage: Array) -> Array:
    """A scalar whose gradient is the likelihood-ratio policy gradient.

    ``mean(log pi(a | s) A)``, with ``A`` a constant. Williams 1992; with a state value as baseline, Sutton et al. 1999.
    Only its gradient has a meaning, its value has none.

    A sample is a single decision, with ``A`` an advantage or the reward to go (shapes ``[T, N]``), so that the gradient
    is an average over steps. Or it is a whole trajectory, with its summed log-probability and its return (shapes
    ``[N]``).

    Args:
        log_prob: log-density of the actions, any shape; differentiable.
        advantage: advantage or return of each, same shape. No gradient flows through it.

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
    """The likelihood-ratio gradient of each sample, for variances and mixtures.

    ``g_i = A_i grad log pi(a_i | s_i)``. Their mean is the gradient of ``likelihood_ratio_objective``.

    Args:
        score: gradient of each sample's log-density with respect to the parameters, shape ``[N, P]`` (see
            ``gradest.torch.per_sample_gradients``).
        advantage: return of each sample minus a baseline, shape ``[N]``; or ``[N, P]`` with a baseline for each
            parameter.

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
    """The mean return of all other samples, for each sample: an unbiased baseline without a value function.

    ``b_i = 1/(N-1) sum_{j != i} R_j``. (The mean over all samples correlates with each of them and shrinks the
    gradient by ``1 - 1/N``.)

    Args:
        returns: returns of independent samples from one distribution of start states, shape ``[N]``, or ``[T, N]`` for
            separate steps.

    Returns:
        Baselines to subtract, the shape of ``returns``.

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
    """The constant baseline that minimises the variance of the likelihood-ratio gradient.

    ``b = E[|score|^2 R] / E[|score|^2]`` minimises the summed variance of the components. With ``per_parameter`` each
    component has its own, ``b_p = E[score_p^2 R] / E[score_p^2]`` (Greensmith et al. 2004, section 4; Peters & Schaal
    2008, Eq. 20). It is estimated from the given samples; its use on the same samples biases the gradient by O(1/N). If
    all scores are zero it is the mean return.

    Args:
        score: gradient of each sample's log-density with respect to the parameters, shape ``[N, P]``.
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
