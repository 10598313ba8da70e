"""``Buffer``: device memory between an array library and a simulator, a pointer with a shape."""

from __future__ import annotations

from typing import Any


class Buffer:
    """A contiguous row-major array that another object owns.

    Native kernels use ``ptr`` directly, at no cost. Kernels in Warp's language use ``array()``, which takes some ten
    microseconds.
    """

    __slots__ = ("device", "dtype", "ptr", "shape")

    def __init__(self, ptr: int, shape: tuple[int, ...], dtype: str, device: str) -> None:
        self.ptr = ptr
        self.shape = shape
        self.dtype = dtype
        self.device = device

    def array(self) -> Any:
        """This memory as a ``wp.array`` of the same shape, without a copy."""
        import warp as wp

        scalar = {"float32": wp.float32, "float64": wp.float64, "int32": wp.int32, "int64": wp.int64}[self.dtype]
        return wp.array(ptr=self.ptr, shape=self.shape, dtype=scalar, device=self.device, copy=False)

    @classmethod
    def of(cls, array: Any) -> Buffer:
        """A buffer on the memory of a contiguous ``wp.array``, which must outlive the buffer."""
        import warp as wp

        if not array.is_contiguous:
            raise ValueError(f"array of shape {array.shape} is not contiguous; pass array.contiguous()")
        name = {wp.float32: "float32", wp.float64: "float64", wp.int32: "int32", wp.int64: "int64"}[array.dtype]
        return cls(array.ptr or 0, tuple(array.shape), name, str(array.device))
