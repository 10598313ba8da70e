"""How far a suite is and how long the rest takes, against hand-made rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrl_bench import PlannedRun
from diffrl_bench._local import shares
from diffrl_bench._progress import Progress, last_end, progress_of, seconds_left


def _run(algorithm: str, task: str, seed: int, variant: str = "") -> PlannedRun:
    return PlannedRun(algorithm=algorithm, task=task, seed=seed, variant=variant)


@pytest.mark.parametrize(
    ("budget", "part", "whole"),
    [({"iterations": 100}, 0.3, 200.0), ({"env_steps": 64_000}, 0.3, 200.0), ({"seconds": 600.0}, 75 / 600, 600.0)],
)
def test_rate_of_the_last_updates(tmp_path: Path, budget: dict[str, float], part: float, whole: float) -> None:
    """Two seconds an update, after a long pause before the first one; and a line that is being written."""
    (tmp_path / "run.json").write_text(json.dumps({"budget": budget}))
    lines = [{"iteration": k, "env_steps": 640 * k, "wall_s": 15 + 2 * k} for k in range(1, 31)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"iteration": 3')
    progress = progress_of(tmp_path)
    assert progress.fraction == pytest.approx(part)
    assert progress.seconds == pytest.approx(whole)


def test_nothing_is_known_of_no_run_and_of_a_damaged_one(tmp_path: Path) -> None:
    assert progress_of(tmp_path / "none") == Progress(0.0, None)
    (tmp_path / "run.json").write_text('{"budget": {}}')
    (tmp_path / "metrics.jsonl").write_text("")
    assert progress_of(tmp_path) == Progress(0.0, None)


def test_runs_of_which_nothing_is_known_take_what_their_like_take() -> None:
    plan = [_run("shac", "ant", k) for k in range(3)] + [_run("ppo", "ant", 0), _run("ppo", "hopper", 0)]
    seconds = {"shac-ant-s0": 100.0}
    running = {"shac-ant-s1": Progress(0.5, 120.0)}
    # 60 s of s1; then s2, a mean of 110 s; ppo on ant is like no other but those of its task, ppo on hopper like all.
    waiting = {name: Progress() for name in ("shac-ant-s2", "ppo-ant-s0", "ppo-hopper-s0")}
    assert seconds_left(plan, seconds, running, waiting, 1) == pytest.approx(60 + 110 + 110 + 110)
    assert seconds_left(plan, seconds, running, waiting, 2) == pytest.approx(220)  # the free slot: 110, then 110 again
    assert seconds_left(plan, {}, {"shac-ant-s1": Progress()}, {}, 1) is None
    # One that was cut off at three quarters has a quarter left, at the rate of its own.
    assert seconds_left(plan, {}, {}, {"shac-ant-s2": Progress(0.75, 40.0)}, 1) == pytest.approx(10)


def test_another_variant_is_another_kind() -> None:
    plan = [_run("shac", "ant", 0), _run("shac", "ant", 1), _run("shac", "ant", 1, "long")]
    seconds = {"shac-ant-s0": 10.0, "shac-ant-long-s1": 1000.0}
    assert seconds_left(plan, seconds, {}, {"shac-ant-s1": Progress()}, 1) == pytest.approx(10)


@given(
    ends=st.lists(st.floats(0, 100), max_size=4),
    times=st.lists(st.floats(0, 100), max_size=8),
    slots=st.integers(1, 4),
)
def test_bounds_of_the_last_end(ends: list[float], times: list[float], slots: int) -> None:
    slots = max(slots, len(ends))
    last = last_end(ends, times, slots)
    work = sum(ends) + sum(times)
    assert last >= max([*ends, *times, work / slots], default=0.0) - 1e-9
    assert last <= work + 1e-9
    assert last_end(ends, times, 1 if not ends else len(ends)) >= last - 1e-9


def test_gpus_are_shared_out() -> None:
    assert shares(["0", "1"], 0.5) == ["0", "0", "1", "1"]
    assert shares(["2", "3", "5"], 1) == ["2", "3", "5"]
    assert shares(["0", "1", "2"], 2) == ["0,1"]
    assert len(shares(["0"], 1 / 3)) == 3
    with pytest.raises(ValueError, match="needs 2 GPUs, and this machine shows 1"):
        shares(["0"], 2)
