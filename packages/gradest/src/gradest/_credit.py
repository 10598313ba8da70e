"""AGPO's credit: weights of simulated rewards and of the Q function, by the trust in each simulated step.

A segment here begins at step 0 of the window, after every step that is done, and where the credit starts again.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ._check import Array, check_arrays, check_choice, check_factor, check_number
from ._masked import counted, wide
from ._scan import linear_scan, scan_steps
from ._segments import ends_of
from ._stop import stop_gradient
from ._values import refuse_nan

Truncation = Literal["drop", "bootstrap", "restart"]
TRUNCATIONS = ("drop", "bootstrap", "restart")
Weighting = Literal["drop", "bootstrap", "restart", "every"]
WEIGHTINGS = (*TRUNCATIONS, "every")


class CreditWeights(NamedTuple):
    """Weights of the numbers of a window in AGPO's objective, all ``[T, N]`` and constant."""

    reward: Array
    """``gamma^i beta_i``."""
    q_value: Array
    """``gamma^i (1 - alpha_i) beta_{i-1}``."""
    q_next: Array
    """``gamma^(i+1) beta_i`` where the segment ends with a bootstrap value, else 0."""
    beta: Array
    """The credit ``beta_i`` itself."""
    link: Array
    """Factor of the gradient that the state after the step passes back to the step: 1, or 0 where a new segment begins;
    ``gamma alpha_i`` with ``truncation="every"``."""
    restart: Array
    """bool: the step begins a segment, and its state must carry no gradient from earlier steps."""


