"""How much a window keeps is known before it is simulated, and too much is refused."""

from __future__ import annotations

import pytest

import diffsim_core
from diffsim_core import _memory, kept_bytes, make, require_memory
from diffsim_core.tasks import _rigid

pytest.importorskip("torch")


def test_it_is_what_the_bridge_allocates(monkeypatch):
    """Every buffer that a recorded window's steps are given, counted as they are handed over."""
    env = make("ant", num_envs=5)
    dynamics, handed = env.task.dynamics, []
    step = type(dynamics).step

    def counted(self, state, control, out, ok, saved):
        handed.append(0 if saved is None else saved.shape[0] * 4)
        step(self, state, control, out, ok, saved)

    monkeypatch.setattr(type(dynamics), "step", counted)
    import torch

    state, _ = env.reset(0)
    action = torch.zeros(5, 8, requires_grad=True)
    for _ in range(3):
        state, _ = env.step(state, action)
    assert sum(handed) == kept_bytes(env, 3) > 0


def test_too_large_a_window_is_refused_by_its_size(monkeypatch):
    env = make("ant", num_envs=8)
    needed = kept_bytes(env, 32)
    monkeypatch.setattr(_memory, "free_bytes", lambda device: needed)
    require_memory(env, 32)
    monkeypatch.setattr(_memory, "free_bytes", lambda device: needed - 1)
    with pytest.raises(ValueError, match=r"num_envs=8 and horizon=32: .* 'ant' keeps .* cpu has .* memory='low'"):
        require_memory(env, 32)
    low = make("ant", num_envs=8, memory="low")
    require_memory(low, 32)
    monkeypatch.setattr(_memory, "free_bytes", lambda device: 1000)
    with pytest.raises(ValueError, match=r"a shorter horizon$"):
        require_memory(low, 32)
    monkeypatch.setattr(_memory, "free_bytes", lambda device: None)
    require_memory(low, 32)  # where nothing is known nothing is refused


def test_a_large_window_takes_the_small_mode(monkeypatch):
    size = kept_bytes(make("ant", num_envs=8, memory="fast"), 32)
    for free, mode in ((4 * size, "fast"), (4 * size - 4, "low"), (None, "fast")):
        monkeypatch.setattr(_rigid, "free_bytes", lambda device, free=free: free)
        assert make("ant", num_envs=8).task.dynamics.memory == mode
        assert make("ant", num_envs=8, memory="fast").task.dynamics.memory == "fast"
        assert make("humanoid", num_envs=2).task.dynamics.memory == "low"


def test_what_a_machine_has_left():
    free = diffsim_core.free_bytes("cpu")
    assert free is None or 2**20 < free < 2**50
