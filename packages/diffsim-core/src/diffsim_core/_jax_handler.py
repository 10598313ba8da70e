"""Python functions as targets of XLA's foreign function interface, on a CPU.

They read no more of a call than addresses and shapes, so a crossing costs a fraction of one through Warp's
``jax_callable``, which prepares arrays and launches for any kernel. The layout of a call is that of XLA's C interface
(``xla/ffi/api/c_api.h``, which jaxlib carries), version 0.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

Function = Callable[[Sequence["Memory"]], None]

# Where the fields of an XLA_FFI_CallFrame are, in words of eight bytes.
_EXTENSION, _API, _STAGE, _ARGS, _RETS, _WORDS = 1, 2, 4, 9, 14, 15
_NUM_ARGS, _NUM_RETS = 7, 12
_EXECUTE = 3
_METADATA = 1
_INTERNAL = 13
_CREATE_ERROR = 6  # of an XLA_FFI_Api, in words
_numbers = itertools.count()
_kept: list[Any] = []
"""Handlers, which XLA may call as long as the process lives: a target cannot be taken back."""
_QUIET = 0.2
"""Once no handler has been called for so long [s], nothing that calls one is taken to run."""


@dataclass
class _Calls:
    """Of all handlers."""

    last: float = 0.0
    """When the last one was, by ``time.monotonic`` [s]."""
    refused: bool = False
    """Whether the interpreter is about to end, so that no more are served."""


_calls = _Calls()


class Memory(NamedTuple):
    """An argument or result of a call."""

    ptr: int
    shape: tuple[int, ...]


class _ErrorArgs(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    )


def register(name: str, function: Function) -> str:
    """Make ``function`` a target; returns the target's name for ``jax.ffi.ffi_call``.

    ``function`` gets the arguments and then the results, in row-major order. What it raises, XLA raises.
    """
    target = f"diffsim_{name}_{next(_numbers)}"
    _register(target, "cpu", function)
    _register(target, "CUDA", _refuse)
    return target


def _register(target: str, platform: str, function: Function) -> None:
    def handle(frame: int) -> int | None:
        words = (ctypes.c_size_t * _WORDS).from_address(frame)
        if words[_EXTENSION] and _says_version(words[_EXTENSION], words[_API]):
            return None
        if words[_STAGE] & 0xFFFFFFFF != _EXECUTE:
            return None
        _calls.last = time.monotonic()
        try:
            if _calls.refused:
                raise RuntimeError("the interpreter ends")
            function([*_memory(words[_ARGS], words[_NUM_ARGS]), *_memory(words[_RETS], words[_NUM_RETS])])
        except BaseException as error:
            return _error(words[_API], f"{type(error).__name__}: {error}")
        return None

    handler = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(handle)
    _kept.append(handler)
    jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(ctypes.cast(handler, ctypes.c_void_p).value), platform)


@atexit.register
def _end() -> None:
    """Let nothing run on when the interpreter ends: a thread of XLA that waits for it then would wait forever.

    JAX computes ahead of the program. Results that somebody holds are waited for, other computations are broken off.
    """
    with contextlib.suppress(Exception):  # of a computation, which nobody will ask for
        jax.block_until_ready(jax.live_arrays())
    _calls.refused = True
    while time.monotonic() - _calls.last < _QUIET:
        time.sleep(0.01)


def _refuse(memory: Sequence[Memory]) -> None:
    raise ValueError("arrays are on CUDA, the simulator was made for cpu: jax.device_put them")


def _memory(table: int, count: int) -> list[Memory]:
    """The buffers of a table of pointers."""
    found = []
    for address in (ctypes.c_size_t * count).from_address(table) if count else ():
        ptr, rank, dims = _BUFFER.unpack_from((ctypes.c_char * _BUFFER.size).from_address(address))
        found.append(Memory(ptr, tuple((ctypes.c_int64 * rank).from_address(dims)) if rank else ()))
    return found


_BUFFER = struct.Struct("@24xPqP")
"""Size, extension and type of an XLA_FFI_Buffer; then data, rank and dimensions."""


def _says_version(extension: int, api: int) -> bool:
    """Whether the call only asks which version the handler was written for: any, what is read never moves."""
    words = (ctypes.c_size_t * 4).from_address(extension)
    if words[1] & 0xFFFFFFFF != _METADATA:
        return False
    offered = (ctypes.c_int * 2).from_address(api + 32)
    (ctypes.c_int * 2).from_address(words[3] + 24)[:] = offered[:]
    return True


def _error(api: int, message: str) -> int:
    create = (ctypes.c_size_t * (_CREATE_ERROR + 1)).from_address(api)[_CREATE_ERROR]
    args = _ErrorArgs(ctypes.sizeof(_ErrorArgs) - 4, None, message.encode(), _INTERNAL)
    return ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(create)(ctypes.addressof(args))
