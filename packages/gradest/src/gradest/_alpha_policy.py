"""GI-PPO's alpha-policy: every action moved a little up the gradient of its advantage."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_arrays, check_number
from ._stop import stop_gradient
from ._values import refuse_nan


def alpha_policy_target(action: Array, gradient: Array, *, alpha: float) -> Array:
    """Where the alpha-policy puts each action: ``a + alpha dA/da``.

    GI-PPO (Son et al. 2023), Definition 4.1 and Eq. 8. A constant, to be fitted by ``alpha_policy_loss``. For
    ``alpha`` small enough (``largest_alpha``) the map is one to one, and the alpha-policy takes these actions as often
    as the policy took the ones they came from.

    Args:
        action: actions of the policy, in the space where it is a Gaussian (before any tanh), any shape ``[..., m]``.
        gradient: gradient of each action's advantage by that action (``gae_action_gradient``), same shape.
        alpha: step up the gradient, at least 0.

    Returns:
        Targets, same shape.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"action": (action, "..."), "gradient": (gradient, "...")})
    alpha = check_number("alpha", alpha, 0.0)
    refuse_nan(xp, action=action, gradient=gradient)
    return stop_gradient(action + alpha * gradient)


def alpha_policy_loss(action: Array, target: Array) -> Array:
    """How far a policy still is from the alpha-policy: ``mean |g_theta(s, eps) - g_alpha(s, eps)|^2``.

    GI-PPO (Son et al. 2023), Eq. 10: squares summed over the components of an action, averaged over samples. Its
    minimiser is the alpha-policy (Proposition 4.5), and its gradient at the start is ``-2 alpha`` times the
    reparameterised policy gradient of the same advantages (Lemma 4.6).

    Args:
        action: actions of the policy that is fitted, reparameterised with the noise of the roll-out, shape ``[N, m]``
            or ``[T, N, m]``; differentiable.
        target: ``alpha_policy_target``, same shape. A constant.

    Returns:
        A scalar array, to be minimised.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN; the message names it.
    """
    axes = "T N m" if len(getattr(action, "shape", ())) == 3 else "N m"
    xp = check_arrays({"action": (action, axes), "target": (target, axes)})
    apart = action - stop_gradient(target)
    loss = xp.mean(xp.sum(apart * apart, axis=-1))
    refuse_nan(xp, loss, action=action, target=target)
    return loss


