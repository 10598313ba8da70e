"""The machine and the versions of a measurement."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "diffsim-core",
    "diffsim-mpm",
    "diffsim-traffic",
    "gradest",
    "diffrl-algos",
    "diffrl-bench",
    "torch",
    "warp-lang",
    "mujoco",
    "numpy",
)


_PEERS = ("jax", "libsumo", "taichi")


def machine() -> dict[str, Any]:
    """Processor, cores, memory and load, ready for JSON; None where the system does not say."""
    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "cores_total": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": platform.platform(),
        "load_before": load(),
    }


def load() -> float | None:
    """Load average of the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(facts: dict[str, Any]) -> str:
    """``machine()`` in a few words: ``AMD EPYC, 4 of 16 cores``."""
    cores, total = facts.get("cores"), facts.get("cores_total")
    count = f"{cores} cores" if cores == total or total is None else f"{cores} of {total} cores"
    device = f", {facts['gpu']}" if facts.get("gpu") else ""
    return f"{facts.get('cpu') or 'unknown processor'}, {count}{device}"


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that matter for speed; None if a package is not installed.

    Of peers, those that are installed.
    """
    peers = {name: found for name in _PEERS if (found := _version(name)) is not None}
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}, **peers}


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
