"""How much memory a piece of work takes while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_PROCESS = Path("/proc/self")


def peak_growth(work: Callable[[], object]) -> int | None:
    """Bytes by which resident memory at its highest during ``work`` exceeded that before it.

    None where the system does not tell (anything but Linux). Memory that the process had already, free for use again,
    does not count.
    """
    before = _resident("VmRSS")
    reset = before is not None and _reset_peak()
    work()
    peak = _resident("VmHWM")
    return max(0, peak - before) if reset and before is not None and peak is not None else None


def _reset_peak() -> bool:
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _resident(field: str) -> int | None:
    try:
        lines = (_PROCESS / "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kib = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(kib[0]) if kib else None
