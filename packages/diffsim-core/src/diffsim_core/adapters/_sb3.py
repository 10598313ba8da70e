"""Stable-Baselines3's ``VecEnv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from diffsim_core._interop import to_numpy
from diffsim_core._protocol import Env
from diffsim_core.adapters._driver import Driver
from diffsim_core.adapters._spaces import spaces_of


class SB3VecEnv(VecEnv):
    """Worlds for the algorithms of Stable-Baselines3.

    Where an episode has ended, the info has ``terminal_observation``, the last observation of that episode, and
    ``TimeLimit.truncated``, which makes the library bootstrap with its value. The info of a diverged world also has
    ``diverged``; its episode is terminated at a price.

    Args:
        env: any environment with vector observations.
        seed: seed of the worlds, until ``seed`` is called.
        spread: let the first episodes end early, at random times. If all worlds are in phase, a library that learns
            from short windows sees only one part of the episode at a time.
        divergence_price: what a step costs in which a world leaves the finite range; by default the worst reward so
            far for every step that was left of the episode, and for at least 100.
    """

    def __init__(self, env: Env, seed: int = 0, *, spread: bool = False, divergence_price: float | None = None) -> None:
        self.env = env
        self._driver = Driver(env, seed, spread, divergence_price=divergence_price)
        super().__init__(env.num_envs, *spaces_of(env.spec))
        self._actions: Any = None

    def reset(self) -> VecEnvObs:
        """Begin new episodes in all worlds; returns the observation ``[N, no]``."""
        obs = to_numpy(self._driver.reset(self._seeds[0])).astype(np.float32, copy=False)
        self._reset_seeds()
        self._reset_options()
        return obs

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One step with the actions of ``step_async``."""
        result = self._driver.step_numpy(self._actions)
        done: Any = result.terminated | result.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        final_obs = result.final_obs.astype(np.float32, copy=False)
        for world in np.flatnonzero(done):
            infos[world] = {
                "terminal_observation": final_obs[world],
                "TimeLimit.truncated": bool(result.truncated[world]),
            }
            if result.diverged[world]:
                infos[world]["diverged"] = True
        return result.obs.astype(np.float32, copy=False), result.reward.astype(np.float32, copy=False), done, infos

    def close(self) -> None:
        """Do nothing: the environment holds no resources."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The environment's attribute, repeated for every world; ``render_mode`` is None."""
        value = None if attr_name == "render_mode" else getattr(self.env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Not supported, because all worlds share one environment.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(f"{attr_name!r} cannot be set on single worlds: make the environment with other options")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Not supported, because all worlds share one environment.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(f"{method_name!r} cannot be called on single worlds: call it on .env")

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """False: single worlds have no wrappers."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray[Any, Any] | None]:
        """None; ``diffsim_core.viewer`` draws worlds."""
        return [None] * self.num_envs
