"""The same source through CUDA's compiler: proves that it compiles for a GPU where there is none."""

from __future__ import annotations

import pytest
import warp as wp

from diffsim_mpm._kernels import SizeClass, kernels
from diffsim_mpm.materials import MATERIALS, compiled_materials


@pytest.mark.parametrize(("dtype", "arch"), [("float32", 80), ("float32", 90), ("float64", 100)])
def test_compiles_to_a_cubin(tmp_path, dtype, arch):
    """Every material, with shapes and joints."""
    module = kernels(dtype, True, SizeClass.of(compiled_materials(list(MATERIALS)), 20, 3, 4)).module
    level = wp.get_module_options(module)["optimization_level"]
    wp.set_module_options({"optimization_level": 1}, module)  # a third of the time, the same source
    try:
        wp.compile_aot_module(module, device=None, arch=arch, module_dir=str(tmp_path), use_ptx=False, strip_hash=True)
    finally:
        wp.set_module_options({"optimization_level": level}, module)
    (cubin,) = tmp_path.glob("*.cubin")
    code = cubin.read_bytes()
    assert code.startswith(b"\x7fELF")
    forth = ("leave", "reserve", "list", "sort", "grid", "move")
    for stage in (*forth, "move_vjp", "grid_vjp", "leave_vjp", "poses_vjp", "joints_vjp"):
        assert f"mpm_{stage}_cuda_kernel_forward".encode() in code
