"""A suite on a real local Ray cluster and through submitit, with a worker killed half-way: every run exactly once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffrl_bench import PlannedRun, RunSettings, Suite, run_suite
from diffrl_bench._record_file import NAME, read_lines

pytestmark = pytest.mark.slow
UPDATES = 60
SHORT = ("--iterations", str(UPDATES), "--num-envs", "4", "--eval-episodes", "4", "--checkpoint-every", "5")


def _suite() -> Suite:
    """Six short trainings."""
    runs = (
        PlannedRun(algorithm=algorithm, task="cartpole", seed=seed, options=SHORT)
        for algorithm in ("shac", "ppo")
        for seed in range(3)
    )
    return Suite(name="short", threads=1, runs=tuple(runs))


class _Killer:
    """Ends the worker of a run with SIGKILL once that is half-way; given to ``run_suite`` as ``show``."""

    def __init__(self, out: Path, run: str) -> None:
        self._out, self._run, self.killed = out, run, False

    def __call__(self, text: str) -> None:
        metrics = self._out / self._run / "metrics.jsonl"
        notes = list(self._out.glob(f".session-*/{self._run}.json"))
        if self.killed or not notes or not metrics.exists() or len(metrics.read_bytes().splitlines()) < UPDATES // 3:
            return
        guard = json.loads(notes[0].read_text())["pid"]
        worker = int(Path(f"/proc/{guard}/stat").read_text().rpartition(")")[2].split()[1])
        assert worker != os.getpid()
        os.kill(worker, signal.SIGKILL)
        self.killed = True


def _check(out: Path, killed: str) -> None:
    """Every run is recorded once, and has every update once."""
    lines = [line.row for line in read_lines(out / NAME)]
    finished = [row for row in lines if row["status"] == "finished"]
    assert sorted(row["run"] for row in finished) == sorted(run.name for run in _suite().runs)
    for row in finished:
        updates = [json.loads(line)["iteration"] for line in (out / row["run"] / "metrics.jsonl").open()]
        assert updates == list(range(1, UPDATES + 1))
        assert row["attempts"] == (2 if row["run"] == killed else 1)
        assert row["host"] and row["hardware"]["cores"] >= 1
    assert not list(out.glob(".session-*")), "nothing is left behind"


@pytest.fixture
def ray_cluster() -> Iterator[None]:
    """A cluster of this machine with room for three workers. It takes a quiet machine: Ray waits 30 s for its parts."""
    ray = pytest.importorskip("ray")
    from diffrl_bench._ray import our_signals

    before = signal.getsignal(signal.SIGTERM)
    with our_signals():
        ray.init(address="local", num_cpus=3, num_gpus=0, include_dashboard=False, log_to_driver=False)
    assert signal.getsignal(signal.SIGTERM) == before, "ray.init puts its own there"
    yield
    ray.shutdown()


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the worker in /proc")
def test_ray_with_a_worker_killed_half_way(tmp_path: Path, ray_cluster: None) -> None:
    out, said = tmp_path / "out", list[str]()
    killer = _Killer(out, "shac-cartpole-s1")
    settings = RunSettings(out=out, on="ray")
    rows = run_suite(_suite(), settings, said.append, killer)
    assert killer.killed
    assert [row["status"] for row in rows] == ["finished"] * 6
    _check(out, "shac-cartpole-s1")
    assert any("vanished (WorkerCrashedError" in line for line in said)
    run_suite(_suite(), settings, said.append)
    assert said[-1] == "6 of 6 runs are finished already"

    with pytest.raises(ValueError, match=r"asks for 64 CPUs .* which no node of the cluster has: 3 CPUs and 0 GPUs"):
        run_suite(_suite(), RunSettings(out=tmp_path / "large", on="ray", threads=64))


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the worker in /proc")
def test_submitit_with_a_worker_killed_half_way(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    out, said = tmp_path / "out", list[str]()
    killer = _Killer(out, "ppo-cartpole-s2")
    settings = RunSettings(out=out, on="slurm", address="local", jobs=3, slurm={"timeout_min": "30", "partition": "x"})
    rows = run_suite(_suite(), settings, said.append, killer)
    assert killer.killed
    assert [row["status"] for row in rows] == ["finished"] * 6
    _check(out, "ppo-cartpole-s2")
    assert any("ended without a result" in line for line in said)


def test_a_job_that_reaches_the_end_of_its_time_is_queued_again(tmp_path: Path, fake_diffrl: tuple[str, ...]) -> None:
    """submitit warns it; the training writes its checkpoint, and the job that follows goes on."""
    pytest.importorskip("submitit")
    run = PlannedRun(algorithm="shac", task="ant", seed=0, options=("--slow", "x"))
    limit = {"timeout_min": "1", "signal_delay_s": "50"}
    settings = RunSettings(out=tmp_path, on="slurm", address="local", slurm=limit, command=fake_diffrl)
    (row,) = run_suite(Suite(name="long", threads=1, runs=(run,)), settings)
    assert row["status"] == "finished" and row["attempts"] == 1
    assert (tmp_path / "shac-ant-s0" / "checkpoints" / "00000001.safetensors").exists()
    assert "--resume" in (tmp_path / "shac-ant-s0.log").read_text()
