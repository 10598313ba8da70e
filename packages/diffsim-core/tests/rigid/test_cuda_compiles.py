"""The same source through CUDA's compiler: proves that it compiles for a GPU where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import warp as wp

from diffsim_core.rigid._kernels import SizeClass, kernels


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiles_to_a_cubin(tmp_path, dtype, more):
    module = kernels(
        dtype, True, replace(SizeClass.of(9, 14, 81, 8, on_cuda=True), servos=more, muscles=more, activations=4 * more)
    ).module
    wp.compile_aot_module(module, device=None, arch=90, module_dir=str(tmp_path), use_ptx=False, strip_hash=True)
    cubins = list(tmp_path.glob("*.cubin"))
    assert len(cubins) == 1
    code = cubins[0].read_bytes()
    assert code.startswith(b"\x7fELF")
    for kernel in (b"control_step_cuda_kernel_forward", b"control_step_vjp_cuda_kernel_forward"):
        assert kernel in code
