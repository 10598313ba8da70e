"""Sine, cosine, exponential and logarithm of lanes, against NumPy in double precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffsim_core.native import Arguments, Launch, Launcher, native_kernels

NAMES = ("sine", "cosine", "exponential", "logarithm")
_ARGUMENTS = Arguments("ElementaryArgs", x="const T*", **dict.fromkeys(NAMES, "T*"))


def evaluate(x: Any) -> dict[str, Any]:
    dtype = str(x.dtype)
    kernels = native_kernels(
        f"diffsim_test_elementary_{dtype}",
        "elementary.h",
        {"elementary": _ARGUMENTS},
        folders=[Path(__file__).parent],
        dtype=dtype,
        on_cuda=False,
        defines={},
    )
    program = Launcher(kernels, device="cpu", constants={}, threads=1).program(
        Launch("elementary", items=lambda n: n), given=("x", *NAMES)
    )
    whole = np.resize(x, -(-len(x) // kernels.lanes) * kernels.lanes)
    out = {name: np.empty_like(whole) for name in NAMES}
    program.run(len(whole) // kernels.lanes, 1, [a.ctypes.data for a in (whole, *out.values())])
    return {name: a[: len(x)] for name, a in out.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_accuracy(dtype):
    """Below two units in the last place, over the range of the number type and close to where the result is zero."""
    rng, ulp = np.random.default_rng(0), np.finfo(dtype).eps
    x = rng.uniform(-86, 87, 100_000).astype(dtype)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(evaluate(x)["exponential"] / exact - 1).max() < 2 * ulp
    spread = [
        np.exp(rng.uniform(-80, 80, 100_000)),
        rng.uniform(0.7, 1.5, 100_000),
        1 + rng.uniform(-1e-3, 1e-3, 100_000),
    ]
    x = np.concatenate(spread).astype(dtype)
    exact = np.log(x.astype(np.float64))
    assert (np.abs(evaluate(x)["logarithm"] - exact) <= 2 * ulp * np.abs(exact)).all()
    x = rng.uniform(-1e3, 1e3, 100_000).astype(dtype)
    found = evaluate(x)
    assert np.abs(found["sine"] - np.sin(x.astype(np.float64))).max() < 2 * ulp
    assert np.abs(found["cosine"] - np.cos(x.astype(np.float64))).max() < 2 * ulp


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_too_large_too_small_or_no_number(dtype):
    largest = np.finfo(dtype).max
    found = evaluate(np.array([0, 1, -1, np.inf, -np.inf, np.nan, largest, -largest], dtype))
    with np.errstate(all="ignore"):
        e = np.array([1, np.e, 1 / np.e, np.inf, 0, np.nan, np.inf, 0])
        log = np.array([-np.inf, 0, np.nan, np.inf, np.nan, np.nan, np.log(float(largest)), np.nan])
    np.testing.assert_allclose(found["exponential"], e, rtol=3e-7)
    np.testing.assert_allclose(found["logarithm"], log, rtol=3e-7)
