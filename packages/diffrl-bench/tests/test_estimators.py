"""The cost of gradest compared with the same expression by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diffrl_bench import _by_hand, _estimators
from diffrl_bench._estimators import bench_estimators, estimators_text
from diffrl_bench.cli import main


def test_every_function_is_timed_in_every_framework_and_equal_by_hand(
    one_object: Callable[[], dict[str, Any]],
) -> None:
    pytest.importorskip("jax")
    assert main(["estimators", "--rows", "20", "--columns", "6", "--repeats", "2", "--json"]) == 0
    report = one_object()
    assert len(report["rows"]) == 3 * len(_by_hand.BY_HAND)
    for row in report["rows"]:
        assert row["ratio_min"] <= row["ratio"] <= row["ratio_max"]
        assert row["gradest_s"] > 0
    assert report["largest_ratio"] == max(row["ratio"] for row in report["rows"])
    assert "numpy gae" in estimators_text(report)


def test_a_comparison_of_two_things_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_by_hand.BY_HAND, "soft_reward", lambda xp, reward, entropy: reward - entropy)
    with pytest.raises(ValueError, match="soft_reward on numpy differs from the expression by hand"):
        bench_estimators(shape=(4, 3), repeats=1, frameworks=["numpy"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--framework", "tinygrad"], "framework 'tinygrad' is unknown; expected one of numpy, torch, jax"),
        (["--rows", "1"], "expected at least 2 rows and columns"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["estimators", *arguments]) == 2
    assert message in capfd.readouterr().err


@pytest.mark.slow
def test_a_million_elements_take_at_most_twice_the_time() -> None:
    """The best of three runs for each row, as other work on the machine disturbs both sides."""
    runs = [bench_estimators(repeats=15)["rows"] for _ in range(3)]
    for rows in zip(*runs, strict=True):
        best = min(row["ratio"] for row in rows)
        assert best <= 2.0, f"{rows[0]['framework']} {rows[0]['function']}: {best:.2f}"


def test_the_arrays_have_what_the_functions_ask_for() -> None:
    arrays = _estimators._arrays((5, 4))
    assert (arrays["positive"] > 0).all()
    assert (arrays["done"] | ~arrays["terminated"]).all()
    assert all(np.isfinite(array).all() for array in arrays.values())