def credit_step(
    beta: Array, alpha: Array | float, done: Array, *, threshold: float = 0.1, truncation: Truncation = "restart"
) -> tuple[Array, Array]:
    """One step of the credit, for use inside a rollout that computes ``alpha`` step by step.

    ``beta_t = alpha_t beta_{t-1}``, with ``beta = 1`` before the first step of a segment (Gao et al. 2024, section 4).

    Where the second result is true, the credit starts at 1 again, and the state after this step must be cut from the
    graph. A reset does so after ``done``; elsewhere use ``gate_gradient(state, ~restart)``.

    Args:
        beta: credit before this step, shape ``[N]``; ones at the first.
        alpha: mixture ratio of this step, a number or a scalar array in [0, 1].
        done: bool, the episode ended or was truncated at this step, shape ``[N]``.
        threshold: credit below which the segment is truncated, in [0, 1].
        truncation: see ``credit_objective``.

    Returns:
        The credit before the next step ``[N]``, and bool ``[N]``: the next step begins a new segment.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"beta": (beta, "N")}, {"done": (done, "N")})
    threshold = check_factor("threshold", threshold)
    check_choice("truncation", truncation, TRUNCATIONS)
    if isinstance(alpha, int | float):
        alpha = check_factor("alpha", alpha) * xp.ones_like(beta[0])
    check_arrays({"beta": (beta, "N"), "alpha": (alpha, "")})
    refuse_nan(xp, beta=beta, alpha=alpha)
    beta = stop_gradient(beta * alpha)
    restart = (done | (beta < threshold)) if truncation == "restart" else done
    return xp.where(restart, xp.ones_like(beta), beta), restart


def credit_weights(
    alpha: Array,
    terminated: Array,
    done: Array,
    *,
    gamma: float,
    threshold: float = 0.1,
    truncation: Weighting = "restart",
) -> CreditWeights:
    """The weights of ``credit_objective``.

    With ``gamma = 1`` the weights of ``q_value`` and ``q_next`` in a segment that is not terminated sum to 1, because
    ``sum_i (1 - alpha_i) beta_{i-1} = 1 - beta_{h-1}``.

    **The gradient.** Let ``F_t = (1 - alpha_t) Q_t + alpha_t (r_t + gamma F_{t+1})`` be the recursion of appendix A.3
    from step ``t`` on, with the bootstrap value in place of ``F_{t+1}`` where the segment ends. If each state passes
    back ``link`` times its gradient, the gradient of ``credit_mean`` with respect to the parameters ``theta`` of a
    policy ``a_t = pi_theta(s_t)`` is::

        1/(T N) sum_t share_t (d pi_theta(s_t)/d theta at fixed s_t)' dF_t/da_t

    where only the shares depend on the truncation:

    - a segment that began at step ``s``: ``gamma^(t-s) alpha_s ... alpha_{t-1}``, which is Eq. 4. With ``alpha = 1``
      these are SHAC's ``gamma^(t-s)``.
    - ``"every"``: 1. Each action is credited with its own ``F_t``, once, as in the policy gradient theorem with
      ``F_t`` for the action value. It is the gradient of the mean of ``F_t(s_t, pi_theta(s_t))`` with all ``s_t``, and
      the policy after step ``t``, held fixed.

    So ``"every"`` is not the gradient of the mean of all ``F_t``, in which an action has a part in earlier segments
    too: there the shares are ``c_t = 1 + gamma alpha_{t-1} c_{t-1}`` (two steps: 1 and ``1 + gamma alpha_0``). Nor is
    it SHAC's with ``alpha = 1``, because ``gamma^t`` is missing.

    Args:
        alpha: mixture ratio of each step in [0, 1], shape ``[T]`` (``adaptive_ratio``).
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1].
        threshold: credit below which a segment is truncated, in [0, 1].
        truncation: see ``credit_objective``; or ``"every"``, for which every step begins a segment of its own and none
            is truncated, so that all actions have the same share. These segments overlap. The gradient of
            ``credit_mean`` with these weights is the one above; its value is not the mean of the ``F_t``.

    Returns:
        See ``CreditWeights``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"alpha": (alpha, "T")}, {"terminated": (terminated, "T N"), "done": (done, "T N")})
    gamma, threshold = check_factor("gamma", gamma), check_factor("threshold", threshold)
    check_choice("truncation", truncation, WEIGHTINGS)
    refuse_nan(xp, alpha=alpha)
    alpha = stop_gradient(alpha)
    ends = ends_of(xp, done | terminated)
    if truncation == "every":
        return _every(xp, alpha, terminated, ends, gamma)

    def step(carry: Any, row: Any) -> Any:
        discount, beta_before, live, begins = carry
        alpha_t, terminated_t, ends_t = row
        one, zero = xp.ones_like(discount), xp.zeros_like(discount)
        weight = xp.where(live, discount, zero)
        beta = alpha_t * beta_before
        cut = beta < threshold
        stops = ends_t & ~cut if truncation == "drop" else ends_t | cut
        bootstrap = xp.where(stops & ~terminated_t, gamma * weight * beta, zero)
        restart = (ends_t | cut) if truncation == "restart" else ends_t
        link = xp.where(restart, zero, one)
        out = (weight * beta, weight * (1 - alpha_t) * beta_before, bootstrap, beta, link, begins)
        live = restart | (live & ~cut)
        carry = (xp.where(restart, one, gamma * discount), xp.where(restart, one, beta), live, restart)
        return carry, out

    one, true = alpha[0] * xp.zeros_like(xp.astype(done[0, :], alpha.dtype)) + 1, xp.ones_like(done[0, :])
    return CreditWeights(*scan_steps(step, (one, one, true, true), (alpha, terminated, ends)))


def _every(xp: Any, alpha: Array, terminated: Array, ends: Array, gamma: float) -> CreditWeights:
    """``credit_weights`` with ``truncation="every"``."""
    true = xp.ones_like(ends)
    one = xp.astype(true, alpha.dtype)
    alpha = alpha[:, None] * one
    link = xp.where(ends, xp.zeros_like(alpha), gamma * alpha)
    bootstrap = xp.where(ends & ~terminated, gamma * alpha, xp.zeros_like(alpha))
    return CreditWeights(alpha, one - alpha, bootstrap, alpha, link, true)


