"""``Arguments``: what a native function is handed, listed once by name."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import warp as wp

_OWN = "own "
_STRIDE = "_stride"
_TYPES = ("int", "T", "int*", "const int*", "T*", "const T*", f"{_OWN}int*", f"{_OWN}T*")
NUM_WORLDS = "num_worlds"
"""The argument that a launcher fills in itself, for functions that list it."""


class Arguments:
    """Names and C types of what native functions are handed: the one list from which everything else is made.

    From it come the C struct that a function takes by reference and reads by name (``args.q_out``), the parameter of
    the Warp kernel that hands it over on CUDA, and the packing of a launch. To add an argument, add it here and use it
    in C++.

    Args:
        struct: Name of the C struct, in namespace ``ds``.
        types: The C type of each argument. ``T`` is the engine's number type; a pointer may be ``const``. ``own T*``
            and ``own int*`` are scratch of the worker that handles an item, see :class:`Launcher`. ``num_worlds``, an
            ``int``, is filled in by the launcher.

    Raises:
        ValueError: for an unknown type.
    """

    def __init__(self, struct: str, **types: str) -> None:
        for name, kind in types.items():
            if kind not in _TYPES:
                raise ValueError(f"argument {name!r} of {struct} has type {kind!r}; known are {', '.join(_TYPES)}")
        self.struct = struct
        self.types: Mapping[str, str] = MappingProxyType(types)
        self.own = tuple(name for name, kind in types.items() if kind.startswith(_OWN))
        """Names of the arguments that point to a worker's own scratch."""
        self._fields: dict[str, str] = {}
        for name, kind in types.items():
            self._fields[name] = kind.removeprefix(_OWN)
            if name in self.own:
                self._fields[name + _STRIDE] = "size_t"

    def number_bytes(self, name: str, dtype: str) -> int:
        """Size of the numbers that the argument of this name points to [bytes]."""
        return 8 if dtype == "float64" and self.types[name].endswith("T*") else 4

    def packer(self, dtype: str) -> Packer:
        """What writes values by name where C++ expects the struct."""
        return Packer(self._fields, dtype)

    def declaration(self, dtype: str) -> str:
        """The C struct, and a check that the compiler lays it out as :meth:`packer` does."""
        fields = "".join(f"    {kind} {name};\n" for name, kind in self._fields.items())
        check = f'static_assert(sizeof({self.struct}) == {self.packer(dtype).size}, "not as Python packs it");\n'
        return f"struct {self.struct} {{\n{fields}}};\n{check}"

    def on_cpu(self, function: str) -> str:
        """C++ statements that handle items of ``job`` as ``worker``, until none is left in ``pool``."""
        copy = f"{self.struct} args = *(const {self.struct}*)job.args;"
        return f"{copy} {self._own_room('worker')}take_items(pool, job, args, {function});"

    def on_cuda(self, function: str) -> str:
        """A C++ function ``launch_FUNCTION`` that handles one item, from the struct as Warp hands it over."""
        values = ", ".join(f"({kind})from.{name}" for name, kind in self._fields.items())
        head = f"template <class From> DS_FN void launch_{function}(int item, const From& from)"
        body = f"{self.struct} args = {{{values}}}; {self._own_room('item')}{function}(item, args);"
        return f"{head}\n{{\n    {body}\n}}\n"

    def _own_room(self, worker: str) -> str:
        return "".join(f"args.{name} += size_t({worker}) * args.{name}{_STRIDE}; " for name in self.own)

    def warp_struct(self, dtype: str, module: wp.Module) -> Any:
        """The same layout as a struct of Warp's, which a kernel takes by value."""
        kinds = {"int": wp.int32, "T": wp.float64 if dtype == "float64" else wp.float32}
        annotations = {name: kinds.get(kind, wp.uint64) for name, kind in self._fields.items()}
        cls = type(self.struct, (), {"__annotations__": annotations, "__qualname__": self.struct})
        return wp.struct(cls, module=module)

    def fields_of(self, name: str) -> tuple[str, ...]:
        """The fields of an argument; a worker's own scratch also has the numbers from one worker to the next."""
        return (name, name + _STRIDE) if name in self.own else (name,)


def step_arguments(
    state: Iterable[str], control: Iterable[str], constants: Iterable[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Arguments of a simulator's step and of its vector-Jacobian product, by the names of its arrays.

    For an array ``q`` of the state they are ``q``, ``q_out`` and the cotangents ``gq``, ``gq_out``; for a control or a
    constant ``u`` they are ``u`` and ``gu``; then ``ok`` and ``saved``. Their order is that of
    :class:`diffsim_core.Dynamics`.
    """
    state = tuple(state)
    inputs = dict.fromkeys((*state, *control, *constants), "const T*")
    outputs = {f"{name}_out": "T*" for name in state}
    back = {f"g{name}": "const T*" for name in outputs} | {f"g{name}": "T*" for name in inputs}
    step = {**inputs, **outputs, "ok": "int*", "saved": "T*"}
    return step, {**inputs, "ok": "const int*", "saved": "T*", **back}


class Packer:
    """Writes the fields of a struct as C lays them out."""

    def __init__(self, fields: Mapping[str, str], dtype: str) -> None:
        real = "d" if dtype == "float64" else "f"
        codes = {"int": "i", "T": real, "size_t": "N"}
        format = [codes.get(kind, "P") for kind in fields.values()]
        self.names = tuple(fields)
        self._singles = tuple(name for name, code in zip(fields, format, strict=True) if code == "f")
        # "@" aligns as C does, and the zero pointers at the end fill up the last eight bytes
        wide = any(code in "PNd" for code in format)
        self._struct = struct.Struct("@" + "".join(format) + "0P" * wide)
        self.size = self._struct.size

    def pack_into(self, room: Any, values: Sequence[Any]) -> None:
        """Write the values of all fields, in the order of ``names``, to the start of a writable buffer."""
        self._struct.pack_into(room, 0, *values)

    def rounded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """``values`` with reals as the number type has them: infinite where they are too large for it."""
        singles = {name: ctypes.c_float(values[name]).value for name in self._singles if name in values}
        return {**values, **singles}
