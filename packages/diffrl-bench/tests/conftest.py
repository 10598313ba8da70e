"""Shared by the tests of diffrl-bench."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrl_bench._record import FORMAT
from diffrl_bench._stopwatch import Clock, Lap


class Hand:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.wall = 100.0
        self.cpu = 7.0
        self.waits = 0

    def move(self, wall: float, cpu: float | None = None) -> None:
        self.wall += wall
        self.cpu += wall if cpu is None else cpu

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.wall, cpu=lambda: self.cpu, wait=self._wait)

    def _wait(self) -> None:
        self.waits += 1


@pytest.fixture
def hand() -> Hand:
    return Hand()


def laps(**walls: list[float]) -> dict[str, list[Lap]]:
    """Laps whose processor time is twice the wall time."""
    return {part: [Lap(wall, 2 * wall) for wall in times] for part, times in walls.items()}


@pytest.fixture
def sim_report() -> dict[str, Any]:
    """A report of ``bench_sim`` with round figures: 64 worlds, 32 steps of 1/60 s, 16 sub-steps."""
    from diffrl_bench._sim import SimBench, scaling_figures, window_figures

    window = {"substeps": 16, "dt": 1 / 60}
    fast = laps(forward=[0.01, 0.008, 0.02], recording=[0.012, 0.012, 0.012], backward=[0.01, 0.01, 0.01])
    slow = laps(forward=[0.03, 0.03, 0.03], recording=[0.04, 0.04, 0.04], backward=[0.03, 0.03, 0.03])
    many = {1: laps(forward=[0.12], recording=[0.16], backward=[0.12])}
    many[4] = laps(forward=[0.04], recording=[0.05], backward=[0.04])
    peer = {
        "name": "mujoco",
        "threads": 1,
        "dt_s": 1 / 120,
        "forward_steps_per_s": 40_000.0,
        "forward_steps_per_cpu_s": 40_000.0,
        "own_steps_per_s": 80_000.0,
        "forward_sim_s_per_s": 40_000 / 60,
        "busy_cores": 1.0,
        "window_s": {"forward": {"median": 0.05, "min": 0.04, "max": 0.06}},
        "contacts_mean": 2.0,
        "finite": True,
        "own_jacobians_per_s": 4000.0,
        "jacobian_sim_s_per_s": 4000 / 120,
    }
    return {
        "task": "ant",
        "num_envs": 64,
        "horizon": 32,
        "device": "cpu",
        "dtype": "float32",
        "threads": 4,
        "dt_s": 1 / 60,
        "substeps": 16,
        "repeats": 3,
        "memory": {
            "option": None,
            "kept_step_bytes": 7936.0,
            "kept_window_bytes": 16_252_928,
            "peak_growth_bytes": 20_400_000,
        },
        "memory_traffic": {
            "copy_bytes_per_s": 20e9,
            "dynamics": {
                "forward": {"bytes_per_step": 268, "bytes_per_s": 60e6, "of_copy": 0.003},
                "forward_backward": {"bytes_per_step": 16440, "bytes_per_s": 1.5e9, "of_copy": 0.075},
            },
        },
        **window_figures(fast, 2048, **window),
        "diverged": 3,
        "env": window_figures(slow, 2048, **window),
        "scaling": scaling_figures(many, SimBench(scaling_envs=1024), window),
        "peers": [peer],
        "beside": [
            {
                "name": "mjx",
                "dt_s": 1 / 120,
                "substeps": 2,
                "finite": True,
                "finite_gradients": 0.5,
                "compile_s": 97.0,
                "forward_steps_per_s": 6000.0,
                "forward_backward_steps_per_s": 900.0,
                "forward_sim_s_per_s": 100.0,
                "forward_backward_sim_s_per_s": 15.0,
                "forward_times_slower": 34.0,
                "forward_backward_times_slower": 110.0,
                "forward_times_slower_cpu": 30.0,
                "forward_backward_times_slower_cpu": 100.0,
                "version": "3.17.0",
                "num_envs": 64,
                "window_s": {
                    "forward": {"median": 0.3, "min": 0.2, "max": 0.6},
                    "forward_backward": {"median": 2.0, "min": 2.0, "max": 2.0},
                },
            }
        ],
        "machine": {"cpu": "Abacus 1", "cores": 4, "cores_total": 8, "load_before": 0.5},
        "versions": {"mujoco": "4.0.0"},
    }


_FAKE_DIFFRL = """
    import json, os, signal, sys, time
    from pathlib import Path

    arguments = sys.argv[1:]
    assert arguments[0] == "train"
    options = dict(zip(arguments, arguments[1:]))
    resumed = "--resume" in options
    folder = Path(options["--resume"] if resumed else options["--out"])
    print("train", *arguments, "on", os.environ["DIFFSIM_NUM_THREADS"], "threads", flush=True)
    if not resumed:
        folder.mkdir(parents=True)
        seed = int(options["--seed"])
        (folder / "run.json").write_text(json.dumps({"seed": seed, "commit": "c0ffee", "versions": {}}))
    seed = json.loads((folder / "run.json").read_text())["seed"]
    with (folder / "starts").open("a") as file:
        file.write(f"{time.time()}\\n")

    def save(number, frame):
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / "00000001.safetensors").touch()
        sys.exit(143)

    signal.signal(signal.SIGTERM, save)
    if "--slow" in options and not resumed:
        (folder / "waiting").touch()
        time.sleep(60)
    if "--fail" in options and not Path(options["--fail"]).exists():
        sys.exit("no such luck")
    lines = [dict(iteration=k, env_steps=2048 * k, wall_s=0.1 * k, return_mean=None if k < 3 else 10.0 * seed + k)
             for k in range(1, 11)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
    summary = dict(status="finished", return_mean=100.0 + seed, return_std=5.0, length_mean=240.0, episodes=64,
                   iterations=10, env_steps=20480, wall_s=1.0 + seed, device="cpu", training_diverged=0,
                   refused_updates=0)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "ends").write_text(f"{time.time()}")
