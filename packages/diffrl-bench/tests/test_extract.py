"""Figures are the reports' numbers, with their units, and ratios are ours over theirs."""

from __future__ import annotations

from typing import Any

import pytest

from diffrl_bench._extract import figures_in
from diffrl_bench._figures import Findings, problems_of_figure, problems_of_subject

_AT = {"versions": {"libsumo": "1.28.0", "warp-lang": "1.19.0"}, "repeats": 5}


def _value(found: Findings, subject: str, quantity: str) -> float:
    (one,) = [one for one in found.figures if (one["subject"], one["quantity"]) == (subject, quantity)]
    return one["value"]


def _subject(found: Findings, name: str) -> dict[str, Any]:
    (one,) = [one for one in found.subjects if one["subject"] == name]
    return one


def _valid(found: Findings) -> bool:
    named = {one["subject"] for one in found.subjects if not one["missing"]}
    assert {one["subject"] for one in found.figures} == named
    return not [p for one in found.figures for p in problems_of_figure(one)] + [
        p for one in found.subjects for p in problems_of_subject(one)
    ]


def test_sim(sim_report: dict[str, Any]) -> None:
    sim_report["missing"] = [{"name": "newton", "reason": "not installed"}]
    found = figures_in("sim", sim_report)
    assert _valid(found)
    # 64 worlds of 32 steps of 1/60 s in 0.01 s; MuJoCo's 40,000 steps/s are 666.7 simulated seconds per second.
    assert _value(found, "ours", "forward") == pytest.approx(64 * 32 / 60 / 0.01)
    assert _value(found, "MuJoCo C, 1 thread", "ours over it, forward") == pytest.approx(204_800 / 40_000)
    # The processor time of the fixture's laps is twice their wall time.
    assert _value(found, "MuJoCo C, 1 thread", "ours over it, forward, CPU") == pytest.approx(102_400 / 40_000)
    assert _value(found, "mjx", "ours over it, forward + backward") == 110.0
    assert _value(found, "mjx", "ours over it, forward + backward, CPU") == 100.0
    (forward,) = [one for one in found.figures if (one["subject"], one["quantity"]) == ("mjx", "forward")]
    assert (forward["low"], forward["high"]) == pytest.approx((50.0, 150.0))
    assert _subject(found, "mjx")["version"] == "3.17.0" and "one iteration" in _subject(found, "mjx")["settings"]
    assert _subject(found, "newton")["missing"] == "not installed"


@pytest.mark.parametrize("sumo", [True, False])
def test_traffic(sumo: bool) -> None:
    names = ["ours, 1 world, forward", *(["SUMO"] if sumo else [])]
    rows: list[dict[str, Any]] = [
        {"name": name, "updates_per_cpu_s": 8.0 / 2**k, "updates_per_s": 4.0, "spread": {"min": 1.0, "max": 9.0}}
        for k, name in enumerate(names)
    ]
    for row in rows if sumo else ():
        row["over_sumo"] = row["updates_per_cpu_s"] / 4.0
    found = figures_in("traffic", {**_AT, "num_vehicles": 1000, "num_lanes": 4, "highway": rows})
    assert _valid(found)
    if sumo:
        assert _value(found, names[0], "over SUMO, CPU") == 2.0 and _subject(found, "SUMO")["version"] == "1.28.0"
    else:
        assert "diffsim-traffic[sumo]" in _subject(found, "SUMO")["missing"]


def test_mpm() -> None:
    names = ["ours, forward", "ours, forward and backward", "Warp, forward", "Warp, forward and backward"]
    rows = [{"name": name, "particle_substeps_per_cpu_s": 10.0 / (k + 1)} for k, name in enumerate(names)]
    scene = {"material": "von_mises", "num_envs": 2, "num_particles": 2500, "substeps": 40}
    found = figures_in("mpm", {**_AT, **scene, "rows": rows})
    assert _valid(found)
    assert _value(found, "Warp, forward", "ours over it, CPU") == pytest.approx(3.0)
    assert _value(found, "Warp, forward and backward", "ours over it, CPU") == pytest.approx(2.0)
    assert _subject(found, "Warp, forward")["version"] == "1.19.0"
    assert "mpm-peers" in _subject(found, "Taichi, forward")["missing"]
