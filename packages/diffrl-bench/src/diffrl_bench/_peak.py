"""Peak memory of a function."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

_PROCESS = Path("/proc/self")


def peak_growth(work: Callable[[], object]) -> int | None:
    """Bytes by which the peak of resident memory during ``work`` exceeds the memory before it.

    None on systems other than Linux, which do not report it. Memory that the process already has, free for reuse, does
    not count. If the system reclaims pages of mapped files during the work, they count as if they had stayed;
    otherwise they would hide as much of the work's own memory.
    """
    # Earlier garbage that is freed only during the work would hide as much, too.
    gc.collect()
    before, files = _resident("VmRSS"), _resident("RssFile") or 0
    reset = before is not None and _reset_peak()
    work()
    peak = _resident("VmHWM")
    if not reset or before is None or peak is None:
        return None
    taken_away = max(0, files - (_resident("RssFile") or 0))
    return max(0, peak - before + taken_away)


def peak_resident() -> int | None:
    """Most resident memory of the process so far, or since :func:`peak_growth` began [bytes]; None as there."""
    return _resident("VmHWM")


def resident_files() -> int | None:
    """What of the process's resident memory holds pages of files, such as libraries [bytes]; None as there."""
    return _resident("RssFile")


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
