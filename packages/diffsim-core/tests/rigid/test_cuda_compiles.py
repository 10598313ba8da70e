"""The same source through CUDA's compiler: proves that it compiles for a GPU where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import warp as wp

from diffsim_core.rigid._kernels import SizeClass, kernels
from diffsim_core.rigid._sensor_kernels import sensor_kernels

from .added import HUNT_CROSSLEY, SCREW


def compile_quickly(module, folder):
    """The cubin at a level of optimisation that takes a third of the time; the compiler sees the same source."""
    level = wp.get_module_options(module)["optimization_level"]
    wp.set_module_options({"optimization_level": 1}, module)
    try:
        wp.compile_aot_module(module, device=None, arch=90, module_dir=str(folder), use_ptx=False, strip_hash=True)
    finally:
        wp.set_module_options({"optimization_level": level}, module)
    (cubin,) = folder.glob("*.cubin")
    return cubin.read_bytes()


@pytest.mark.parametrize("inputs", [0, 15])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiles_to_a_cubin(tmp_path, dtype, inputs):
    """Bare, and with everything that is compiled in when a model asks for it."""
    size = SizeClass.of(9, 14, 81, 8, on_cuda=True)
    if inputs:
        size = replace(
            size,
            servos=True,
            servo_totals=True,
            groups=True,
            spins=True,
            muscles=True,
            passive=True,
            tendons=True,
            wraps=True,
            joints=(SCREW,),
            joint_parameters=1,
            laws=(HUNT_CROSSLEY,),
        )
        size = replace(size, cliques=True, loops=True, implicit=True, couplings=True).with_inputs(546, inputs)
    code = compile_quickly(kernels(dtype, True, size).module, tmp_path)
    assert code.startswith(b"\x7fELF")
    for kernel in (b"control_step_cuda_kernel_forward", b"control_step_vjp_cuda_kernel_forward"):
        assert kernel in code


def test_sensors_compile_to_a_cubin(tmp_path):
    module = sensor_kernels("float32", True, SizeClass.of(9, 14, 81, 8, on_cuda=True), 64).module
    assert b"sense_vjp_cuda_kernel_forward" in compile_quickly(module, tmp_path)
