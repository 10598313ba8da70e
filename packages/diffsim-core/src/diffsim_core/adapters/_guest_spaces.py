"""What a guest of Gymnasium is: how it is made, and its spaces, duration of a step and time limit as our spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv

from diffsim_core._protocol import EnvSpec


def maker(
    env: str | Callable[[], gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]],
    limit: int | None,
    options: Mapping[str, Any],
) -> Callable[[], Any]:
    """A function that makes one guest, or a vector of them, with vector observations."""

    def make() -> Any:
        one: Any = (
            gymnasium.make(env, max_episode_steps=limit, disable_env_checker=True, **options) if named else env()  # pyright: ignore[reportCallIssue, reportArgumentType]
        )
        vector = isinstance(one, VectorEnv)
        space = one.single_observation_space if vector else one.observation_space
        if isinstance(space, Box) and len(space.shape) == 3 and space.dtype == np.uint8:
            raise ValueError(
                f"environment {env!r} observes images {space.shape}, which no encoder here accepts; wrap it so that it "
                "observes a vector"
            )
        if isinstance(space, Box) and (vector or len(space.shape) == 1):
            return one
        if vector:
            raise ValueError(
                f"the vector environment {one!r} observes {space}, which is no array of numbers; wrap it with "
                "gymnasium.wrappers.vector.FlattenObservation"
            )
        if not space.is_np_flattenable:
            raise ValueError(
                f"environment {env!r} observes {space}, which is no fixed list of numbers; wrap it so that it observes "
                "a vector"
            )
        return gymnasium.wrappers.FlattenObservation(one)

    def guarded() -> Any:
        try:
            return make()
        except Exception as error:  # whatever another's code does with options of the wrong kind
            raise ValueError(f"environment {env!r} cannot be made: {error}") from error

    named = isinstance(env, str)
    return guarded if named else make


def spec_of(one: Any, name: str | None, limit: int | None) -> EnvSpec:
    own = one.spec
    name = str(name or (own.id if own is not None else type(one.unwrapped).__name__))
    horizon = limit if limit is not None else (own.max_episode_steps if own is not None else None)
    if horizon is None or horizon < 1:
        raise ValueError(
            f"environment {name!r} has a time limit of {horizon} steps; pass max_episode_steps of at least 1"
        )
    actions = actions_of(one, name)
    return EnvSpec(
        name=name,
        num_obs=math.prod(space_of(one, "observation").shape or ()),
        num_actions=math.prod(actions.shape),
        control_range=tuple(zip(actions.low.ravel().tolist(), actions.high.ravel().tolist(), strict=True)),
        dt=_dt_of(one),
        horizon=horizon,
        differentiable=False,
    )


def space_of(one: Any, kind: str) -> Any:
    """The space of one world."""
    return getattr(one, f"single_{kind}_space" if isinstance(one, VectorEnv) else f"{kind}_space")


def actions_of(one: Any, name: str) -> Box:
    space = space_of(one, "action")
    if not isinstance(space, Box):
        raise ValueError(f"environment {name!r} acts in {space}; choose one that acts in a Box of real numbers")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(
            f"environment {name!r} acts in {space}, whose bounds are not finite, so that [-1, 1] cannot be mapped onto "
            "it; wrap it with gymnasium.wrappers.RescaleAction or ClipAction"
        )
    return space


def _dt_of(one: Any) -> float:
    """Duration of a control step [s]; 1 if the environment does not say."""
    for name in ("dt", "tau"):
        value = getattr(one.unwrapped, name, None)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    rate = one.metadata.get("render_fps")
    return 1.0 / rate if rate else 1.0
