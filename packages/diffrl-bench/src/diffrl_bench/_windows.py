"""Windows of simulation through the torch bridge, which ``diffrl bench sim`` times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffsim_core import stop_gradient

from ._stopwatch import Clock, Stopwatch

SETTLING_STEPS = 64
"""Control steps under random actions before the timed ones, so that robots touch the ground."""


class Start(NamedTuple):
    """First state of the windows, and their actions."""

    state: Any
    """An ``EnvState``."""
    actions: Tensor
    """``[T, N, na]``, uniform in [-1, 1]."""


def start(env: Any, horizon: int, seed: int = 0) -> Start:
    """Simulate every world under random actions for a while, and draw the actions of a window."""
    generator = torch.Generator().manual_seed(seed)
    shape = (horizon, env.num_envs, env.spec.num_actions)

    def draw() -> Tensor:
        return (2 * torch.rand(shape, generator=generator) - 1).to(env.device, getattr(torch, env.dtype))

    state, _ = env.reset(seed)
    with torch.no_grad():
        for _ in range(-(-SETTLING_STEPS // horizon)):
            for action in draw():
                state, _ = env.step(state, action)
    return Start(state, draw())


class DynamicsWindow:
    """``T`` control steps of the simulator alone, always from the same state.

    Laps: ``forward`` records nothing for a gradient; ``recording`` is the forward pass that stores the input of the
    backward pass; ``backward`` is the vector-Jacobian product of all ``T`` steps, with a cotangent of one at every
    state of the window and gradients with respect to every control.
    """

    def __init__(self, env: Any, begin: Start) -> None:
        self.diverged = 0
        self._step: Callable[..., Any] = env.dynamics_step
        self._physics, self._constants = stop_gradient((begin.state.physics, begin.state.constants))
        self._controls = [
            tuple(part.contiguous() for part in env.task.control(env.xp, action)) for action in begin.actions
        ]
        self._ones = [torch.ones_like(part) for part in self._physics] * len(begin.actions)

    def __call__(self, watch: Stopwatch) -> None:
        with torch.no_grad():
            watch.restart()
            self._run(self._controls)
            watch.lap("forward")
        leaves = [tuple(part.clone().requires_grad_() for part in control) for control in self._controls]
        inputs = [part for control in leaves for part in control]
        watch.restart()
        states, ok = self._run(leaves)
        watch.lap("recording")
        torch.autograd.grad(states, inputs, self._ones)
        watch.lap("backward")
        self.diverged += int((~torch.stack(ok)).sum())

    def _run(self, controls: list[tuple[Tensor, ...]]) -> tuple[list[Tensor], list[Tensor]]:
        physics, states, oks = self._physics, [], []
        for control in controls:
            physics, ok = self._step(physics, control, self._constants)
            states.extend(physics)
            oks.append(ok)
        return states, oks


class EnvWindow:
    """``T`` whole environment steps, with observation, reward and resets. Each repeat continues the last one.

    Laps as in ``DynamicsWindow``; the backward pass is that of the summed rewards, with respect to every action.
    """

    def __init__(self, env: Any, begin: Start) -> None:
        self.diverged = 0
        self.episodes_ended = 0
        self._env = env
        self._state = stop_gradient(begin.state)
        self._actions = list(begin.actions)

    def __call__(self, watch: Stopwatch) -> None:
        with torch.no_grad():
            watch.restart()
            self._run(self._actions)
            watch.lap("forward")
        leaves = [action.clone().requires_grad_() for action in self._actions]
        watch.restart()
        state, transitions = self._run(leaves)
        total = torch.stack([transition.reward for transition in transitions]).sum()
        watch.lap("recording")
        torch.autograd.grad(total, leaves)
        watch.lap("backward")
        self._state = stop_gradient(state)
        self.diverged += sum(int(transition.diverged.sum()) for transition in transitions)
        self.episodes_ended += sum(int((t.terminated | t.truncated).sum()) for t in transitions)

    def _run(self, actions: list[Tensor]) -> tuple[Any, list[Any]]:
        state, transitions = self._state, []
        for action in actions:
            state, transition = self._env.step(state, action)
            transitions.append(transition)
        return state, transitions


def clock_of(device: str) -> Clock:
    """A clock that waits for ``device`` before it is read."""
    if not device.startswith("cuda"):
        return Clock()
    where = torch.device(device)
    return Clock(wait=lambda: torch.cuda.synchronize(where))


def copy_rate(device: str, clock: Clock, *, repeats: int = 5) -> float:
    """Bytes per second, read and written, of the fastest of some copies within a device's memory."""
    size = 2**28 if device.startswith("cuda") else 2**26  # larger than the caches
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    walls = []
    for _ in range(repeats + 1):
        begin = clock.read().wall
        target.copy_(source)
        walls.append(clock.read().wall - begin)
    return 2 * size / min(walls)


def require_device(device: str) -> str | None:
    """Name of the GPU, or None for a CPU.

    Raises:
        ValueError: this machine does not have the device.
    """
    if device == "cpu":
        return None
    if not device.startswith("cuda"):
        raise ValueError(f"device is {device!r}; expected cpu, cuda or cuda:i")
    if not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but torch sees no NVIDIA GPU here; use --device cpu")
    try:
        return torch.cuda.get_device_name(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device is {device!r}: {error}") from None
