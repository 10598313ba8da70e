"""What the conformance kit of algorithms sees from outside: steps taken, graphs kept, global generators used."""

# ruff: noqa: NPY002  the global generators are what is asked about

from __future__ import annotations

import contextlib
import functools
import gc
import random
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from diffsim_core import Env, EnvState, Transition, tree_map


class Watched:
    """Worlds that count their steps, and know whether the graph of one is still held by anybody."""

    def __init__(self, env: Env) -> None:
        self.env, self.spec, self.num_envs = env, env.spec, env.num_envs
        self.steps: int | None = 0
        """Control steps so far, summed over worlds; None where they were traced, not taken."""
        self._graphs: list[weakref.ref[_Token]] = []

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # not there yet while being copied
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        return self.env.reset(seed)

    def step(self, state: EnvState, action: Any) -> tuple[EnvState, Transition]:
        after, row = self.env.step(state, action)
        if not hasattr(row.reward, "requires_grad"):
            self.steps = None
            return after, row
        if self.steps is not None:
            self.steps += self.num_envs
        physics, task = tree_map(self._marked, (after.physics, after.task))
        return after._replace(physics=physics, task=task), row._replace(reward=self._marked(row.reward))

    def held(self) -> int:
        """Arrays of steps whose graphs somebody still holds."""
        gc.collect()
        return sum(graph() is not None for graph in self._graphs)

    def _marked(self, array: Any) -> Any:
        if not getattr(array, "requires_grad", False):
            return array
        token = _Token()
        self._graphs.append(weakref.ref(token))
        return _marker().apply(array, token)


class _Token:
    """Lives as long as the graph that it is part of."""


@functools.cache
def _marker() -> Any:
    import torch

    class Marker(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, array: Any, token: _Token) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            ctx.token = token
            return array.view_as(array)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return gradient, None

    return Marker


@contextlib.contextmanager
def own_generators() -> Iterator[None]:
    """The generators of the process in states that nothing has seeded; afterwards they are as they were."""
    torch = sys.modules.get("torch")
    states = random.getstate(), np.random.get_state(), torch and torch.get_rng_state()
    random.seed()
    np.random.seed()
    if torch is not None:
        torch.manual_seed(random.getrandbits(63))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if torch is not None:
            torch.set_rng_state(states[2])


def global_generators() -> dict[str, bytes]:
    """The states of the generators that belong to the whole process, by the name of their module."""
    kind, keys, *rest = np.random.get_state()
    found = {"random": repr(random.getstate()).encode(), "numpy.random": repr((kind, rest)).encode() + bytes(keys)}
    torch = sys.modules.get("torch")
    return found if torch is None else {**found, "torch": bytes(torch.get_rng_state().numpy())}
