"""The same source through CUDA's compiler: proves that it compiles for a GPU where there is none."""

from __future__ import annotations

import pytest
import warp as wp

from diffsim_traffic import LAWS
from diffsim_traffic._kernels import kernels


@pytest.mark.parametrize(
    ("law", "dtype", "smooth"),
    [("idm", "float32", False), ("idm", "float64", True), ("ovm", "float32", False), ("krauss", "float32", False)],
)
def test_compiles_to_a_cubin(tmp_path, law, dtype, smooth):
    module = kernels(LAWS[law], dtype, True, 1, smooth).module
    level = wp.get_module_options(module)["optimization_level"]
    wp.set_module_options({"optimization_level": 1}, module)  # half the time, the same source
    try:
        wp.compile_aot_module(module, device=None, arch=90, module_dir=str(tmp_path), use_ptx=False, strip_hash=True)
    finally:
        wp.set_module_options({"optimization_level": level}, module)
    (cubin,) = tmp_path.glob("*.cubin")
    code = cubin.read_bytes()
    assert code.startswith(b"\x7fELF")
    for kernel in (b"traffic_step_cuda_kernel_forward", b"traffic_step_vjp_cuda_kernel_forward"):
        assert kernel in code
