"""rsl_rl's ``VecEnv``."""

from __future__ import annotations

from typing import Any

from rsl_rl.env import VecEnv
from tensordict import TensorDict

from diffsim_core._protocol import Array, Env
from diffsim_core.adapters._driver import Driver, require_torch


class RslRlVecEnv(VecEnv):
    """Worlds for the runners of rsl_rl, on torch tensors without copies to the host.

    Observations are in the group ``policy``. ``extras["time_outs"]`` marks truncated episodes, for which rsl_rl adds
    the value of the state before the step. ``extras["final_obs"]`` is the observation after the step, before any reset.
    ``extras["diverged"]`` marks worlds that left the finite range.

    Args:
        env: an environment of torch tensors with vector observations.
        seed: seed of the worlds.
        reward_scale: factor of every reward; rsl_rl's critics expect returns of order one.
        divergence_price: what a step costs (before ``reward_scale``) in which a world leaves the finite range, where
            its episode is terminated; by default the worst reward so far for every step that was left, and for at
            least 100.

    Raises:
        TypeError: the environment does not give torch tensors.
    """

    def __init__(
        self, env: Env, seed: int = 0, reward_scale: float = 1.0, *, divergence_price: float | None = None
    ) -> None:
        self._driver = Driver(env, seed, divergence_price=divergence_price)
        require_torch(self._driver, "rsl_rl")
        self.env = env
        self.reward_scale = reward_scale
        self.num_envs = env.num_envs
        self.num_actions = env.spec.num_actions
        self.max_episode_length = env.spec.horizon
        self.device = self._driver.obs.device
        self.cfg = {"task": env.spec.name, "num_envs": env.num_envs, "seed": seed, "reward_scale": reward_scale}

    @property
    def episode_length_buf(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """``[N]`` control steps since each episode began. Runners set it to spread the ends of episodes."""
        return self._driver.state.t

    @episode_length_buf.setter
    def episode_length_buf(self, value: Array) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        state = self._driver.state
        self._driver.state = state._replace(t=value.to(state.t))

    def get_observations(self) -> TensorDict:
        """The next observation of the policy."""
        return self._groups(self._driver.obs)

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        """Begin new episodes in all worlds."""
        return self._groups(self._driver.reset()), {}

    def step(self, actions: Array) -> tuple[TensorDict, Array, Array, dict[str, Any]]:
        """One step with ``[N, na]``, clipped to [-1, 1]."""
        result = self._driver.step(actions.to(self._driver.obs))
        extras = {
            "time_outs": result.truncated,
            "final_obs": result.final_obs,
            "diverged": result.diverged,
            "log": {f"/{name}": value.mean() for name, value in result.metrics.items()},
        }
        done: Any = result.terminated | result.truncated
        return self._groups(result.obs), self.reward_scale * result.reward, done.long(), extras

    def _groups(self, obs: Array) -> TensorDict:
        return TensorDict({"policy": obs}, batch_size=[self.num_envs], device=self.device)