def credit_objective(
    reward: Array,
    q_value: Array,
    q_next: Array,
    alpha: Array | float,
    terminated: Array,
    done: Array,
    *,
    gamma: float,
    threshold: float = 0.1,
    truncation: Truncation = "restart",
) -> Array:
    """AGPO's policy objective: credit-weighted simulated rewards, and the Q function with the remaining weight.

    ``1/h (sum_{i<h} gamma^i [(1 - alpha_i) beta_{i-1} Q_i + beta_i r_i] + gamma^h beta_{h-1} Q_h)`` with
    ``beta_t = prod_{k<=t} alpha_k`` (Gao et al. 2024, Eq. 4), for every segment of the window, averaged over steps and
    worlds. A segment that ended by termination has no ``Q_h``. ``alpha = 1`` gives SHAC's objective,
    ``segment_objective`` with ``q_next`` for its values; ``alpha = 0`` gives the Q function at the first steps.

    The paper truncates a trajectory early once its credit is below the threshold (section 4), which has three readings:

    - ``"bootstrap"``: Eq. 4 with a shorter horizon, whose last term ``gamma^(t+1) beta_t Q_{t+1}`` replaces the rest.
    - ``"drop"``: no later term counts, and this last one does not either.
    - ``"restart"``: as ``"bootstrap"``, and a new segment begins at the next step with credit and discount 1, so that
      every step contributes. Its state must be cut from the graph: see ``credit_step``.

    With a threshold of 0 all three agree.

    Args:
        reward: rewards, differentiable, shape ``[T, N]``.
        q_value: ``Q(s_t, a_t)``, ``[T, N]``.
        q_next: ``Q(final_obs_t, a')`` with ``a'`` from the policy: the value of the observation after each step, before
            any reset, ``[T, N]``.
        alpha: mixture ratio in [0, 1]: ``[T]`` (``adaptive_ratio``), or one number. No gradient flows through it.
        terminated: bool, the task itself ended with this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1].
        threshold: credit below which a segment is truncated, in [0, 1]; 0.1 in the paper, 0.01 for Walker2d.
        truncation: ``"drop"``, ``"bootstrap"`` or ``"restart"``.

    Returns:
        A scalar array.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN that would enter; the message
            names it.
    """
    floats = {"reward": (reward, "T N"), "q_value": (q_value, "T N"), "q_next": (q_next, "T N")}
    xp = check_arrays(floats, {"terminated": (terminated, "T N"), "done": (done, "T N")})
    if isinstance(alpha, int | float):
        alpha = check_number("alpha", alpha, 0.0, 1.0) * xp.ones_like(reward[:, 0])
    check_arrays({"reward": (reward, "T N"), "alpha": (alpha, "T")})
    check_choice("truncation", truncation, TRUNCATIONS)
    weights = credit_weights(alpha, terminated, done, gamma=gamma, threshold=threshold, truncation=truncation)
    return credit_mean(weights, reward, q_value, q_next)


def credit_mean(weights: CreditWeights, reward: Array, q_value: Array, q_next: Array) -> Array:
    """``credit_objective`` with given weights.

    Args:
        weights: from ``credit_weights``.
        reward: rewards, differentiable, shape ``[T, N]``.
        q_value: ``Q(s_t, a_t)``, ``[T, N]``.
        q_next: ``Q(final_obs_t, a')``, ``[T, N]``.

    Returns:
        A scalar array.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN that would enter; the message names it.
    """
    floats = {"reward": (reward, "T N"), "q_value": (q_value, "T N"), "q_next": (q_next, "T N")}
    xp, w = check_arrays({**floats, "weights": (weights.beta, "T N")}), weights
    reward, q_value, q_next = (
        counted(xp, w.reward, reward),
        counted(xp, w.q_value, q_value),
        counted(xp, w.q_next, q_next),
    )
    refuse_nan(xp, reward=reward, q_value=q_value, q_next=q_next)
    return xp.mean(w.reward * reward + w.q_value * q_value + w.q_next * q_next)


def effective_horizon(alpha: Array, done: Array, *, threshold: float = 0.1, truncation: Weighting = "restart") -> Array:
    """Mean number of simulated rewards that count in a segment, a metric of AGPO's training.

    ``sum(beta) / (number of segments)``: the length of the window if every ``alpha`` is 1 and no episode ends, 0 if
    every ``alpha`` is 0.

    Args:
        alpha: mixture ratio of each step in [0, 1], shape ``[T]``.
        done: bool, the episode ended or was truncated at this step, shape ``[T, N]``.
        threshold: credit below which a segment is truncated, in [0, 1].
        truncation: see ``credit_weights``.

    Returns:
        A scalar array.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"alpha": (alpha, "T")}, {"done": (done, "T N")})
    w = credit_weights(alpha, xp.zeros_like(done), done, gamma=1.0, threshold=threshold, truncation=truncation)
    if truncation == "every":
        return xp.mean(linear_scan(w.link, w.reward, xp.zeros_like(w.link[0, :]), reverse=True))
    segments = xp.sum(xp.astype(w.restart, xp.int32))
    return xp.astype(xp.sum(wide(xp, w.reward)) / segments, alpha.dtype)
