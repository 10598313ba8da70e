"""The same source through CUDA's compiler: proves that it compiles for a GPU where there is none."""

from __future__ import annotations

import pytest
import warp as wp

from diffsim_mpm.tet._kernels import kernels


@pytest.mark.parametrize(("arch", "dtype"), [(80, "float32"), (90, "float64"), (100, "float32")])
def test_compiles_to_a_cubin(tmp_path, arch, dtype):
    module = kernels(dtype, True).module
    level = wp.get_module_options(module)["optimization_level"]
    wp.set_module_options({"optimization_level": 1}, module)  # half the time, the same source
    try:
        wp.compile_aot_module(module, device=None, arch=arch, module_dir=str(tmp_path), use_ptx=False, strip_hash=True)
    finally:
        wp.set_module_options({"optimization_level": level}, module)
    (cubin,) = tmp_path.glob("*.cubin")
    code = cubin.read_bytes()
    assert code.startswith(b"\x7fELF")
    for kernel in (b"tet_step_cuda_kernel_forward", b"tet_step_vjp_cuda_kernel_forward"):
        assert kernel in code
