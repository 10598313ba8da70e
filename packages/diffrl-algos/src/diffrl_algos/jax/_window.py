"""``explore``: one window of the stochastic policy, with all that an update needs of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from diffsim_core import Env, EnvState, Trajectory, rollout

from .._ends import charged, ends_of
from .._outliers import Rule
from ._distributions import Gaussian
from ._gate import gate, link, ruled
from ._networks import GaussianActor
from ._normalize import Normalizer


class Taps(NamedTuple):
    """Zeros that enter a window where gradients are wanted, each ``[T, N, ...]``; their gradients are those."""

    lost: Array
    """``[T, N]``: the gradient counts blocked actions, see ``gate``."""
    push: Array
    """``[T, N, na]``, added to the actions."""

    @classmethod
    def of(cls, eps: Array) -> Taps:
        """For noise ``[T, N, na]``."""
        return cls(jnp.zeros(eps.shape[:2], eps.dtype), jnp.zeros_like(eps))

    def before_tanh(self, action: Array) -> Array:
        """The gradient with respect to the actions before tanh, of gradients; ``action`` is what was tapped.

        The taps are behind the gate and tanh, so both are still to be passed.
        """
        return jnp.where(self.lost[..., None] > 0, 0.0, self.push) * (1.0 - action**2)


class Window(NamedTuple):
    """``T`` steps of the policy in ``N`` worlds."""

    trajectory: Trajectory
    env_state: EnvState
    """After the last step."""
    obs: Array
    """``[N, no]`` after the last step."""
    policy: Gaussian
    """Distributions of the actions before tanh, ``[T, N, na]``."""
    u: Array
    """``[T, N, na]`` actions before tanh."""
    ends: tuple[Array, Array]
    """``(terminated, done)``, both ``[T, N]``, as learning counts them: see ``ends_of``."""
    links: Array
    """``[T, N]`` zeros of the ``link`` before each step; or zeros that do nothing."""

    @property
    def taken(self) -> Array:
        """``[T, N]`` bool: steps of the simulator, whether they ended well or not."""
        steps: Any = self.trajectory
        return steps.valid | steps.diverged

    def targets(self, target: Array, value: Array) -> Array:
        """Value targets ``[T, N]``, given the present ``value`` of the same states (or actions); no gradient passes.

        A step in which the world diverged gets the lowest target of the valid steps, or its present value if that is
        lower. A step that was not taken gets its present value, from which nothing is learned.
        """
        target, value = jax.lax.stop_gradient((target, value))
        steps = self.trajectory
        lowest = jnp.minimum(jnp.where(steps.valid, target, jnp.inf).min(), value)
        return jnp.where(steps.valid, target, jnp.where(steps.diverged, lowest, value))


def explore(
    actor: GaussianActor,
    flat: Array,
    normalizer: Normalizer,
    env: Env,
    env_state: EnvState,
    obs: Array,
    eps: Array,
    *,
    taps: Taps | None = None,
    links: bool = False,
    price: float | None = None,
    rule: Rule | None = None,
) -> Window:
    """Let the stochastic policy act for ``len(eps)`` steps from where the last window ended.

    Args:
        actor: the network.
        flat: its parameters.
        normalizer: of observations.
        env: the worlds.
        env_state: where they are.
        obs: ``[N, no]``, what the policy sees there.
        eps: standard normal noise, ``[T, N, na]``.
        taps: where gradients are wanted in addition to those of ``flat``.
        links: put a ``link`` before each step, whose factor says what passes back to the step before.
        price: of a divergence, see ``charged``.
        rule: changes the gradient that reaches the actions of a step.
    """
    taps = taps or Taps.of(eps)
    carried: list[Array] = []

    def between(t: Array, state: EnvState, seen: Array) -> tuple[EnvState, Array]:
        (physics, task, seen), factor = link((state.physics, state.task, seen))
        carried[:] = [factor]
        return state._replace(physics=physics, task=task), seen

    def act(seen: Array, row: tuple[Array, Array, Array]) -> tuple[Array, Any]:
        e, lost, push = row
        policy = actor(flat, normalizer(seen))
        u = policy.mean + e * jnp.exp(policy.logstd)
        factor = carried[0] if carried else jnp.zeros_like(lost)
        spread = () if actor.logstd(flat) is not None else policy.logstd
        action: Any = gate(jnp.tanh(u), lost)
        action = action if rule is None else ruled(rule, action)
        return action + push, (policy.mean, spread, u, factor)

    inputs = (eps, taps.lost, taps.push)
    options: dict[str, Any] = {"inputs": inputs, "between": between if links else None}
    steps, after, last = rollout(env, act, env_state, obs, len(eps), **options)
    mean, spread, u, factors = steps.aux
    logstd = actor.logstd(flat)
    policy = Gaussian(mean, spread if logstd is None else logstd)
    steps = charged(steps._replace(aux=()), price)
    return Window(steps, after, last, policy, u, ends_of(steps), factors)
