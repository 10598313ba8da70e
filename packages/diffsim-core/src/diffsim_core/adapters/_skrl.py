"""skrl's wrapper for torch agents."""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Box
from skrl.envs.wrappers.torch import Wrapper

from diffsim_core._protocol import Array, Env
from diffsim_core.adapters._driver import Driver, require_torch
from diffsim_core.adapters._spaces import spaces_of


class SkrlEnv(Wrapper):
    """Worlds for the torch agents of skrl, on torch tensors without copies to the host.

    Rewards and flags are columns ``[N, 1]``. The info has ``final_obs`` ``[N, no]``, the observation after the step
    before any reset, and the task's metrics. Two things make skrl's PPO right at time limits. Set its option
    ``time_limit_bootstrap=True``: without it, advantages run on through a truncation into the next
    episode. And override its ``record_transition`` to give it ``final_obs``: the option takes the value of the next
    observation, which is the first one of the next episode here.

    Args:
        env: an environment of torch tensors with vector observations.
        seed: seed of the worlds; each reset takes the next number.
        spread: let the first episodes end early, at random times. If all worlds are in phase, a library that learns
            from short windows sees only one part of the episode at a time.
        divergence_price: what a step costs in which a world leaves the finite range, where its episode is terminated;
            by default the worst reward so far for every step that was left of the episode, and for at least 100.

    Raises:
        TypeError: the environment does not give torch tensors.
    """

    def __init__(self, env: Env, seed: int = 0, *, spread: bool = False, divergence_price: float | None = None) -> None:
        driver = Driver(env, seed)
        require_torch(driver, "skrl")
        super().__init__(env)
        self._driver = Driver(env, seed, spread, divergence_price=divergence_price)
        self._spaces = spaces_of(env.spec)
        self._device = driver.obs.device

    def reset(self) -> tuple[Array, dict[str, Any]]:
        """Begin new episodes in all worlds; returns the observation ``[N, no]``."""
        return self._driver.reset(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One step with ``[N, na]``, clipped to [-1, 1]."""
        result = self._driver.step(actions.to(self._driver.obs))
        info = {"final_obs": result.final_obs, "diverged": result.diverged, **result.metrics}
        columns = (part[:, None] for part in (result.reward, result.terminated, result.truncated))
        reward, terminated, truncated = columns
        return result.obs, reward, terminated, truncated, info

    def state(self) -> None:
        """None: the observation is the only state."""

    def render(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; ``diffsim_core.viewer`` draws worlds."""

    def close(self) -> None:
        """Do nothing: the environment holds no resources."""

    @property
    def observation_space(self) -> Box:
        return self._spaces[0]

    @property
    def action_space(self) -> Box:
        return self._spaces[1]
