"""Worlds in a register."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_core.native import _module, cpu_lanes, wide_lanes


@pytest.mark.parametrize(
    ("extensions", "wide"),
    [
        ({"baseline": ["SSE"], "found": ["AVX2", "AVX512F", "AVX512_SKX"]}, 16),
        ({"baseline": ["X86_V2"], "found": ["X86_V3", "X86_V4"], "not found": ["AVX512_SPR"]}, 16),
        ({"baseline": ["X86_V2", "X86_V3", "X86_V4"]}, 16),
        ({"baseline": ["X86_V2"], "found": ["X86_V3"], "not found": ["X86_V4"]}, 8),
        ({"found": ["AVX512F"]}, 8),  # the first of such CPUs cannot mask vectors of other lengths
        ({}, 8),
    ],
)
def test_registers_are_those_that_numpy_finds(extensions, wide, monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": extensions})
    _module._has_avx512.cache_clear()
    try:
        assert (wide_lanes("float32"), wide_lanes("float64")) == (wide, wide // 2)
        assert cpu_lanes("float32") == 8
    finally:
        _module._has_avx512.cache_clear()
