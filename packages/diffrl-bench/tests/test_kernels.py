"""What kernels take of a GPU, found without one."""

from __future__ import annotations

import json

import pytest
import warp as wp

from diffrl_bench._cubin import Kernel, compile_for, read_cubin
from diffrl_bench._kernels import ARCHITECTURES, bench_kernels, resident_warps
from diffrl_bench.cli import main


def quickly(module, arch):
    """``compile_for`` at a level of optimisation that takes half the time."""
    level = wp.get_module_options(module)["optimization_level"]
    wp.set_module_options({"optimization_level": 1}, module)
    try:
        return compile_for(module, arch)
    finally:
        wp.set_module_options({"optimization_level": level}, module)


@pytest.mark.parametrize(("arch", "compiler"), [(80, quickly), (90, compile_for), (100, quickly)])
def test_the_simulator_compiles_for_every_architecture(arch, compiler, monkeypatch):
    monkeypatch.setattr("diffrl_bench._kernels.compile_for", compiler)
    report = bench_kernels("cartpole", [arch])
    step, vjp = report["kernels"]
    assert (step["kernel"], vjp["kernel"]) == ("control_step", "control_step_vjp")
    for row in (step, vjp):
        assert row["arch"] == arch and 16 < row["registers"] <= 255 and row["local_bytes"] > 0
        assert row["code_bytes"] > 10_000 or compiler is quickly, "without inlining the functions lie elsewhere"
        assert row["resident_worlds"] == 32 * row["resident_warps"] * ARCHITECTURES[arch].processors
    assert vjp["registers"] >= step["registers"] or compiler is quickly


def test_what_is_read_is_what_was_written():
    """A kernel with an array of 1,024 floats that no register can hold, and one with next to nothing."""
    module = wp.get_module("diffrl_bench_test_kernels")
    Many = wp.types.vector(length=1024, dtype=float)

    @wp.kernel(module=module, enable_backward=False)
    def large(index: wp.array[int], out: wp.array[float]):
        values = Many()
        for k in range(64):
            values[index[k]] = float(k)
        out[0] = values[index[64]]

    @wp.kernel(module=module, enable_backward=False)
    def small(out: wp.array[float]):
        out[0] = 1.0

    found = compile_for(module, 90)
    assert set(found) == {"large", "small"}
    assert 4096 <= found["large"].local_bytes < 4096 + 512
    assert found["small"].local_bytes == 0
    assert found["small"].registers < 40 < found["large"].registers <= 255
    assert found["small"].code_bytes < found["large"].code_bytes


@pytest.mark.parametrize(
    ("registers", "shared", "arch", "warps"),
    [
        (32, 0, 90, 32),  # 32 blocks
        (64, 0, 90, 32),  # registers would do for just as many
        (65, 0, 90, 28),  # 72 each: 7 warps in each quarter
        (152, 2048, 90, 12),
        (223, 2048, 90, 8),
        (255, 0, 80, 8),
        (32, 40_000, 80, 4),  # 164 KB hold four blocks
        (32, 40_000, 90, 5),
    ],
)
def test_occupancy_is_that_of_the_programming_guide(registers, shared, arch, warps):
    kernel = Kernel(registers, 0, shared, 0)
    assert resident_warps(kernel, ARCHITECTURES[arch]) == warps


def test_large_blocks_share_one_limit():
    assert resident_warps(Kernel(64, 0, 0, 0), ARCHITECTURES[90], block=256) == 32
    assert resident_warps(Kernel(128, 0, 0, 0), ARCHITECTURES[90], block=512) == 16


def test_bad_input_is_named(tmp_path, capsys):
    assert main(["kernels", "--arch", "50"]) == 2
    assert "arch is 50; it must be one of 80, 90, 100" in capsys.readouterr().err
    assert main(["kernels", "--task", "dejong"]) == 2
    assert "task 'dejong' has no CUDA kernels of its own" in capsys.readouterr().err
    (tmp_path / "a.cubin").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.cubin is not an object file"):
        read_cubin(tmp_path / "a.cubin")


def test_the_command_prints_a_table_and_json(capfd, monkeypatch):
    assert main(["kernels", "--task", "pace_car_1", "--arch", "90"]) == 0
    text = capfd.readouterr().out
    assert "traffic_step_vjp" in text and "H100" in text and "forward and" not in text
    monkeypatch.setattr("diffrl_bench._kernels.compile_for", quickly)
    assert main(["kernels", "--task", "pace_car_1", "--arch", "90", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert [row["kernel"] for row in report["kernels"]] == ["traffic_step", "traffic_step_vjp"]
