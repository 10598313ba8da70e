"""The source for CUDA on a CPU, as a GPU may run it: the items of each launch in a random order."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp

from diffsim_core.native import _launcher, _module
from diffsim_mpm import _kernels
from diffsim_mpm.dynamics import MpmDynamics

_build, _MADE = MpmDynamics._build, {}


def for_cuda(monkeypatch: Any, order: np.random.Generator | None = None) -> None:
    """From now on simulators are made of what is made for CUDA; without ``order`` items run one after the other."""
    monkeypatch.setattr(MpmDynamics, "_build", lambda self, _: _build(self, True))
    if order is None:
        return
    monkeypatch.setattr(_kernels, "native_kernels", _named)
    monkeypatch.setattr(_module, "_cuda_kernel", _kernel)
    monkeypatch.setattr(MpmDynamics, "_kernels", _kernels_of)
    monkeypatch.setattr(_launcher.Program, "_commands", _shuffling(order))


def _named(name: str, *args: Any, **options: Any) -> Any:
    return _module.native_kernels(f"{name}_shuffled", *args, **options)


def _kernels_of(dynamics: MpmDynamics, on_cuda: bool) -> Any:
    shapes = len(dynamics.model.shapes.shapes) if dynamics.model.shapes else 0
    from diffsim_mpm._pack import materials_of

    size = _kernels.SizeClass.of(materials_of(dynamics.model), len(dynamics.parameters.all), dynamics.model.nq, shapes)
    key = (dynamics.dtype, size)
    if key not in _MADE:
        _MADE[key] = _kernels.kernels.__wrapped__(dynamics.dtype, on_cuda, size)
    return _MADE[key]


def _kernel(name: str, arguments: Any, dtype: str, module: Any) -> Any:
    """As that of the package, but for the order of the items."""
    struct = arguments.warp_struct(dtype, module)

    def native(item, args): ...

    native.__annotations__ = {"item": int, "args": struct}
    native.__qualname__ = f"native_{name}"
    native = wp.func_native(f"ds::launch_{name}(item, args);")(native)

    def kernel(order, args):
        native(order[wp.tid()], args)

    kernel.__annotations__ = {"order": wp.array(dtype=int), "args": struct}
    kernel.__qualname__ = name
    return wp.kernel(kernel, module=module)


def _shuffling(order: np.random.Generator) -> Any:
    def commands(program: Any, items: Any, num_worlds: int) -> Any:
        launcher, parts, held = program._launcher, [], []
        for launch, count in zip(program._launches, items, strict=True):
            kernel = launcher.kernels.entries[launch.function]
            _, struct = kernel.adj.arg_types.values()
            numbers = wp.array(order.permutation(count).astype(np.int32), dtype=int, device="cpu")
            command: Any = wp.launch(kernel, dim=count, inputs=[numbers, struct()], device="cpu", record_cmd=True)
            parts.append(program._part(launch, num_worlds, lambda size, room=command.params[-1]: room))
            held.append((command, numbers))

        def run(worth: int) -> None:
            for command, _ in held:
                command.launch()

        return parts, run

    return commands
