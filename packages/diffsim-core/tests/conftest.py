"""Fixtures of all tests of this package."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["separate", "fused"])
def both_ways(request, monkeypatch):
    """Take the steps of ``make_pendulum`` as separate operations, and as one operation each."""
    from . import pendulum

    monkeypatch.setattr(pendulum, "FUSED", request.param == "fused")
    return request.param
