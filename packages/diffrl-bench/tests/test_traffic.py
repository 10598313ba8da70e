"""``bench_traffic``: rates by their definition, and a whole report on few vehicles."""

from __future__ import annotations

import json

import pytest

from diffrl_bench import TrafficBench, bench_traffic
from diffrl_bench._stopwatch import Lap
from diffrl_bench._traffic import PUBLISHED, _rate, traffic_text


def test_rates_are_medians_per_second_of_processor_time() -> None:
    row = _rate("ours", {"all": [Lap(1.0, 2.0), Lap(2.0, 4.0), Lap(8.0, 1.0)]}, 400)
    assert row["updates_per_cpu_s"] == 200.0, "median of 200, 100 and 400"
    assert row["spread"] == {"median": 200.0, "min": 100.0, "max": 400.0}
    assert row["updates_per_s"] == 200.0, "400 over the median of 1, 2 and 8"


def test_a_report_holds_every_comparison() -> None:
    pytest.importorskip("libsumo")
    report = bench_traffic(TrafficBench(num_vehicles=30, steps=5, worlds=(2, 5), horizon=4, repeats=2))
    json.dumps(report, allow_nan=False)
    names = [row["name"] for row in report["highway"]]
    assert names == [
        "ours, 1 world, forward",
        "ours, 1 world, forward and backward",
        "ours, 64 worlds, forward",
        "ours, 64 worlds, forward and backward",
        "SUMO",
    ]
    for row in report["highway"]:
        assert row["over_sumo"] == pytest.approx(row["updates_per_cpu_s"] / report["highway"][-1]["updates_per_cpu_s"])
    assert [row["num_envs"] for row in report["worlds"]] == [2, 5]
    for row in report["pace_cars"]:
        assert row["env_over_published"] == pytest.approx(row["env_steps_per_cpu_s"] / PUBLISHED[row["num_lanes"]])
        assert row["env_world_step_us"] * row["env_steps_per_cpu_s"] == pytest.approx(1e6)
    text = traffic_text(report)
    assert "30 drivers on 4 lanes" in text and "10 lanes, 1,024 worlds" in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_vehicles": 0}, "num_vehicles is 0"),
        ({"num_vehicles": 3}, "at least num_lanes, 4"),
        ({"worlds": ()}, r"worlds is \[\]"),
        ({"repeats": 0}, "repeats is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrafficBench(**fields)  # pyright: ignore[reportArgumentType]
