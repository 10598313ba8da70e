"""``bench_sim``: ratios by their definition, windows that do what they say, a whole report on a small task."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from diffrl_bench import SimBench, bench_sim
from diffrl_bench._report import sim_text
from diffrl_bench._sim import scaling_figures, scaling_worlds, window_figures
from diffrl_bench._stopwatch import Clock, Lap, Stopwatch
from diffrl_bench._windows import DynamicsWindow, EnvWindow, start
from diffsim_core import make
from diffsim_core.native import wide_lanes

KEYS = {
    "forward_steps_per_s",
    "forward_backward_steps_per_s",
    "backward_over_forward",
    "recording_over_forward",
    "forward_substeps_per_s",
    "forward_backward_substeps_per_s",
    "forward_sim_s_per_s",
    "forward_backward_sim_s_per_s",
    "forward_steps_per_cpu_s",
    "forward_backward_steps_per_cpu_s",
    "busy_cores",
    "window_s",
}


def _laps(*walls: float) -> list[Lap]:
    return [Lap(wall, 2 * wall) for wall in walls]


def test_figures_follow_their_definitions() -> None:
    laps = {"forward": _laps(1.0, 2.0, 4.0), "recording": _laps(3.0, 2.0, 5.0), "backward": _laps(2.0, 6.0, 4.0)}
    figures = window_figures(laps, 1200, substeps=16, dt=0.5)
    assert set(figures) == KEYS
    assert figures["forward_steps_per_s"] == 1200 / 2
    assert figures["forward_backward_steps_per_s"] == 1200 / 8, "median of the sums 5, 8, 9"
    assert figures["backward_over_forward"] == 2.0, "median of 2/1, 6/2, 4/4"
    assert figures["recording_over_forward"] == 1.25, "median of 3/1, 2/2, 5/4"
    assert figures["forward_substeps_per_s"] == 16 * 600
    assert figures["forward_backward_substeps_per_s"] == 16 * 150
    assert figures["forward_sim_s_per_s"] == 300
    assert figures["forward_backward_sim_s_per_s"] == 75
    assert figures["forward_steps_per_cpu_s"] == 1200 / 4
    assert figures["forward_backward_steps_per_cpu_s"] == 1200 / 16
    assert figures["busy_cores"] == {"forward": 2.0, "forward_backward": 2.0}
    assert figures["window_s"]["forward_backward"] == {"median": 8.0, "min": 5.0, "max": 9.0}


def test_speedup_is_that_of_all_threads_over_one() -> None:
    rows = {
        4: {"forward": _laps(1.0), "recording": _laps(1.0), "backward": _laps(1.0)},
        1: {"forward": _laps(3.5), "recording": _laps(4.0), "backward": _laps(2.0)},
    }
    figures = scaling_figures(rows, SimBench(scaling_envs=128, horizon=2), {"substeps": 1, "dt": 1.0})
    assert figures is not None
    assert [row["threads"] for row in figures["rows"]] == [1, 4]
    assert figures["rows"][0]["forward_steps_per_s"] == 256 / 3.5
    assert figures["forward_speedup"] == pytest.approx(3.5)
    assert figures["forward_backward_speedup"] == pytest.approx(3.0)
    assert scaling_figures({}, SimBench(), {}) is None


@pytest.fixture(scope="module")
def env() -> Any:
    import diffsim_core

    return diffsim_core.make("cartpole", num_envs=8, threads=1, episode_length=10)


class _Counted:
    """Calls of the simulator's two functions."""

    def __init__(self, env: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = {"step": 0, "recorded": 0, "vjp": 0}
        dynamics = env.task.dynamics
        step, vjp = dynamics.step, dynamics.vjp

        def counted_step(state: Any, control: Any, out: Any, ok: Any, saved: Any) -> None:
            self.calls["step" if saved is None else "recorded"] += 1
            step(state, control, out, ok, saved)

        def counted_vjp(*args: Any) -> None:
            self.calls["vjp"] += 1
            vjp(*args)

        monkeypatch.setattr(dynamics, "step", counted_step)
        monkeypatch.setattr(dynamics, "vjp", counted_vjp)


@pytest.mark.parametrize("kind", [DynamicsWindow, EnvWindow])
def test_a_window_steps_records_and_goes_back_once(env: Any, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    window = kind(env, start(env, horizon=5))
    counted = _Counted(env, monkeypatch)
    watch = Stopwatch(Clock())
    window(watch)
    assert counted.calls == {"step": 5, "recorded": 5, "vjp": 5}
    assert set(watch.laps) == {"forward", "recording", "backward"}
    assert window.diverged == 0


def test_env_window_goes_on_and_sees_episodes_end(env: Any) -> None:
    window = EnvWindow(env, start(env, horizon=5))
    for _ in range(4):
        window(Stopwatch(Clock()))
    assert window.episodes_ended == 16, "20 steps of 10-step episodes in 8 worlds"


def test_backward_reaches_every_control(env: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.Tensor, ...]] = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: seen.append(grad(*a, **k)) or seen[-1])
    DynamicsWindow(env, start(env, horizon=4))(Stopwatch(Clock()))
    (found,) = seen
    assert len(found) == 4
    assert all(bool((part != 0).all()) and part.shape == (8, 1) for part in found)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return bench_sim(SimBench(task="cartpole", num_envs=8, horizon=4, threads=2, repeats=2, scaling_envs=16))


