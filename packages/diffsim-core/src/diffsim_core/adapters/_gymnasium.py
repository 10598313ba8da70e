"""Gymnasium's two interfaces: many worlds with same-step autoreset, and one."""

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

    Autoreset is ``SAME_STEP``: where an episode has ended, the observation is the next episode's first, and
    ``info["final_obs"][i]``, masked by ``info["_final_obs"]``, is the one that the step led to. Metrics of the task and
    ``diverged`` are in the info too; those of a step that ended an episode in ``info["final_info"]``.

    Args:
        env: any environment with vector observations.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, env: Env) -> None:
        self._driver = Driver(env)
        self.num_envs = env.num_envs
        self.single_observation_space, self.single_action_space = spaces_of(env.spec, _dtype(env))
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """New episodes in all worlds. Without a seed one is drawn from that of an earlier call.

        Raises:
            ValueError: ``options`` asks for a part of the worlds, which cannot be reset alone.
        """
        super().reset(seed=seed)
        if options and "reset_mask" in options:
            raise ValueError("options has a reset_mask, but worlds reset themselves here: leave it out")
        return to_numpy(self._driver.reset(_drawn(seed, self))), {}

    def step(self, actions: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, dict[str, Any]]:
        """One step with ``[N, na]`` in [-1, 1], clipped.

        Raises:
            ValueError: the action has the wrong shape.
            RuntimeError: ``reset`` was never called.
        """
        found = self._driver.step_numpy(actions)
        done: Any = found.terminated | found.truncated
        return found.obs, found.reward, found.terminated, found.truncated, _infos(found, done)


class GymnasiumEnv(gymnasium.Env[FloatArray, FloatArray]):
    """One world as a ``gymnasium.Env``. Many are faster: see :class:`GymnasiumVectorEnv`.

    ``reset`` without a seed after the end of an episode begins the world's next one; otherwise a seed is drawn.

    Args:
        env: an environment of one world.

    Raises:
        ValueError: it has more.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, env: Env) -> None:
        if env.num_envs != 1:
            raise ValueError(f"num_envs is {env.num_envs}: a gymnasium.Env is one world; use GymnasiumVectorEnv")
        self._driver = Driver(env)
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
        found = self._driver.step_numpy(np.asarray(action)[None])
        terminated, truncated = bool(found.terminated[0]), bool(found.truncated[0])
        self._ended = terminated or truncated
        info = {name: value[0].item() for name, value in _figures(found).items()}
        return found.final_obs[0], float(found.reward[0]), terminated, truncated, info


def _dtype(env: Env) -> Any:
    return getattr(env, "dtype", "float32")


def _drawn(seed: int | None, env: Any) -> int:
    return int(env.np_random.integers(2**31)) if seed is None else seed


def _figures(found: Transition) -> dict[str, Any]:
    return {**found.metrics, "diverged": found.diverged}


def _infos(found: Transition, done: FloatArray) -> dict[str, Any]:
    """Gymnasium's dictionary of arrays, each with the mask of the worlds it holds for."""
    figures = _figures(found)
    infos = {} if done.all() else _masked(figures, ~done)
    if done.any():
        final_obs = np.full(len(done), None, dtype=object)
        for world in np.flatnonzero(done):
            final_obs[world] = found.final_obs[world]
        infos |= {"final_obs": final_obs, "_final_obs": done}
        infos |= {"final_info": _masked(figures, done), "_final_info": done.copy()}
    return infos


def _masked(figures: dict[str, Any], mask: FloatArray) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in figures.items():
        found |= {name: np.where(mask, values, np.zeros_like(values)), f"_{name}": mask.copy()}
    return found
