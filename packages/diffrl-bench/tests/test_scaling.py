"""``bench scaling``: which cases run, ratios within repeats, and a report of a few worlds."""

from __future__ import annotations

from typing import Any

import pytest

import diffsim_core
from diffrl_bench._extract import figures_in
from diffrl_bench._figures import problems_of_figure
from diffrl_bench._scaling import ScalingBench, cases_of, ratio
from diffrl_bench._stopwatch import Lap, Laps
from diffrl_bench.cli import main


def test_every_case_once_and_the_base_first() -> None:
    bench = ScalingBench(num_envs=(4, 8), horizon=2, horizons=(1, 2), base=8)
    assert cases_of(bench, (1, 2)) == [(8, 1, 2), (4, 1, 2), (4, 2, 2), (8, 2, 2), (8, 1, 1)]
    assert cases_of(bench, (None,)) == [(8, None, 2), (4, None, 2), (8, None, 1)]


def test_ratios_are_within_repeats() -> None:
    """The second repeat is ten times as slow for both; the ratio of rates stays."""

    def laps(*walls: float) -> Laps:
        return {"recording": [Lap(w, w) for w in walls], "backward": [Lap(w, w) for w in walls]}

    first, other = (8, 1, 2), (16, 1, 2)
    found = {"8 worlds, 1 threads, 2 steps": laps(1.0, 10.0), "16 worlds, 1 threads, 2 steps": laps(0.5, 5.0)}
    assert ratio(found, other, first, "forward_backward") == 4.0
    assert ratio(found, first, first, "forward_backward") == 1.0


def test_a_report_of_a_few_worlds(one_object: Any, tmp_path: Any) -> None:
    file = tmp_path / "scaling.svg"
    few = [
        "--num-envs",
        "2,4",
        "--threads",
        "1",
        "--horizon",
        "2",
        "--horizons",
        "1,2",
        "--base",
        "4",
        "--repeats",
        "1",
    ]
    assert main(["scaling", "--task", "cartpole", *few, "--plot", str(file), "--json"]) == 0
    report = one_object()
    assert [(row["num_envs"], row["threads"], row["horizon"]) for row in report["rows"]] == [
        *((4, 1, 2), (2, 1, 2), (4, 1, 1)),
    ]
    assert report["rows"][0]["forward_over_first"] == 1.0 and file.exists()
    # Memory is that of the simulator's own account: in proportion to worlds and steps.
    kept = [row["kept_window_bytes"] for row in report["rows"]]
    assert kept[0] == diffsim_core.kept_bytes(diffsim_core.make("cartpole", num_envs=4), 2) == 2 * kept[2]
    assert kept[1] <= kept[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-envs", "0,4"], "num_envs is (0, 4); expected different numbers of at least 1"),
        (["--horizons", "8,8"], "horizons is (8, 8); expected different"),
        (["--threads", "a"], "threads is 'a'; expected whole numbers"),
        (["--repeats", "0"], "repeats is 0; expected at least 1"),
        (["--task", "nowhere"], "nowhere"),
    ],
)
def test_bad_input(options: list[str], message: str, capfd: Any) -> None:
    assert main(["scaling", *options]) == 2
    assert message in capfd.readouterr().err


def test_figures_of_a_report(one_object: Any) -> None:
    few = ["--num-envs", "2", "--threads", "1", "--horizon", "2", "--horizons", "1", "--base", "2", "--repeats", "2"]
    assert main(["scaling", "--task", "cartpole", *few, "--json"]) == 0
    report = one_object()
    found = figures_in("scaling", report)
    assert not [problem for figure in found.figures for problem in problems_of_figure(figure)]
    values = {(one["subject"], one["quantity"]): one["value"] for one in found.figures}
    assert values["2 worlds, 1 thread, 2 steps", "forward, ratio"] == 1.0
    assert values["2 worlds, 1 thread, 1 step", "forward"] == report["rows"][1]["forward_steps_per_s"]
