"""Laps, interleaving and spreads, against a clock turned by hand."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from diffrl_bench._stopwatch import Clock, Lap, Stopwatch, busy_cores, interleave, spread


def test_laps_are_consecutive_and_restart_forgets(hand: Any) -> None:
    watch = Stopwatch(hand.clock)
    hand.move(5.0)
    watch.restart()
    hand.move(1.0, cpu=3.0)
    watch.lap("forward")
    hand.move(2.0, cpu=0.5)
    watch.lap("backward")
    assert watch.laps == {"forward": Lap(1.0, 3.0), "backward": Lap(2.0, 0.5)}
    assert hand.waits == 4, "every reading waits for the device first"


def test_cases_alternate_and_warm_up_does_not_count(hand: Any) -> None:
    order: list[str] = []

    def case(name: str, seconds: float) -> Any:
        def run(watch: Stopwatch) -> None:
            order.append(name)
            watch.restart()
            hand.move(seconds + len(order))
            watch.lap("work")

        return run

    found = interleave({"a": case("a", 0.0), "b": case("b", 100.0)}, repeats=3, warm_up=2, clock=hand.clock)
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a", "a", "b"]
    assert [lap.wall for lap in found["a"]["work"]] == [5.0, 8.0, 9.0]
    assert [lap.wall for lap in found["b"]["work"]] == [106.0, 107.0, 110.0]


def test_collector_rests_meanwhile_and_comes_back() -> None:
    seen: list[bool] = []
    assert gc.isenabled()
    interleave({"a": lambda watch: seen.append(gc.isenabled())}, repeats=1, warm_up=0)
    assert seen == [False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        interleave({"a": lambda watch: 1 // 0}, repeats=1)
    assert gc.isenabled()


def test_spread_and_busy_cores() -> None:
    assert spread([3.0, 1.0, 10.0, 2.0]) == {"median": 2.5, "min": 1.0, "max": 10.0}
    assert busy_cores([Lap(1.0, 3.0), Lap(3.0, 3.0)]) == 1.5
    assert busy_cores([Lap(0.0, 0.0)]) == 0.0


def test_the_computers_own_clocks_move() -> None:
    clock = Clock()
    before = clock.read()
    sum(range(200_000))
    after = clock.read()
    assert after.wall > before.wall
    assert after.cpu > before.cpu


def test_progress_grows_from_nothing_with_every_case() -> None:
    seen: list[tuple[str, float]] = []
    cases = {name: lambda watch: None for name in "ab"}
    interleave(cases, repeats=3, warm_up=1, progress=lambda *row: seen.append(row), part="it")
    assert seen == [("it", k / 8) for k in range(8)]
