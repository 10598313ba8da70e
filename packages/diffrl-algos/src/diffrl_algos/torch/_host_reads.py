"""``HostReads``: notices every place where the host would wait for a number of the device, also where there is none.

A CUDA graph holds device work only. What the host reads in between would be read once, at capture, and never again; so
torch ends a capture there, often with an error that names no line of ours. On a CPU reading costs nothing and nobody
notices. Here every tensor counts as one of the device. What belongs to the host (seeds, counters, learning rates) must
be Python numbers or NumPy arrays.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode

_TORCH = str(Path(torch.__file__).parent)
_SHAPED = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Operations whose result, or its shape, the host has to know: ``item``, ``equal``, ``nonzero``, ``unique``, ..."""
_INDEXED = {"index", "index_put", "index_put_", "_unsafe_index", "_unsafe_index_put"}
"""Operations that read a mask among their indices, and nothing otherwise."""
_OUT = {"cpu", "numpy", "tolist", "__array__"}
"""Methods that leave the device and that the dispatcher does not see on a CPU."""
_IN = {"tensor", "as_tensor", "asarray"}
"""Functions that bring numbers of the host to the device, unless they are given a tensor. Of ``from_numpy`` only the
copy to a device that is not the CPU is seen."""


class HostRead(RuntimeError):
    """The host would wait for the device."""


class HostReads:
    """A context that refuses host reads, or counts them.

    Args:
        what: what runs inside, for the message.
        refuse: raise at the first one; otherwise count them all in ``found``, by the name of the operation.

    Raises:
        HostRead: on the way, with the operation, its place, and what to do instead.
    """

    def __init__(self, what: str = "this block", *, refuse: bool = True) -> None:
        self.what = what
        self.refuse = refuse
        self.found: Counter[str] = Counter()
        self._modes: list[Any] = []

    def __enter__(self) -> Self:
        self._modes = [_Operations(self._note), _Functions(self._note)]
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(kind, error, trace)

    def _note(self, name: str, does: str) -> None:
        self.found[name] += 1
        if self.refuse:
            raise HostRead(
                f"{name} at {_place()} {does}, so {self.what} cannot be one graph of a GPU; compute with tensors "
                "(torch.where in place of a branch), or do it in account, which reads everything at once"
            )


Note = Callable[[str, str], None]


class _Operations(TorchDispatchMode):
    def __init__(self, note: Note) -> None:
        super().__init__()
        self._note = note

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in _INDEXED:
            # A single number put under a mask becomes masked_fill.
            one = len(args) > 2 and args[2].numel() == 1
            if not one and any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
                self._note(name, "reads a mask to know how many entries it selects")
        elif _SHAPED & {*func.tags} and kwargs.get("output_size") is None:
            self._note(name, "makes the host wait for its result")
        elif name in ("_to_copy", "copy_", "to") and _crosses(args, kwargs):
            self._note(name, "copies between host and device")
        return func(*args, **kwargs)


class _Functions(TorchFunctionMode):
    def __init__(self, note: Note) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = (resolve_name(func) or getattr(func, "__name__", "")).rpartition(".")[2]
        if name in _OUT or (name == "to" and "cpu" in (*args[1:2], kwargs.get("device"))):
            self._note(name, "copies an array to the host")
        elif name in _IN and not (args and isinstance(args[0], Tensor)):
            self._note(name, "copies numbers from the host")
        return func(*args, **kwargs)


def _crosses(args: Any, kwargs: Any) -> bool:
    """Whether a copy goes from one kind of device to another."""
    devices = [one.device for one in args[:2] if isinstance(one, Tensor)]
    devices += [torch.device(kwargs["device"])] if kwargs.get("device") is not None else []
    return len({device.type for device in devices} - {"meta"}) > 1


def _place() -> str:
    """File and line of whoever called torch."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(_TORCH) and frame.filename != __file__:
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return "an unknown place"
