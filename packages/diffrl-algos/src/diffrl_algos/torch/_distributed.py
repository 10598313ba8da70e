"""Worlds split over processes, and everything that is learned the same in each of them.

A process has the worlds ``rank * n`` to ``rank * n + n - 1`` of all; random numbers follow the number of a world, so
the windows of all processes together are the window of one process with all worlds. Gradients and figures are averaged
over the processes, which have equally many worlds; the rest is exchanged here too. In one process nothing is done.
"""

from __future__ import annotations

import hashlib

import torch
import torch.distributed as dist
from torch import Tensor

from .._errors import RunError
from .._processes import rank, size, watched


def mean(x: Tensor) -> Tensor:
    """The mean of ``x`` over the processes."""
    if size() == 1:
        return x
    x = x.detach().clone()
    with watched():
        dist.all_reduce(x)
    return x / size()


def total(count: int) -> int:
    """The sum of ``count`` over the processes."""
    if size() == 1:
        return count
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    value = torch.tensor(count, dtype=torch.int64, device=device)
    with watched():
        dist.all_reduce(value)
    return int(value)


def worlds(x: Tensor, axis: int) -> Tensor:
    """``[..., n, ...] -> [..., N, ...]``: the entries of all worlds, in their order."""
    if size() == 1:
        return x
    kind = x.dtype
    mine = (x.to(torch.uint8) if kind is torch.bool else x).detach().contiguous()
    parts = [torch.empty_like(mine) for _ in range(size())]
    with watched():
        dist.all_gather(parts, mine)
    return torch.cat(parts, dim=axis).to(kind)


def mine(x: Tensor, axis: int) -> Tensor:
    """``[..., N, ...] -> [..., n, ...]``: the entries of this process's worlds."""
    return x if size() == 1 else x.chunk(size(), dim=axis)[rank()]


def rows(x: Tensor, horizon: int) -> Tensor:
    """``[T n, ...] -> [T N, ...]``: the rows of a window of ``horizon`` steps, as one process would have them."""
    return x if size() == 1 else worlds(x.unflatten(0, (horizon, -1)), 1).flatten(0, 1)


def share(*parts: Tensor) -> tuple[Tensor, ...]:
    """This process's rows of a minibatch; all rows where they cannot be divided evenly."""
    if size() == 1 or len(parts[0]) % size():
        return parts
    return tuple(part[rank() :: size()] for part in parts)


def pool(count: int, mean_: Tensor, var: Tensor) -> tuple[int, Tensor, Tensor]:
    """Number, mean and variance of the samples of all processes, each of which has ``count``."""
    if size() == 1:
        return count, mean_, var
    middle = mean(mean_)
    return count * size(), middle, mean(var + (mean_ - middle).square())


def check_same(parts: dict[str, Tensor]) -> None:
    """Raise ``RunError`` unless ``parts`` have the same bits in every process: they are computed, not sent."""
    if size() == 1:
        return
    digests = {name: hashlib.sha256(part.detach().cpu().numpy().tobytes()).digest()[:8] for name, part in parts.items()}
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    seen = worlds(torch.tensor([list(digest) for digest in digests.values()], device=device)[None], 0)
    for k, name in enumerate(digests):
        if not bool((seen[:, k] == seen[0, k]).all()):
            raise RunError(
                f"the processes no longer agree on {name}: are their machines and versions the same? An algorithm of "
                "your own must average its gradients over the processes, and its state must name in per_world the "
                "fields with an entry for each world"
            )
