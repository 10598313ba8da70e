"""``Tape``: a CUDA graph's stand-in on a CPU.

It holds torch's operations and the launches of compiled code as they were when it was recorded, with the same tensors
and the same Python numbers, and does them again without running any of the Python in between. So whatever was a
number of the host at the capture stays what it was, as on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from diffrl_algos.torch._state import map_leaves
from diffsim_core import _random
from diffsim_core.native import Program


class Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.work: list[Callable[[], None]] = []
        self.calls: list[str] = []

    def beside(self, call: Callable[[], Any]) -> Any:
        self.calls.append("beside")
        return call()

    def capture(self, call: Callable[[], Any], generator: torch.Generator) -> Any:
        self.calls.append("capture")
        rng = generator.get_state()
        undo = [self._recorded(Program, "run"), self._recorded(_random._Fill, "__call__")]
        try:
            with self:
                result = call()
        finally:
            for function in undo:
                function()
        generator.set_state(rng)
        # A capture computes nothing.
        map_leaves(lambda _, x: x.fill_(torch.nan) if isinstance(x, Tensor) and x.is_floating_point() else x, result)
        return result

    @torch.no_grad()
    def replay(self) -> None:
        self.calls.append("replay")
        for work in self.work:
            work()

    def _recorded(self, cls: type, name: str) -> Callable[[], None]:
        """Record the calls of a method that hands addresses to compiled code."""
        original = getattr(cls, name)

        def call(*args: Any) -> None:
            self.work.append(lambda: original(*args))
            original(*args)

        setattr(cls, name, call)
        return lambda: setattr(cls, name, original)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        outs, places = _tensors(out), {x.untyped_storage().data_ptr() for x in _tensors((args, kwargs))}

        def work() -> None:
            again = _tensors(func(*args, **kwargs))
            for old, new in zip(outs, again, strict=True):
                if old.untyped_storage().data_ptr() not in places:  # neither a view nor in place
                    old.copy_(new)

        self.work.append((lambda: outs) if func.overloadpacket.__name__.startswith("empty") else work)  # kept alive
        return out


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple | list) else ()
    return [x for part in parts for x in _tensors(part)]
