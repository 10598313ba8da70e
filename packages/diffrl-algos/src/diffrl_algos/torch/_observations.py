"""Observations that are a mapping of arrays, as one vector that says where each of them lies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffsim_core import Env, EnvSpec, EnvState, Transition


@dataclass(frozen=True)
class Layout:
    """The arrays of an observation in one vector: those of one axis first, then the point clouds."""

    vectors: tuple[tuple[str, int], ...]
    """Names and lengths of what has one axis."""
    clouds: tuple[tuple[str, int, int], ...]
    """Names, numbers of points, and coordinates of a point, of what has two."""

    @classmethod
    def of(cls, spec: EnvSpec) -> Layout:
        """The layout of ``spec.obs_shapes``.

        Raises:
            ValueError: an array is neither a vector nor a point cloud.
        """
        for name, shape in spec.obs_shapes.items():
            if len(shape) not in (1, 2):
                raise ValueError(
                    f"environment {spec.name!r} observes {name!r} of shape {list(shape)}, which has no encoder: one "
                    "axis is a vector, two are a point cloud [points, coordinates]; images are not supported"
                )
        items = spec.obs_shapes.items()
        return cls(
            tuple((name, shape[0]) for name, shape in items if len(shape) == 1),
            tuple((name, shape[0], shape[1]) for name, shape in items if len(shape) == 2),
        )

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of the arrays, in the order in which they lie."""
        return tuple((name, tuple(shape)) for name, *shape in (*self.vectors, *self.clouds))

    @property
    def vector(self) -> int:
        """Numbers that come from vectors, which are the first."""
        return sum(length for _, length in self.vectors)

    @property
    def size(self) -> int:
        """Length of the whole vector."""
        return self.vector + sum(points * coordinates for _, points, coordinates in self.clouds)

    def flatten(self, obs: Mapping[str, Tensor] | Tensor) -> Tensor:
        """``[N, size]``; a tensor is taken to be that already."""
        if isinstance(obs, Tensor):
            return obs
        return torch.cat([obs[name].flatten(1) for name, _ in self.shapes], dim=1)

    def split(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Vectors together ``[..., k]`` and each cloud ``[..., points, coordinates]`` of ``x [..., size]``."""
        shapes = [shape for _, shape in self.shapes[len(self.vectors) :]]
        vector, *clouds = x.split([self.vector, *map(math.prod, shapes)], dim=-1)
        return vector, [cloud.unflatten(-1, shape) for cloud, shape in zip(clouds, shapes, strict=True)]


class FlatEnv:
    """An environment whose observations are a mapping, as one whose observations are one vector."""

    def __init__(self, env: Env) -> None:
        self._env = self.worlds = env
        self.layout = Layout.of(env.spec)
        self.spec = dataclasses.replace(env.spec, obs_shapes={}, num_obs=self.layout.size, obs_names=())
        self.num_envs = env.num_envs

    def __getattr__(self, name: str) -> Any:
        if name == "_env":  # not there yet while being copied
            raise AttributeError(name)
        return getattr(self._env, name)

    def reset(self, seed: int) -> tuple[EnvState, Tensor]:
        state, obs = self._env.reset(seed)
        return state, self.layout.flatten(obs)

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        state, step = self._env.step(state, action)
        final_obs = self.layout.flatten(step.final_obs)
        # One tensor where no episode ended, as the environment has it.
        obs = final_obs if step.obs is step.final_obs else self.layout.flatten(step.obs)
        return state, step._replace(final_obs=final_obs, obs=obs)


def flat(env: Env) -> Env:
    """``env`` itself if its observations are a vector, else a ``FlatEnv`` around it.

    Raises:
        ValueError: an array is neither a vector nor a point cloud.
    """
    return FlatEnv(env) if env.spec.obs_shapes else env


def layout_of(env: Env) -> Layout | None:
    """Where the arrays lie in the observations of ``flat(env)``; None where they are one vector anyway."""
    return getattr(env, "layout", None)
