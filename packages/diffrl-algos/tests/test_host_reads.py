"""On a GPU the host must not wait for numbers in the middle of an update: counted here, where reading costs nothing."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import diffsim_core
from diffrl_algos import get_algorithm
from diffrl_algos.torch import _account
from diffsim_core._interop_torch import TorchBackend

READS = ("_local_scalar_dense", "nonzero", "masked_select", "unique")
"""Operations whose result the host has to wait for."""


class HostReads(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in READS or (name == "index" and any(_is_mask(index) for index in args[1])):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def _is_mask(index):
    return isinstance(index, torch.Tensor) and index.dtype == torch.bool


def reads(name: str, horizon: int, minibatches: int) -> Counter[str]:
    """Reads of the second update in addition to that of ``account``, in worlds that are not looked at, as on a GPU."""
    entry = get_algorithm(name)
    sizes = {"critic_minibatches": minibatches} if hasattr(entry.config_class()(), "critic_minibatches") else {}
    config = entry.config_class()(horizon=horizon, actor_hidden=(8,), **sizes)
    env = diffsim_core.make("hopper", num_envs=8)
    env._look = False
    algorithm = entry.build(config)
    state, _ = algorithm.update(algorithm.init(env, 0))
    with HostReads() as mode, unreadable():
        algorithm.update(state)
    return mode.found


@contextlib.contextmanager
def unreadable():
    """The window, too, must do without a look at numbers; and count the one transfer in which ``account`` reads all."""
    can_read, read = TorchBackend.can_read, _account._read
    transfers = []
    TorchBackend.can_read = lambda self, device: False
    _account._read = lambda learned: transfers.append(learned) or read(learned)
    try:
        yield
    finally:
        TorchBackend.can_read, _account._read = can_read, read
    assert len(transfers) == 1


@pytest.mark.parametrize(
    ("name", "most"), [("shac", 0), ("sapo", 0), ("apg", 0), ("agpo", 0), ("ppo", 6), ("gippo", 11)]
)
def test_reads_do_not_grow_with_the_window(name, most):
    """Of AHAC they do: its critic is fitted until its loss stands still."""
    few, many = reads(name, 8, 2), reads(name, 16, 8)
    assert many == few and few["_local_scalar_dense"] == few.total() <= most


def test_a_read_would_be_found():
    x = torch.arange(3.0)
    with HostReads() as mode:
        bool((x > 1).any())
        x[x > 1]
        x.sum().item()
    assert mode.found == {"_local_scalar_dense": 2, "index": 1}
