"""GI-PPO's alpha-policy, which moves every action a step up the gradient of its advantage."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_arrays, check_number
from ._masked import places
from ._stop import stop_gradient
from ._values import refuse_nan


def alpha_policy_target(action: Array, gradient: Array, *, alpha: float) -> Array:
    """The alpha-policy's actions: ``a + alpha dA/da``.

    GI-PPO (Son et al. 2023), Definition 4.1 and Eq. 8. The result is a constant, the target of ``alpha_policy_loss``.
    If ``alpha`` is small enough (``largest_alpha``), the map is one to one: the alpha-policy takes these actions with
    the probability with which the policy takes the original ones.

    Args:
        action: actions of the policy before any tanh, where it is a Gaussian, any shape ``[..., m]``.
        gradient: gradient of each action's advantage with respect to that action (``gae_action_gradient``), same shape.
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
    """Squared error of a policy's actions to the alpha-policy's: ``mean |g_theta(s, eps) - g_alpha(s, eps)|^2``.

    GI-PPO (Son et al. 2023), Eq. 10: summed over the components of an action, averaged over samples. Its minimiser is
    the alpha-policy (Proposition 4.5). Its gradient at the old policy is ``-2 alpha`` times the reparameterised policy
    gradient of the same advantages (Lemma 4.6).

    Args:
        action: actions of the fitted policy, reparameterised with the noise of the rollout, shape ``[N, m]``
            or ``[T, N, m]``; differentiable.
        target: ``alpha_policy_target``, same shape. A constant.

    Returns:
        A scalar array, to be minimised.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN; the message names it.
    """
    axes = "T N m" if len(getattr(action, "shape", ())) == 3 else "N m"
    xp = check_arrays({"action": (action, axes), "target": (target, axes)})
    error = action - stop_gradient(target)
    loss = xp.mean(xp.sum(error * error, axis=-1))
    refuse_nan(xp, loss, action=action, target=target)
    return loss


def hessian_determinant(hessian: Array, *, alpha: float) -> Array:
    """``det(I + alpha Hessian)``: above 1 the alpha-policy spreads actions out, below 1 it contracts them.

    GI-PPO (Son et al. 2023), Eq. 6 and Lemma 4.4. Where it is not positive, the map is not one to one and the
    alpha-policy is not defined.

    Args:
        hessian: second derivative of each advantage with respect to its action, shape ``[N, m, m]`` or
            ``[T, N, m, m]``.
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
    """Upper bound of the alphas for which the alpha-policy is one to one.

    ``1 / max(-lambda)`` over all eigenvalues of all Hessians, infinite if none is negative. Below it
    ``1 + alpha lambda > 0`` for all of them, the purpose of Definition 4.1 of GI-PPO (Son et al. 2023). (The paper
    states the bound with ``|lambda_1|``, where ``lambda_1`` is the smallest eigenvalue. Both agree if it is negative;
    if it is positive, the paper's bound excludes harmless alphas.)

    Args:
        hessian: second derivative of each advantage with respect to its action, symmetric, shape ``[N, m, m]`` or
            ``[T, N, m, m]``.

    Returns:
        A scalar array; a constant to the gradient.

    Raises:
        ValueError: ``hessian`` has the wrong type or shape, or holds NaN.
    """
    xp = _check_hessian(hessian)
    refuse_nan(xp, hessian=hessian)
    hessian = stop_gradient(hessian)
    # NaN inside allow_nan must give NaN, which no library's eigenvalue routine promises
    known = xp.all(xp.isfinite(hessian))
    steepest = xp.max(-xp.linalg.eigvalsh(xp.where(known, hessian, xp.zeros_like(hessian))))
    bounded = steepest > 0
    limit = 1.0 / xp.where(bounded, steepest, xp.ones_like(steepest))
    limit = xp.where(bounded, limit, xp.full_like(limit, float("inf")))
    return xp.where(known, limit, xp.full_like(limit, float("nan")))


def gaussian_determinant(std: Array, std_old: Array) -> Array:
    """``hessian_determinant`` of a Gaussian policy whose standard deviations depend on the state.

    ``prod_d std_d / std_old_d``: by Lemma 4.4 of GI-PPO (Son et al. 2023) it is the ratio of the determinants of
    ``da/deps`` after and before the fit. For ``a = mu + std eps`` these are diagonal and depend on ``std`` only.

    Args:
        std: standard deviations after the fit to the alpha-policy, positive, shape ``[N, m]`` or ``[T, N, m]``.
        std_old: standard deviations before the fit, same shape.

    Returns:
        Determinants, shape ``[N]`` or ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN; the message names it.
    """
    axes = "T N m" if len(getattr(std, "shape", ())) == 3 else "N m"
    xp = check_arrays({"std": (std, axes), "std_old": (std_old, axes)})
    refuse_nan(xp, std=std, std_old=std_old)
    # a sum of logarithms, because a product of many factors may overflow or underflow
    return xp.exp(xp.sum(xp.log(std) - xp.log(std_old), axis=-1))


def density_determinant(log_prob: Array, log_prob_old: Array) -> Array:
    """``hessian_determinant`` from densities, for any policy that is reparameterised.

    ``pi_old(s, g_old(s, eps)) / pi_new(s, g_new(s, eps))``: each density is ``q(eps)`` over the determinant of its own
    ``da/deps`` (GI-PPO, Son et al. 2023, Lemma 3.2 and 4.4). Each policy gives the density of its own action.

    Args:
        log_prob: log-density under the new policy of the action that it makes of the noise, any shape.
        log_prob_old: log-density under the old policy of the action that it made of the same noise, same shape.

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
        log_prob: log-density of the policy at the original action, any shape.
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
    # made of the array itself, so that it is on the same device
    return xp.astype(places(xp, like) == places(xp, like, axis=-2), like.dtype)
