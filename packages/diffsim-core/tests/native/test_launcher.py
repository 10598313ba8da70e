"""Programs of several launches, with scratch and arguments by name: on threads, and as CUDA runs them."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from diffsim_core.native import Arguments, Launch, Launcher

from .grid import CELLS, FUNCTIONS, PARTICLES, Grid, expected, grid_kernels, some_particles


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("on_cuda", [False, True])
def test_launches_run_in_their_order_and_share_the_grid(dtype, on_cuda):
    engine = Grid(dtype, on_cuda=on_cuda)
    for n in (5, 300, 5):  # scratch grows, and serves fewer worlds afterwards
        particles = some_particles(n, n, dtype)
        tolerance = 1e-5 if dtype == "float32" else 1e-14
        np.testing.assert_allclose(engine(*particles), expected(*particles), rtol=tolerance, atol=tolerance)


def test_any_number_of_threads_and_cuda_give_the_same_bits():
    one, two, three, cuda = Grid(threads=1), Grid(threads=2), Grid(threads=3), Grid(on_cuda=True)
    for turn in range(60):
        particles = some_particles(50 + turn, turn)
        bits = one(*particles).tobytes()
        assert two(*particles).tobytes() == bits and three(*particles).tobytes() == bits
        assert cuda(*particles).tobytes() == bits


def test_the_engine_compiles_to_a_cubin(tmp_path):
    module = grid_kernels(on_cuda=True).module
    wp.compile_aot_module(module, device=None, arch=90, module_dir=str(tmp_path), use_ptx=False, strip_hash=True)
    (cubin,) = tmp_path.glob("*.cubin")
    code = cubin.read_bytes()
    assert code.startswith(b"\x7fELF")
    for function in FUNCTIONS:
        assert f"{function}_cuda_kernel_forward".encode() in code


def scratch_of(grid):
    scratch = grid.launcher.scratch
    return lambda worlds, items: dict(zip(scratch.names, scratch.values(worlds, items), strict=True))


def test_scratch_stays_where_it_is_until_more_is_needed():
    values = scratch_of(Grid(threads=4))
    first = values(100, 100)
    assert values(100, 100) == first == values(7, 7)
    larger = values(1000, 1000)
    assert larger["grid"] != first["grid"] and larger["list"] == first["list"]  # a worker's is for one world at a time
    assert first["list"] % 64 == 0 and first["list_stride"] * 4 % 64 == 0 and first["list_stride"] >= PARTICLES
    assert values(100, 100) == larger == values(7, 7), "the old memory is gone"


def test_on_cuda_every_item_is_a_worker():
    values = scratch_of(Grid(on_cuda=True))
    assert values(10, 10)["list"] != values(10, 1000)["list"]


def test_a_real_that_the_number_type_cannot_hold_is_infinite():
    arguments = Arguments("Args", limit="T", count="int")
    packer = arguments.packer("float32")
    room = np.zeros(1, dtype=np.int64)
    packer.pack_into(room, tuple(packer.rounded({"limit": 1e300, "count": 3}).values()))
    assert np.isinf(room.view(np.float32)[0]) and room.view(np.int32)[1] == 3
    assert arguments.packer("float64").rounded({"limit": 1e300})["limit"] == 1e300


def test_structs_are_packed_as_numpy_lays_out_c():
    arguments = Arguments("Args", a="int", b="T", c="T*", d="int", e="own T*", f="int")
    for dtype, real in (("float32", np.float32), ("float64", np.float64)):
        kinds = [("a", np.int32), ("b", real), ("c", np.uint64), ("d", np.int32), ("e", np.uint64)]
        layout = np.dtype([*kinds, ("e_stride", np.uint64), ("f", np.int32)], align=True)
        packer = arguments.packer(dtype)
        assert packer.size == layout.itemsize
        room = np.zeros(1, layout)
        values = (1, 2.5, 3, 4, 5, 6, 7)
        packer.pack_into(room.view(np.uint8), values)
        assert room[0].tolist() == values and packer.names == layout.names


def test_wrong_lists_and_calls_are_named():
    with pytest.raises(ValueError, match="argument 'q' of Args has type 'float'; known are int, T, "):
        Arguments("Args", q="float")
    launcher = Grid().launcher
    with pytest.raises(ValueError, match="launch of 'clear' lacks the arguments out"):
        launcher.program(Launch("clear"), given=("carried", "cell"))
    with pytest.raises(ValueError, match=r"no function of this program \(clear\) lists the arguments output"):
        launcher.program(Launch("clear"), given=("carried", "cell", "out", "output"))
    with pytest.raises(ValueError, match="there is no function 'sort' to launch; the kernels have clear, scatter"):
        launcher.program(Launch("sort"), given=())
    with pytest.raises(ValueError, match="got 2 arguments, expected 3: carried, cell, out"):
        Grid().program.run(3, 1, (0, 0))
    for name, listed in (("cells", "int"), ("pile", "")):
        with pytest.raises(ValueError, match=rf"scratch '{name}' must be a pointer of one type.*\[.*{listed}.*\]"):
            Launcher(grid_kernels(), device="cpu", constants={}, scratch={name: lambda n: n * CELLS}, threads=1)
