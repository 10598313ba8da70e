"""Differences between variants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrl_bench._variants import differences, differences_text

RETURNS = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=12)


def rows(variant, returns, status="finished", task="ant"):
    row = {"algorithm": "shac", "variant": variant, "task": task, "status": status}
    return [{**row, "return_mean": value} for value in returns]


def test_the_interval_is_that_of_a_textbook():
    """Five seeds each with one spread: 8 degrees of freedom, of which t at 97.5 % is 2.306."""
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0], [11.0, 12.0, 13.0, 14.0, 15.0]
    (row,) = differences(rows("torch", a) + rows("compiled", b))
    half = 2.306004 * math.sqrt(2.5 / 5 + 2.5 / 5)
    assert (row["variant"], row["against"], row["seeds"]) == ("compiled", "torch", [5, 5])
    assert [row["difference"], row["low"], row["high"]] == pytest.approx([10.0, 10 - half, 10 + half], abs=1e-4)


def test_it_is_that_of_another_library():
    from scipy.stats import ttest_ind

    dice = np.random.default_rng(1)
    a, b = dice.normal(2.0, 1.0, 7), dice.normal(0.0, 5.0, 4)
    (row,) = differences(rows("a", b) + rows("b", a))
    expected = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert [row["low"], row["high"]] == pytest.approx([expected.low, expected.high])


def test_five_percent_of_equal_pairs_lie_outside():
    dice = np.random.default_rng(0)
    outside = 0
    for _ in range(600):
        (row,) = differences(rows("a", dice.normal(size=10)) + rows("b", 3 * dice.normal(size=10)))
        outside += not row["low"] <= 0 <= row["high"]
    assert 15 <= outside <= 50  # 30, and three and a half deviations of a binomial count


@given(RETURNS, RETURNS)
def test_the_order_changes_the_sign_only(a, b):
    (there,), (back,) = differences(rows("a", a) + rows("b", b)), differences(rows("b", b) + rows("a", a))
    assert there["difference"] == -back["difference"]
    assert [there["low"], there["high"]] == pytest.approx([-back["high"], -back["low"]])
    assert there["low"] <= there["difference"] <= there["high"]


def test_what_cannot_be_compared_is_left_out():
    found = rows("a", [1.0, 2.0]) + rows("b", [1.0]) + rows("c", [1.0, 2.0], status="failed") + rows("d", [3.0, 3.0])
    assert [row["variant"] for row in differences(found)] == ["d"]
    assert differences(rows("a", [1.0, 2.0]) + rows("a", [1.0, 2.0], task="hopper")) == []
    text = differences_text(differences(found), markdown=True)
    assert "shac ant: d against a" in text and "2 and 2" in text and "+1.5" in text


def test_variants_that_do_not_spread_have_an_interval_of_nothing():
    (row,) = differences(rows("a", [1.0, 1.0]) + rows("b", [3.0, 3.0, 3.0]))
    assert row["low"] == row["high"] == row["difference"] == 2.0


@pytest.mark.parametrize("scale", [1e-150, 1e-90, 1e90])
def test_the_interval_scales_with_the_returns(scale):
    a, b = [1.0, 2.0, 4.0], [3.0, 7.0]
    (one,), (scaled,) = (differences(rows("a", s * np.array(a)) + rows("b", s * np.array(b))) for s in (1.0, scale))
    assert [scaled["low"] / scale, scaled["high"] / scale] == pytest.approx([one["low"], one["high"]])
