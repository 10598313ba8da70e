"""Figures as people read them."""

from __future__ import annotations

import pytest

from diffrl_bench._text import count, magnitude, rounded, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (251_499.0, "251,000"),
        (1_000_000.0, "1,000,000"),
        (999.6, "1,000"),
        (123.4, "123"),
        (12.34, "12.3"),
        (1.0, "1"),
        (0.01234, "0.0123"),
        (0.0, "0"),
        (-1234.0, "-1,230"),
        (None, "-"),
    ],
)
def test_rounded(value: float | None, text: str) -> None:
    assert rounded(value) == text


def test_magnitude() -> None:
    assert [magnitude(x) for x in (1.51e12, 0.0142, 2e-5, 0.0, None)] == ["1.5e+12", "0.0142", "2.0e-05", "0", "-"]


def test_count() -> None:
    assert count(1, "thread") == "1 thread"
    assert count(1024, "world") == "1,024 worlds"


def test_tables() -> None:
    rows = [("a", "1"), ("long", "200")]
    assert table(("", "n"), rows) == "        n\n----  ---\na       1\nlong  200"
    assert table(("", "n"), rows, markdown=True) == "|      |   n |\n| ---- | --: |\n| a    |   1 |\n| long | 200 |"