def hessian_determinant(hessian: Array, *, alpha: float) -> Array:
    """``det(I + alpha Hessian)``: how much the alpha-policy spreads its actions out (over 1) or draws them together.

    GI-PPO (Son et al. 2023), Eq. 6 and Lemma 4.4. Where it is not positive the map folds over and the alpha-policy
    is none.

    Args:
        hessian: second derivative of each advantage by its action, shape ``[N, m, m]`` or ``[T, N, m, m]``.
        alpha: step up the gradient, at least 0.

    Returns:
        Determinants, shape ``[N]`` or ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = _check_hessian(hessian)
    alpha = check_number("alpha", alpha, 0.0)
    refuse_nan(xp, hessian=hessian)
    return xp.linalg.det(_identity(xp, hessian) + alpha * hessian)


def largest_alpha(hessian: Array) -> Array:
    """The alpha below which every action keeps a place of its own.

    ``1 / max(-lambda)`` over all eigenvalues of all Hessians, infinite where none is negative: then ``1 + alpha
    lambda > 0`` for all of them, which is what Definition 4.1 of GI-PPO (Son et al. 2023) is for. (It states the bound
    with ``|lambda_1|``, ``lambda_1`` the smallest eigenvalue; that is the same where it is negative, and forbids
    alphas that do no harm where it is positive.)

    Args:
        hessian: second derivative of each advantage by its action, symmetric, shape ``[N, m, m]`` or ``[T, N, m, m]``.

    Returns:
        A scalar array; a constant to the gradient.

    Raises:
        ValueError: ``hessian`` has the wrong type or shape, or holds NaN.
    """
    xp = _check_hessian(hessian)
    refuse_nan(xp, hessian=hessian)
    hessian = stop_gradient(hessian)
    # NaN let through comes out as NaN; no library's eigenvalue routine promises that by itself
    known = xp.all(xp.isfinite(hessian))
    steepest = xp.max(-xp.linalg.eigvalsh(xp.where(known, hessian, xp.zeros_like(hessian))))
    bounded = steepest > 0
    limit = 1.0 / xp.where(bounded, steepest, xp.ones_like(steepest))
    limit = xp.where(bounded, limit, xp.full_like(limit, float("inf")))
    return xp.where(known, limit, xp.full_like(limit, float("nan")))


def gaussian_determinant(std: Array, std_old: Array) -> Array:
    """The same determinant when the policy is a Gaussian with deviations that depend on the state.

    ``prod_d std_d / std_old_d``: by Lemma 4.4 of GI-PPO (Son et al. 2023) the determinant is the ratio of those of
    ``da/deps`` after and before, which for ``a = mu + std eps`` is diagonal; neither mean nor noise enter.

    Args:
        std: deviations after the fit to the alpha-policy, positive, shape ``[N, m]`` or ``[T, N, m]``.
        std_old: deviations before, same shape.

    Returns:
        Determinants, shape ``[N]`` or ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN; the message names it.
    """
    axes = "T N m" if len(getattr(std, "shape", ())) == 3 else "N m"
    xp = check_arrays({"std": (std, axes), "std_old": (std_old, axes)})
    refuse_nan(xp, std=std, std_old=std_old)
    # a sum of logarithms, as the product of many deviations may leave the range of numbers
    return xp.exp(xp.sum(xp.log(std) - xp.log(std_old), axis=-1))


def density_determinant(log_prob: Array, log_prob_old: Array) -> Array:
    """The same determinant from densities, for any policy that can be sampled by a change of variables.

    ``pi_old(s, g_old(s, eps)) / pi_new(s, g_new(s, eps))``: both are ``q(eps)`` over the determinant of their own
    ``da/deps`` (GI-PPO, Son et al. 2023, Lemma 3.2 and 4.4). Mind that each policy is asked about its own action.

    Args:
        log_prob: log-density, under the new policy, of the action that the new policy makes of the noise; any shape.
        log_prob_old: log-density, under the old policy, of the action it made of the same noise; same shape.

    Returns:
        Determinants, same shape.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN; the message names it.
    """
    xp = check_arrays({"log_prob": (log_prob, "..."), "log_prob_old": (log_prob_old, "...")})
    refuse_nan(xp, log_prob=log_prob, log_prob_old=log_prob_old)
    return xp.exp(log_prob_old - log_prob)


def alpha_policy_log_prob(log_prob: Array, determinant: Array) -> Array:
    """Log-density of the alpha-policy at the moved action: ``log pi(s, a) - log |det(I + alpha Hessian)|``.

    GI-PPO (Son et al. 2023), Eq. 6.

    Args:
        log_prob: log-density of the policy at the action before it was moved, any shape.
        determinant: ``hessian_determinant`` or an estimate of it, same shape.

    Returns:
        Log-densities, same shape.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN; the message names it.
    """
    xp = check_arrays({"log_prob": (log_prob, "..."), "determinant": (determinant, "...")})
    refuse_nan(xp, log_prob=log_prob, determinant=determinant)
    return log_prob - xp.log(xp.abs(determinant))


def _check_hessian(hessian: Array) -> Any:
    steps = len(getattr(hessian, "shape", ())) == 4
    return check_arrays({"hessian": (hessian, "T N m m" if steps else "N m m")})


def _identity(xp: Any, like: Array) -> Array:
    # made of the array itself, so that it is where the array is
    ones = xp.ones_like(like)
    return xp.astype(xp.cumulative_sum(ones, axis=-1) == xp.cumulative_sum(ones, axis=-2), like.dtype)
