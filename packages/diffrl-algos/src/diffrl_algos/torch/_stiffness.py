"""How stiff the steps of a window are: by how much a random change of the state grows in each of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffsim_core import Env, EnvState, Transition

from ._state import leaves, map_leaves


class StiffnessProbe:
    """Stands between ``rollout`` and the worlds for one window, and measures every step.

    With ``f`` the step of the simulator at fixed action and ``v`` standard normal, the stiffness of a world is
    ``|v^T df/ds| / |v|``: the root mean square of the Jacobian's singular values, estimated from one sample. It is 1
    where nothing happens, and of the order of a contact's natural frequency [rad/s] where it is in contact.
    """

    def __init__(self, env: Env, generator: torch.Generator) -> None:
        self._env, self._generator = env, generator
        self.spec, self.num_envs = env.spec, env.num_envs
        self._means: list[Tensor] = []

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        return self._env.reset(seed)

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        # A node of its own for the state, which the action, computed before, does not depend on.
        physics = map_leaves(_node, state.physics)
        after, step = self._env.step(state._replace(physics=physics), action)
        going_on = ~step.terminated & ~step.truncated
        self._means.append(_mean(self._growth(physics, after.physics), going_on))
        return after, step

    def stiffness(self) -> Tensor:
        """Mean over the worlds that did not end, of every step so far ``[T]``; 1 where all ended."""
        return torch.stack(self._means)

    def _growth(self, before: Any, after: Any) -> Tensor:
        """``[N]``"""
        inputs = [leaf for _, leaf in leaves(before) if _moves(leaf)]
        outputs = [leaf for _, leaf in leaves(after) if _moves(leaf)]
        noise = [torch.randn(x.shape, generator=self._generator, dtype=x.dtype, device=x.device) for x in outputs]
        pulled = torch.autograd.grad(outputs, inputs, noise, retain_graph=True, materialize_grads=True)
        return _length(pulled) / _length(noise)


def _moves(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _node(name: str, leaf: Any) -> Any:
    if not _moves(leaf):
        return leaf
    return leaf.view_as(leaf) if leaf.requires_grad else leaf.detach().requires_grad_()


def _length(parts: Any) -> Tensor:
    """Euclidean length over everything but the worlds, ``[N]``."""
    return torch.cat([part.detach().flatten(1) for part in parts], dim=1).norm(dim=1)


def _mean(x: Tensor, valid: Tensor) -> Tensor:
    count = valid.sum()
    return torch.where(count > 0, torch.where(valid, x, 0.0).sum() / count.clamp(min=1), 1.0)
