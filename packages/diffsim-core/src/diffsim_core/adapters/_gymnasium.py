"""Gymnasium's two interfaces: many worlds with each mode of autoreset, and one world."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from diffsim_core._interop import to_numpy
from diffsim_core._protocol import Env, Transition
from diffsim_core.adapters._driver import Driver
from diffsim_core.adapters._spaces import spaces_of

FloatArray = np.ndarray[Any, np.dtype[Any]]


class GymnasiumVectorEnv(VectorEnv[FloatArray, FloatArray, FloatArray]):
    """Worlds as a ``gymnasium.vector.VectorEnv`` of NumPy arrays.

    Where an episode has ended, the modes of autoreset differ:

    - ``SAME_STEP``: the observation is the first of the next episode, and ``info["final_obs"][i]``, masked by
      ``info["_final_obs"]``, is the last one of the ended episode.
    - ``NEXT_STEP``: the observation is the last one of the ended episode. The world's next step ignores its action,
      earns 0 and gives the first observation of the next episode; the simulator does not move.
    - ``DISABLED``: the observation is the last one of the ended episode. Before the next step,
      ``reset(options={"reset_mask": mask})`` begins the next episode in all worlds that have ended.

    The info also holds the task's metrics and ``diverged``; with ``SAME_STEP`` those of a step that ended an episode
    are in ``info["final_info"]``.

    Args:
        env: any environment with vector observations.
        autoreset_mode: a ``gymnasium.vector.AutoresetMode``.
        divergence_price: what a step costs in which a world leaves the finite range, where its episode is terminated;
            by default the worst reward so far for every step that was left of the episode, and for at least 100.
    """

    def __init__(
        self,
        env: Env,
        *,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        divergence_price: float | None = None,
    ) -> None:
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        self._driver = Driver(env, divergence_price=divergence_price)
        self._shown: FloatArray = np.zeros(0)
        self._ended = np.zeros(env.num_envs, dtype=bool)
        self.num_envs = env.num_envs
        self.single_observation_space, self.single_action_space = spaces_of(env.spec, _dtype(env))
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Begin new episodes in all worlds. Without ``seed``, the generator of an earlier seed draws one.

        With ``DISABLED`` and a ``reset_mask`` (``[N]`` bool) in ``options``, only those worlds begin their next
        episode; all observations are returned.

        Raises:
            ValueError: ``options`` has a ``reset_mask``, but worlds reset themselves; or the mask is not of bools for
                all worlds, selects a world in the middle of an episode, or comes with a seed.
        """
        super().reset(seed=seed)
        if options and "reset_mask" in options:
            return self._begin(np.asarray(options["reset_mask"]), seed), {}
        self._ended = np.zeros_like(self._ended)
        self._shown = to_numpy(self._driver.reset(_drawn(seed, self)))
        return self._shown.copy(), {}

    def step(self, actions: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, dict[str, Any]]:
        """One step with ``[N, na]`` in [-1, 1], clipped.

        Raises:
            ValueError: the action has the wrong shape.
            RuntimeError: ``reset`` was never called, or with ``DISABLED`` a world has ended and was not reset.
        """
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            result = self._driver.step_numpy(actions)
            done: Any = result.terminated | result.truncated
            return result.obs, result.reward, result.terminated, result.truncated, _infos(result, done)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            raise RuntimeError(
                f"worlds {', '.join(map(str, np.flatnonzero(self._ended)))} have ended; call reset with "
                "options={'reset_mask': mask} before the next step"
            )
        held = self._ended
        first = to_numpy(self._driver.obs) if held.any() else np.zeros(0)
        result = self._driver.step_numpy(actions, held if held.any() else None)
        self._shown = np.where(held[:, None], first, result.final_obs) if held.any() else result.final_obs
        terminated, truncated = result.terminated & ~held, result.truncated & ~held
        self._ended = terminated | truncated
        infos = {} if held.all() else _masked(_metrics(result), ~held)
        return self._shown.copy(), result.reward, terminated, truncated, infos

    def _begin(self, mask: FloatArray, seed: int | None) -> FloatArray:
        if self.autoreset_mode is not AutoresetMode.DISABLED:
            raise ValueError(
                "options has a reset_mask, but worlds reset themselves here: leave it out, or make the environment "
                "with autoreset_mode=AutoresetMode.DISABLED"
            )
        if mask.dtype != np.bool_ or mask.shape != self._ended.shape:
            raise ValueError(
                f"reset_mask has shape {mask.shape}, dtype {mask.dtype}; expected {self._ended.shape}, bool"
            )
        if seed is not None:
            raise ValueError(
                "a reset_mask cannot have a seed: the worlds' next episodes follow from the last full reset"
            )
        if (mask & ~self._ended).any():
            raise ValueError(
                f"reset_mask selects world {int(np.flatnonzero(mask & ~self._ended)[0])}, which is in the middle of an "
                "episode; only worlds that have ended can be reset alone"
            )
        self._shown = np.where(mask[:, None], to_numpy(self._driver.obs), self._shown)
        self._ended = self._ended & ~mask
        return self._shown.copy()