def _kept_worlds(num_envs: int) -> int:
    """Worlds that are kept for ``num_envs`` of them: whole blocks."""
    lanes = wide_lanes("float32")
    return -(-num_envs // lanes) * lanes


def test_report_holds_what_the_command_line_promises(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert set(report) > KEYS
    assert set(report["env"]) > KEYS
    assert report["env"]["episodes_ended"] >= 0
    assert report["device"] == "cpu"
    assert report["threads"] == 2
    assert report["wall_s"] > 0
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    for figures in (report, report["env"], *report["scaling"]["rows"]):
        window = figures["window_s"]
        assert 0 < window["forward"]["min"] <= window["forward"]["median"] <= window["forward"]["max"]
        assert figures["forward_substeps_per_s"] == pytest.approx(4 * figures["forward_steps_per_s"])
        assert figures["forward_sim_s_per_s"] == pytest.approx(figures["forward_steps_per_s"] / 60)
    assert [row["threads"] for row in report["scaling"]["rows"]] == [1, 2]
    # 4 rounds, each window twice: 8 x 4 of dynamics and environment, 16 x 4 with one and with two threads; and one more
    # of the environment, for its memory.
    assert report["env_steps"] == 4 * 2 * (2 * 32 + 2 * 64) + 2 * 32
    memory = report["memory"]
    # cartpole keeps q, qd, qdd and three numbers of the mass matrix's factor in each of 4 sub-steps
    kept = 4 * 4 * (2 + 2 + 2 + 3)
    assert memory["kept_step_bytes"] == kept * _kept_worlds(8) / 8
    assert memory["kept_window_bytes"] == 8 * 4 * memory["kept_step_bytes"]
    moved = report["memory_traffic"]["dynamics"]
    # q, qd in and out, one control, one flag; then what is kept, written and read, and cotangents of all but the flag
    assert moved["forward"]["bytes_per_step"] == 4 * (4 + 4 + 1) + 4
    assert moved["forward_backward"]["bytes_per_step"] == 40 + 2 * kept + 4 * (4 + 4 + 2) + 4
    for name, part in moved.items():
        window = report["window_s"][name]["median"]
        assert part["bytes_per_s"] == pytest.approx(32 * part["bytes_per_step"] / window)
        assert part["of_copy"] == pytest.approx(part["bytes_per_s"] / report["memory_traffic"]["copy_bytes_per_s"])


def test_mujoco_runs_in_the_same_report(report: dict[str, Any]) -> None:
    first = report["peers"][0]
    assert first["name"] == "mujoco"
    assert first["threads"] == 1
    assert first["dt_s"] == pytest.approx(1 / 120)
    assert first["own_steps_per_s"] == pytest.approx(2 * first["forward_steps_per_s"])
    assert first["forward_sim_s_per_s"] == pytest.approx(first["forward_steps_per_s"] / 60)
    assert first["finite"]
    assert first["own_jacobians_per_s"] > 0


def test_text_names_the_figures(sim_report: dict[str, Any]) -> None:
    text = sim_text(sim_report)
    assert "dynamics, forward " in text
    assert "205,000" in text, "2048 steps in 10 ms"
    assert "102,000 to 256,000" in text
    assert "4 threads against 1: 3.00 times forward, 3.11 times forward + backward" in text
    assert "dynamics: backward pass 1.00 times the forward pass, recording forward pass 1.20 times" in text
    assert "memory: 16.3 MB kept for the backward pass of a window, 7.9 kB a world and control step" in text
    assert "the first window of the environment took 20.4 MB in all" in text
    assert "must move at least forward 0.06 GB/s (0.30%), forward and backward 1.50 GB/s (7.50%)" in text
    assert "Abacus 1, 4 of 8 cores" in text
    assert "mjx, forward + backward" in text and "50% of gradients" in text
    assert "3 world steps diverged" in text


@pytest.mark.parametrize(
    ("field", "value"), [("num_envs", 0), ("horizon", 0), ("repeats", -1), ("threads", 0), ("scaling_envs", -1)]
)
def test_settings_that_make_no_sense_are_refused(field: str, value: int) -> None:
    settings: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        SimBench(**settings)


def test_one_thread_needs_no_scaling_and_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    report = bench_sim(SimBench(task="cartpole", num_envs=4, horizon=2, threads=1, repeats=1, peers=False))
    assert report["scaling"] is None
    assert report["peers"] == []
    assert torch.get_num_threads() == before


def test_low_memory_keeps_less_and_an_unknown_kind_is_refused() -> None:
    settings: dict[str, Any] = {"task": "cartpole", "num_envs": 8, "horizon": 2, "threads": 1, "repeats": 1}
    report = bench_sim(SimBench(**settings, peers=False, memory="low"))
    assert report["memory"]["option"] == "low"
    assert report["memory"]["kept_step_bytes"] == 4 * 4 * 6 * _kept_worlds(8) / 8
    with pytest.raises(ValueError, match="is 'medium'; it takes auto, fast or low"):
        bench_sim(SimBench(**settings, peers=False, memory="medium"))


_GROWTH = """
import numpy as np
from diffrl_bench._peak import peak_growth
for size in (8 * 2**20, 1):
    print(peak_growth(lambda: np.ones(size).sum()))
"""


def test_peak_growth_sees_what_is_used_and_given_back() -> None:
    # In a process of its own: others' threads and garbage give memory back at any time.
    ran = subprocess.run([sys.executable, "-c", _GROWTH], capture_output=True, text=True, check=True)
    growth, after = ran.stdout.split()
    if not Path("/proc/self/clear_refs").exists():
        assert (growth, after) == ("None", "None")
        return
    block = 64 * 2**20
    assert 0.95 * block <= int(growth) < 1.5 * block  # the kernel's counters lag by some pages
    assert int(after) < block / 4


@pytest.mark.gpu
def test_cuda() -> None:
    report = bench_sim(SimBench(task="ant", num_envs=256, horizon=4, device="cuda", repeats=2, peers=False))
    assert report["machine"]["gpu"]
    assert report["scaling"] is None
    assert report["forward_steps_per_s"] > 0
    assert report["diverged"] == 0


@pytest.mark.parametrize(
    ("task", "least", "most"), [("ant", 1024, 1024), ("soft_jumper", 9, 1023), ("hand_flip", 8, 8)]
)
def test_threads_are_compared_in_as_many_worlds_as_somebody_waits_for(task: str, least: int, most: int) -> None:
    assert least <= scaling_worlds(make(task, num_envs=1).task.dynamics) <= most
