"""The processes of one run: number and rank, and the few values that all of them must agree on.

``torchrun`` starts them. Without it there is one process, and these functions change nothing. This module imports torch
only to join several processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ._errors import LostProcessError, RunError, UsageError

T = TypeVar("T")


def size() -> int:
    """Number of processes."""
    group = _group()
    return 1 if group is None else group.get_world_size()


def rank() -> int:
    """Index of this process; process 0 does the work that is done once."""
    group = _group()
    return 0 if group is None else group.get_rank()


def share(num_envs: int) -> tuple[int, int]:
    """``(number, first)`` of this process's worlds.

    Raises:
        UsageError: the worlds cannot be divided evenly.
    """
    if num_envs % size():
        raise UsageError(f"num_envs is {num_envs}; {size()} processes need a multiple of {size()}")
    return num_envs // size(), rank() * (num_envs // size())


def device(name: str) -> str:
    """The device of this process for a run on ``name``: ``cuda`` gives each process of a machine one GPU."""
    if size() == 1 or name == "cpu":
        return name
    if name != "cuda":
        raise UsageError(f"device is {name!r}; with several processes it is cuda, which gives each its own, or cpu")
    return f"cuda:{os.environ.get('LOCAL_RANK', rank())}"


def launched() -> tuple[int, int]:
    """``(rank, size)`` in the environment that ``torchrun`` sets, joined or not; ``(0, 1)`` without it."""
    env = os.environ
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        return 0, 1
    return int(env["RANK"]), int(env["WORLD_SIZE"])


@contextlib.contextmanager
def started(on: str) -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if there are any, for a run on device ``on``."""
    if launched()[1] == 1 or _group() is not None:
        yield
        return
    import torch

    local, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if on != "cpu" and torch.cuda.device_count() < here:
        raise UsageError(f"{here} processes on this machine, but torch sees {torch.cuda.device_count()} CUDA devices")
    if on == "cpu":
        # All processes together use the cores that one process would.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        os.environ.setdefault("DIFFSIM_NUM_THREADS", str(max(1, cores // here)))
    else:
        torch.cuda.set_device(local)
    try:
        torch.distributed.init_process_group("gloo" if on == "cpu" else "nccl")
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the processes that torchrun started could not join: {str(error).splitlines()[0]}") from None
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Turn torch's error about a lost process into ``LostProcessError``."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, RunError):
            raise
        why = re.sub(r"^\[[^\]]*\] ", "", str(error).splitlines()[0])
        raise LostProcessError(
            f"process {rank()} of {size()} lost its connection to another one, which ended or was killed ({why})"
        ) from None


def agree(wall_s: float, score: float | None) -> tuple[float, float | None]:
    """Time and return of process 0."""
    if size() == 1:
        return wall_s, score
    wall_s, found = _numbers(wall_s, float("nan") if score is None else score)[0]
    return wall_s, None if found != found else found


def any_of(flag: bool) -> bool:
    """Whether ``flag`` is true in any process."""
    return flag if size() == 1 else any(row[0] for row in _numbers(float(flag)))


def highest(number: float) -> float:
    """The highest of the numbers of all processes."""
    return number if size() == 1 else max(row[0] for row in _numbers(number))


def lead(work: Callable[[], T]) -> T | None:
    """Let process 0 do ``work`` while the others wait; they get None, and an error if it failed."""
    if size() == 1:
        return work()
    result, problem = None, None
    if rank() == 0:
        try:
            result = work()
        except Exception as error:  # told to the others first, raised below
            problem = error
    failed = _numbers(float(problem is not None))[0][0]
    if problem is not None:
        raise problem
    if failed:
        raise RunError("process 0 could not go on; its message says why")
    return result


def same_text(text: str) -> str:
    """The text of process 0 (at most 4096 bytes), in all of them."""
    if size() == 1:
        return text
    import torch

    data = text.encode()[:4096].ljust(4096, b"\0")
    return bytes(_gather(torch.frombuffer(bytearray(data), dtype=torch.uint8))[0].cpu().tolist()).rstrip(b"\0").decode()


def _numbers(*mine: float) -> list[list[float]]:
    """The numbers of each process, in their order."""
    import torch

    return [row.tolist() for row in _gather(torch.tensor(mine, dtype=torch.float64))]


def _gather(mine: Any) -> list[Any]:
    """A tensor of the same shape from each process, in their order."""
    import torch

    group = _group()
    assert group is not None
    if group.get_backend() == "nccl":
        mine = mine.cuda()
    parts = [torch.empty_like(mine) for _ in range(size())]
    with watched():
        group.all_gather(parts, mine)
    return parts


def _group() -> Any:
    """``torch.distributed`` where processes are joined, else None."""
    group = getattr(sys.modules.get("torch"), "distributed", None)
    return group if group is not None and group.is_available() and group.is_initialized() else None