"""


@pytest.fixture
def fake_diffrl(tmp_path: Path) -> tuple[str, ...]:
    """A command that behaves as ``diffrl train`` towards the file system, in no time.

    ``--slow x`` waits to be terminated; ``--fail FILE`` fails until FILE exists.
    """
    script = tmp_path / "diffrl.py"
    script.write_text(textwrap.dedent(_FAKE_DIFFRL), encoding="utf-8")
    return (sys.executable, str(script))


@pytest.fixture
def one_object(capfd: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    """Reads stdout, which must hold exactly one JSON object."""

    def read() -> dict[str, Any]:
        out = capfd.readouterr().out
        assert out.count("\n") == 1
        value = json.loads(out)
        assert isinstance(value, dict)
        return value

    return read


def _record(seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A record of a finished run."""
    row: dict[str, Any] = {
        "format": FORMAT,
        "suite": "mine",
        "run": f"shac-ant-s{seed}",
        "algorithm": "shac",
        "task": "ant",
        "variant": "",
        "seed": seed,
        "arguments": ["shac", "ant", "--seed", str(seed)],
        "status": "finished",
        "jobs": 1,
        "threads": 2,
        "machine": "Abacus 1, 4 cores",
        "time": "2026-01-01T00:00:00+00:00",
        "commit": "c0ffee",
        "versions": {"python": "3.12"},
        "hardware": {"cores": 4},
        "load": 0.5,
        "config_hash": "f" * 64,
        "device": "cpu",
        "return_mean": 100.0 + int(seed),
        "return_std": 5.0,
        "length_mean": 240.0,
        "episodes": 64,
        "iterations": 10,
        "env_steps": 20480,
        "wall_s": 1.5,
        "process_s": 2.0,
        "cpu_s": 3.0,
        "training_diverged": 0,
        "refused_updates": 0,
        "return_best": 7.0,
        "curve": {"iteration": [1, 2], "env_steps": [1, 2], "wall_s": [0.5, 1.0], "return_mean": [1.0, 2.0]},
    }
    return {**row, **changes}


@pytest.fixture(scope="session")
def record() -> Callable[..., dict[str, Any]]:
    """Makes a record of a finished run from its seed and what differs."""
    return _record


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Writes records to a file, whatever they are."""

    def write_rows(file: Path, *rows: dict[str, Any]) -> Path:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    return write_rows
