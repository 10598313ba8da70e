"""AGPO's credit: how far into a window the simulator's gradient is followed, and the Q function where it is not."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ._check import Array, check_arrays, check_choice, check_factor, check_number
from ._scan import linear_scan, scan_steps
from ._segments import ends_of
from ._stop import stop_gradient
from ._values import refuse_nan

Truncation = Literal["drop", "bootstrap", "restart"]
TRUNCATIONS = ("drop", "bootstrap", "restart")
Pieces = Literal["drop", "bootstrap", "restart", "every"]
PIECES = (*TRUNCATIONS, "every")


class CreditWeights(NamedTuple):
    """What each number of a window counts in AGPO's objective, all ``[T, N]`` and constants to the gradient."""

    reward: Array
    """``gamma^i beta_i``."""
    q_value: Array
    """``gamma^i (1 - alpha_i) beta_{i-1}``."""
    q_next: Array
    """``gamma^(i+1) beta_i`` where the value of what follows is taken, else 0."""
    beta: Array
    """The credit ``beta_i`` itself."""
    link: Array
    """What of its gradient the state after the step passes back to the step: 1, or 0 where a new piece begins;
    ``gamma alpha_i`` if every step begins one."""
    restart: Array
    """bool: the step begins a piece of its own, whose state must carry no gradient from before."""


def credit_step(
    beta: Array, alpha: Array | float, done: Array, *, threshold: float = 0.1, truncation: Truncation = "restart"
) -> tuple[Array, Array]:
    """One step of the credit, for use inside a roll-out, where ``alpha`` is only known as it goes.

    ``beta_t = alpha_t beta_{t-1}``, with ``beta = 1`` before the first step of a piece (Gao et al. 2024, section 4).

    Where the second result is true, the state after this step must be cut from the graph (by a reset it is already,
    after ``done``; else with ``gate_gradient(state, ~restart)``), and the credit starts at 1 again.

    Args:
        beta: credit before this step, shape ``[N]``; ones at the first.
        alpha: mixture ratio of this step, a number or a scalar array in [0, 1].
        done: bool, the episode ended or was stopped at this step, shape ``[N]``.
        threshold: credit below which the piece is truncated, in [0, 1].
        truncation: see ``credit_objective``.

    Returns:
        The credit before the next step ``[N]``, and bool ``[N]``: the next step begins a new piece.

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
    truncation: Pieces = "restart",
) -> CreditWeights:
    """The weights of ``credit_objective``.

    In a piece that goes to its end they share out a whole: with ``gamma = 1`` the weights of ``q_value`` and
    ``q_next`` sum to 1, as ``sum_i (1 - alpha_i) beta_{i-1} = 1 - beta_{h-1}`` telescopes.

    Args:
        alpha: mixture ratio of each step in [0, 1], shape ``[T]`` (``adaptive_ratio``).
        terminated: bool, nothing follows this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1].
        threshold: credit below which a piece is truncated, in [0, 1].
        truncation: see ``credit_objective``; or ``"every"``: a piece begins at every step and none is truncated, so
            that the piece of step ``i`` is ``F_i = (1 - alpha_i) Q_i + alpha_i (r_i + gamma F_{i+1})`` (appendix A.3)
            and all have the same say. The pieces overlap: ``credit_mean`` of these weights has the gradient of their
            mean if what a state passes back to the step before is multiplied by ``link``; its value is another.

    Returns:
        See ``CreditWeights``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"alpha": (alpha, "T")}, {"terminated": (terminated, "T N"), "done": (done, "T N")})
    gamma, threshold = check_factor("gamma", gamma), check_factor("threshold", threshold)
    check_choice("truncation", truncation, PIECES)
    refuse_nan(xp, alpha=alpha)
    alpha = stop_gradient(alpha)
    ends = ends_of(xp, done | terminated)
    if truncation == "every":
        return _every(xp, alpha, terminated, ends, gamma)

    def step(carry: Any, row: Any) -> Any:
        discount, before, live, fresh = carry
        alpha_t, terminated_t, ends_t = row
        one, zero = xp.ones_like(discount), xp.zeros_like(discount)
        weight = xp.where(live, discount, zero)
        beta = alpha_t * before
        cut = beta < threshold
        stops = ends_t & ~cut if truncation == "drop" else ends_t | cut
        follows = xp.where(stops & ~terminated_t, gamma * weight * beta, zero)
        again = (ends_t | cut) if truncation == "restart" else ends_t
        out = (weight * beta, weight * (1 - alpha_t) * before, follows, beta, xp.where(again, zero, one), fresh)
        carry = (xp.where(again, one, gamma * discount), xp.where(again, one, beta), again | (live & ~cut), again)
        return carry, out

    one, yes = alpha[0] * xp.zeros_like(xp.astype(done[0, :], alpha.dtype)) + 1, xp.ones_like(done[0, :])
    return CreditWeights(*scan_steps(step, (one, one, yes, yes), (alpha, terminated, ends)))


