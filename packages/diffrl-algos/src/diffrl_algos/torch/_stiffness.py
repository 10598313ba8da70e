"""The stiffness of a window's steps: by how much a random change of the state grows in each of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsim_core import Env, EnvState, Trajectory, Transition

from ._state import leaves, map_leaves

_METRIC = "stiffness"


class StiffnessProbe:
    """Worlds that add the metric ``stiffness`` ``[N]`` to every step.

    With ``f`` the step of the simulator at fixed action and ``v`` standard normal, the stiffness of a world is
    ``|v^T df/ds| / |v|``: the root mean square of the Jacobian's singular values, estimated from one sample. It is 1
    where nothing happens, and of the order of a contact's natural frequency [rad/s] where it is in contact.
    """

    def __init__(self, env: Env, generator: torch.Generator) -> None:
        self._env, self._generator = env, generator
        self.spec, self.num_envs = env.spec, env.num_envs

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        return self._env.reset(seed)

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        # A new graph node for the state. The action was computed before and does not depend on it.
        physics = map_leaves(_node, state.physics)
        after, step = self._env.step(state._replace(physics=physics), action)
        growth = self._growth(physics, after.physics)
        return after, step._replace(metrics={**step.metrics, _METRIC: growth})

    def _growth(self, before: Any, after: Any) -> Tensor:
        """``[N]``"""
        inputs = [leaf for _, leaf in leaves(before) if _is_float(leaf)]
        outputs = [leaf for _, leaf in leaves(after) if _is_float(leaf)]
        noise = [torch.randn(x.shape, generator=self._generator, dtype=x.dtype, device=x.device) for x in outputs]
        pulled = torch.autograd.grad(outputs, inputs, noise, retain_graph=True, materialize_grads=True)
        return _norm(pulled) / _norm(noise)


def mean_stiffness(window: Trajectory) -> tuple[Trajectory, Tensor]:
    """The window without the metric, and its mean ``[T]`` over the worlds whose episode did not end; 1 if all ended."""
    metrics = dict(window.metrics)
    rows = zip(metrics.pop(_METRIC), ~window.done, strict=True)
    stiffness = torch.stack([_masked_mean(values, valid) for values, valid in rows])
    return window._replace(metrics=metrics), stiffness


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _node(name: str, leaf: Any) -> Any:
    if not _is_float(leaf):
        return leaf
    return leaf.view_as(leaf) if leaf.requires_grad else leaf.detach().requires_grad_()


def _norm(parts: Any) -> Tensor:
    """Euclidean norm over all axes except that of the worlds, ``[N]``."""
    return torch.cat([part.detach().flatten(1) for part in parts], dim=1).norm(dim=1)


def _masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    count = valid.sum()
    return torch.where(count > 0, torch.where(valid, x, 0.0).sum() / count.clamp(min=1), 1.0)
