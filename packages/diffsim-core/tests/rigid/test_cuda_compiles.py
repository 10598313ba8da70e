"""The same source through CUDA's compiler: proves that it compiles for a GPU where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import warp as wp

from diffsim_core.rigid._kernels import SizeClass, kernels
from diffsim_core.rigid._sensor_kernels import sensor_kernels

from .added import HUNT_CROSSLEY, SCREW


@pytest.mark.parametrize("inputs", [0, 15])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiles_to_a_cubin(tmp_path, dtype, inputs):
    """Bare, and with everything that is compiled in when a model asks for it."""
    size = SizeClass.of(9, 14, 81, 8, on_cuda=True)
    if inputs:
        size = replace(size, servos=True, muscles=True, joints=(SCREW,), joint_parameters=1, laws=(HUNT_CROSSLEY,))
        size = size.with_inputs(546, inputs)
    module = kernels(dtype, True, size).module
    wp.compile_aot_module(module, device=None, arch=90, module_dir=str(tmp_path), use_ptx=False, strip_hash=True)
    cubins = list(tmp_path.glob("*.cubin"))
    assert len(cubins) == 1
    code = cubins[0].read_bytes()
    assert code.startswith(b"\x7fELF")
    for kernel in (b"control_step_cuda_kernel_forward", b"control_step_vjp_cuda_kernel_forward"):
        assert kernel in code


def test_sensors_compile_to_a_cubin(tmp_path):
    module = sensor_kernels("float32", True, SizeClass.of(9, 14, 81, 8, on_cuda=True), 64)[0].module
    wp.compile_aot_module(module, device=None, arch=90, module_dir=str(tmp_path), use_ptx=False, strip_hash=True)
    (cubin,) = tmp_path.glob("*.cubin")
    assert b"sense_vjp_cuda_kernel_forward" in cubin.read_bytes()