def _every(xp: Any, alpha: Array, terminated: Array, ends: Array, gamma: float) -> CreditWeights:
    """``credit_weights`` where every step begins a piece."""
    yes = xp.ones_like(ends)
    one = xp.astype(yes, alpha.dtype)
    alpha = alpha[:, None] * one
    on = xp.where(ends, xp.zeros_like(alpha), gamma * alpha)
    follows = xp.where(ends & ~terminated, gamma * alpha, xp.zeros_like(alpha))
    return CreditWeights(alpha, one - alpha, follows, alpha, on, yes)


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
    """What AGPO's policy maximises: simulated rewards as far as the credit reaches, the Q function for the rest.

    ``1/h (sum_{i<h} gamma^i [(1 - alpha_i) beta_{i-1} Q_i + beta_i r_i] + gamma^h beta_{h-1} Q_h)`` with
    ``beta_t = prod_{k<=t} alpha_k`` (Gao et al. 2024, Eq. 4), for every piece of an episode in the window, averaged
    over steps and worlds. ``Q_h`` is left out where the piece ended by termination. ``alpha = 1`` gives SHAC's
    objective, ``segment_objective`` with ``q_next`` for its values; ``alpha = 0`` the Q function at the starts.

    "If the credit falls below the threshold, the trajectory undergoes early truncation" can be read in three ways:

    - ``"drop"``, to the letter: no term after that step counts.
    - ``"bootstrap"``: what would have followed is given to the Q function, ``gamma^(t+1) beta_t Q_{t+1}``.
    - ``"restart"``: the same, and a new piece begins at the next step with credit and discount 1, so that all steps
      teach the policy. Its state must be cut from the graph: see ``credit_step``.

    With a threshold of 0 all three are the same.

    Args:
        reward: rewards, differentiable, shape ``[T, N]``.
        q_value: ``Q(s_t, a_t)``, ``[T, N]``.
        q_next: ``Q(final_obs_t, a')`` with ``a'`` of the policy: the value of what each step led to before any reset,
            ``[T, N]``.
        alpha: mixture ratio in [0, 1]: ``[T]`` (``adaptive_ratio``), or one number. No gradient flows through it.
        terminated: bool, nothing follows this step, ``[T, N]``. A terminated step counts as done.
        done: bool, ``terminated | truncated``, ``[T, N]``.
        gamma: discount per step, in [0, 1].
        threshold: credit below which a piece is truncated, in [0, 1]; 0.1 in the paper, 0.01 for Walker2d.
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
    """``credit_objective`` for weights that are there already.

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
    tail = xp.where(w.q_next > 0, q_next, xp.zeros_like(q_next))
    refuse_nan(xp, reward=reward, q_value=q_value, q_next=tail)
    return xp.mean(w.reward * reward + w.q_value * q_value + w.q_next * tail)


def effective_horizon(alpha: Array, done: Array, *, threshold: float = 0.1, truncation: Pieces = "restart") -> Array:
    """How many simulated rewards a piece of an episode counts, on average: what to watch while AGPO runs.

    ``sum(beta) / (number of pieces)``: the window's length if every ``alpha`` is 1 and nothing ends, 0 if it is 0.

    Args:
        alpha: mixture ratio of each step in [0, 1], shape ``[T]``.
        done: bool, the episode ended or was stopped at this step, shape ``[T, N]``.
        threshold: credit below which a piece is truncated, in [0, 1].
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
    return xp.sum(w.reward) / xp.sum(xp.astype(w.restart, alpha.dtype))
