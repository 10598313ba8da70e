"""skrl's wrapper for torch agents."""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Box
from skrl.envs.wrappers.torch import Wrapper

from diffsim_core._protocol import Array, Env
from diffsim_core.adapters._driver import Driver, require_torch
from diffsim_core.adapters._spaces import spaces_of


class SkrlEnv(Wrapper):
    """Worlds for the torch agents of skrl: tensors all the way, no copies to the host.

    Rewards and ends are columns ``[N, 1]``. The info has ``final_obs`` ``[N, no]``, what the step led to before any
    reset, and the task's metrics. Beware of ``time_limit_bootstrap`` of skrl's PPO: it takes the value of the next
    observation, here the next episode's first; override ``record_transition`` of the agent to hand it ``final_obs``.

    Args:
        env: an environment of torch tensors with vector observations.
        seed: of the worlds; each reset takes the next number.
        spread: let the first episodes end early, each at a time of its own: worlds that go in step show a library that
            learns from short windows one part of the episode at a time.

    Raises:
        TypeError: the environment gives other arrays.
    """

    def __init__(self, env: Env, seed: int = 0, *, spread: bool = False) -> None:
        driver = Driver(env, seed)
        require_torch(driver, "skrl")
        super().__init__(env)
        self._driver = Driver(env, seed, spread)
        self._spaces = spaces_of(env.spec)
        self._device = driver.obs.device

    def reset(self) -> tuple[Array, dict[str, Any]]:
        """New episodes in all worlds: ``[N, no]``."""
        return self._driver.reset(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One step with ``[N, na]``, clipped to [-1, 1]."""
        found = self._driver.step(actions.to(self._driver.obs))
        info = {"final_obs": found.final_obs, "diverged": found.diverged, **found.metrics}
        columns = (part[:, None] for part in (found.reward, found.terminated, found.truncated))
        reward, terminated, truncated = columns
        return found.obs, reward, terminated, truncated, info

    def state(self) -> None:
        """No state beside the observation."""

    def render(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: see ``diffsim_core.viewer``."""

    def close(self) -> None:
        """Nothing is held."""

    @property
    def observation_space(self) -> Box:
        return self._spaces[0]

    @property
    def action_space(self) -> Box:
        return self._spaces[1]