class GymnasiumEnv(gymnasium.Env[FloatArray, FloatArray]):
    """One world as a ``gymnasium.Env``. :class:`GymnasiumVectorEnv` with many worlds is faster.

    After the end of an episode, ``reset`` without a seed begins the world's next episode. Otherwise it draws a seed.

    Args:
        env: an environment of one world.
        divergence_price: see :class:`GymnasiumVectorEnv`.

    Raises:
        ValueError: the environment has several worlds.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, env: Env, *, divergence_price: float | None = None) -> None:
        if env.num_envs != 1:
            raise ValueError(f"num_envs is {env.num_envs}: a gymnasium.Env is one world; use GymnasiumVectorEnv")
        self._driver = Driver(env, divergence_price=divergence_price)
        self._ended = False
        self.observation_space, self.action_space = spaces_of(env.spec, _dtype(env))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """The first observation ``[no]`` of an episode."""
        super().reset(seed=seed)
        if seed is not None or not self._ended:
            self._driver.reset(_drawn(seed, self))
        self._ended = False
        return to_numpy(self._driver.obs)[0], {}

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """One step with ``[na]`` in [-1, 1], clipped."""
        result = self._driver.step_numpy(np.asarray(action)[None])
        terminated, truncated = bool(result.terminated[0]), bool(result.truncated[0])
        self._ended = terminated or truncated
        info = {name: value[0].item() for name, value in _metrics(result).items()}
        return result.final_obs[0], float(result.reward[0]), terminated, truncated, info


def _dtype(env: Env) -> Any:
    return getattr(env, "dtype", "float32")


def _drawn(seed: int | None, env: Any) -> int:
    return int(env.np_random.integers(2**31)) if seed is None else seed


def _metrics(result: Transition) -> dict[str, Any]:
    return {**result.metrics, "diverged": result.diverged}


def _infos(result: Transition, done: FloatArray) -> dict[str, Any]:
    """Gymnasium's dictionary of arrays, each with a mask of the worlds for which it is valid."""
    metrics = _metrics(result)
    infos = {} if done.all() else _masked(metrics, ~done)
    if done.any():
        final_obs = np.full(len(done), None, dtype=object)
        for world in np.flatnonzero(done):
            final_obs[world] = result.final_obs[world]
        infos |= {"final_obs": final_obs, "_final_obs": done}
        infos |= {"final_info": _masked(metrics, done), "_final_info": done.copy()}
    return infos


def _masked(metrics: dict[str, Any], mask: FloatArray) -> dict[str, Any]:
    masked: dict[str, Any] = {}
    for name, values in metrics.items():
        masked |= {name: np.where(mask, values, np.zeros_like(values)), f"_{name}": mask.copy()}
    return masked
