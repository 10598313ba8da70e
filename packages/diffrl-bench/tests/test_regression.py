"""Short trainings learn as they did when their results were committed: what CI compares, returns and never times."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffrl_bench._compare import RETURN, compare, compare_text
from diffrl_bench._runner import RunSettings, run_suite
from diffrl_bench._suite import load_suite

BASE = Path(__file__).parents[3] / "docs/results/regression"


@pytest.mark.slow
def test_returns_are_not_below_the_committed_ones(tmp_path: Path) -> None:
    rows = run_suite(load_suite("regression"), RunSettings(out=tmp_path))
    assert all(row["status"] == "finished" for row in rows), rows
    changes = compare(BASE, tmp_path, [RETURN], tolerance=0.1)
    assert {change.name for change in changes} == {"shac cartpole", "gippo dejong"}
    assert [change for change in changes if change.verdict not in ("same", "rose")] == [], compare_text(changes)
