"""Exact sums of the CUDA source, run on a CPU: any order gives the same bits, and these are the right ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diffsim_mpm.chain import KinematicChain
from diffsim_mpm.shapes import Sphere

from .coupling_probe import Probe


def probe(dtype: str) -> Probe:
    return Probe(KinematicChain((), (Sphere(radius=0.1),)), dtype, on_cuda=True)


def numbers(kind: str, dtype: str) -> Any:
    random, limits = np.random.default_rng(1), np.finfo(dtype)
    some = random.standard_normal(300)
    wide = some * 2.0 ** random.integers(limits.minexp, limits.maxexp - 12, 300)
    values = {
        "normal": some,
        "wide": wide,
        "cancelling": np.concatenate([wide, -wide, [0.125]]),
        "negative": -np.abs(some),
        "tiny": limits.smallest_subnormal * random.integers(-9, 9, 300),
        "nothing": np.zeros(3),
        "one": [-3.7],
        "largest": [limits.max, limits.max, -limits.max],
    }
    return np.asarray(values[kind], dtype)


KINDS = ("normal", "wide", "cancelling", "negative", "tiny", "nothing", "one", "largest")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sum_is_exact_in_any_order(dtype: str, kind: str) -> None:
    values, random = numbers(kind, dtype), np.random.default_rng(2)
    with np.errstate(under="ignore"):
        expected = np.asarray(math.fsum(float(v) for v in sorted(values, key=lambda v: float(v))), dtype)
    adder = probe(dtype)
    found = {adder.total_of(random.permutation(values)).tobytes() for _ in range(4)}
    assert len(found) == 1
    limits = np.finfo(dtype)
    error = abs(float(np.frombuffer(found.pop(), dtype)[0]) - float(expected))
    assert error <= max(float(limits.eps) * abs(float(expected)), float(limits.smallest_subnormal))


def test_plain_addition_depends_on_the_order() -> None:
    """So a test that all orders agree says something."""
    values, random = numbers("wide", "float32"), np.random.default_rng(2)
    with np.errstate(over="ignore", invalid="ignore"):
        assert len({np.cumsum(random.permutation(values))[-1].tobytes() for _ in range(4)}) > 1


@pytest.mark.parametrize("strange", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_not_lost(strange: float) -> None:
    assert np.isnan(probe("float32").total_of([1.0, strange, 2.0]))
