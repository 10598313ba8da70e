"""Memory: what the backward pass of a window needs, and what a device has free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_MEMINFO = Path("/proc/meminfo")


def kept_bytes(env: Any, horizon: int) -> int:
    """Bytes that the simulator saves for the backward pass of ``horizon`` steps of all worlds.

    A whole window takes more: the graph of observations, rewards and networks is not included. The result is 0 for an
    environment without a :class:`diffsim_core.Dynamics`.
    """
    dynamics = getattr(getattr(env, "task", None), "dynamics", None)
    return 0 if dynamics is None else saved_bytes(dynamics, env.num_envs, horizon)


def saved_bytes(dynamics: Any, num_worlds: int, steps: int) -> int:
    """Bytes that a simulator saves for the backward pass of ``steps`` steps."""
    return dynamics.saved_size(num_worlds) * (4 if dynamics.dtype == "float32" else 8) * steps


def free_bytes(device: str) -> int | None:
    """Free bytes on ``device``, ``"cpu"`` or ``"cuda[:i]"``; None if unknown."""
    if device.startswith("cuda"):
        import warp as wp

        return int(wp.get_device(device).free_memory)
    if not _MEMINFO.exists():
        return None
    lines = (line.split() for line in _MEMINFO.read_text().splitlines())
    return next((1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:"), None)


def require_memory(env: Any, horizon: int, *, seeds: int = 1) -> None:
    """Raise for a window that cannot fit into memory, before it is allocated.

    Args:
        env: the worlds.
        horizon: steps of the window.
        seeds: such windows at a time.

    Raises:
        ValueError: its backward pass alone needs more than the device has free; the message says how much, and what
            takes less.
    """
    needed = seeds * kept_bytes(env, horizon)
    free = free_bytes(env.device) if needed else None
    if free is None or needed <= free:
        return
    dynamics = env.task.dynamics
    remedy = " or the task's option memory='low'" if getattr(dynamics, "memory", None) == "fast" else ""
    many, fewer = (f" for {seeds} seeds", "fewer seeds, ") if seeds > 1 else ("", "")
    raise ValueError(
        f"num_envs={env.num_envs} and horizon={horizon}{many}: the simulator of {env.spec.name!r} keeps "
        f"{needed / 1e9:.1f} GB for the backward pass, but {env.device} has {free / 1e9:.1f} GB free; use {fewer}fewer "
        f"worlds, a shorter horizon{remedy}"
    )
