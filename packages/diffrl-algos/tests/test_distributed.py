"""Several processes learn what one with all worlds learns; if one is killed, the run says so and can go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import diffsim_core
from diffrl_algos.cli import main

from . import in_processes
from .test_cli import SMALL, TOY

SCRIPT = Path(in_processes.__file__)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(count, *command):
    """The processes as torchrun starts them, each with its own output."""
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(count)}
    common |= {"LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def finish(processes, timeout=600):
    """``(exit code, stdout, stderr)`` of each."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """What two processes learned, by algorithm."""
    folder = tmp_path_factory.mktemp("processes")
    for code, _, err in finish(start(2, SCRIPT, folder, 6)):
        assert code == 0, err
    return {name: dict(np.load(folder / f"{name}.npz")) for name in in_processes.NAMES}


@pytest.mark.parametrize("name", in_processes.NAMES)
def test_two_processes_learn_what_one_does(learned, name):
    """Ten updates, to 1e-5: networks, moments, statistics, worlds, episodes and figures."""
    env = diffsim_core.make("toy", num_envs=6, **in_processes.OPTIONS)
    algorithm, state, metrics = in_processes.train(name, env)
    found, wanted = learned[name], algorithm.to_arrays(state)
    assert found.keys() - wanted.keys() >= {"metrics/actor_loss", "metrics/return_mean"}
    for key, array in wanted.items():
        assert found[key].shape == array.shape, key
        if array.dtype.kind in "iu":
            assert np.array_equal(found[key], array), key
        else:
            error = np.abs(found[key] - array).max() / max(np.abs(array).max(), 1e-3)
            assert error < 1e-5, (key, error)
    for key, value in metrics.items():
        if isinstance(value, float) and not key.endswith("_s"):
            assert float(found[f"metrics/{key}"]) == pytest.approx(value, rel=2e-3, abs=1e-4), key


def train(run, *more):
    return ["train", "shac", "toy", *SMALL, "--num-envs", "4", "--out", str(run), "--import", TOY, *more]


def arrays(run, iteration):
    return load_file(run / "checkpoints" / f"{iteration:08d}.safetensors")


def assert_close(found, wanted):
    assert found.keys() == wanted.keys()
    for key, array in wanted.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-4, err_msg=key)


def returns(run, count):
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()][:count]
    assert [line["iteration"] for line in lines] == [2 * k + 2 for k in range(count)]
    return [line["return_mean"] for line in lines]


def test_a_killed_process_ends_the_run_and_the_run_goes_on(tmp_path):
    """Its checkpoints are those of one process with all worlds, which can go on with them."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    options = ["--iterations", "9000", "--checkpoint-every", "2", "--keep-checkpoints", "9000", "--eval-every", "2"]
    processes = start(2, "-m", "diffrl_algos", *train(run, *options))
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "00000004.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGKILL)
    (code, _, err), (killed, _, _) = finish(processes)
    assert (code, killed) == (1, -signal.SIGKILL)
    (line,) = [line for line in err.splitlines() if line.startswith("diffrl: ")]
    assert "process 0 of 2 lost its connection to another one" in line
    assert f"go on with: diffrl train --resume {run}" in line

    last = max(int(path.stem) for path in run.glob("checkpoints/0*.json"))
    assert main(["train", "--resume", str(run), "--stop-after", "2"]) == 0
    assert (run / "checkpoints" / f"{last + 2:08d}.json").exists()
    assert main(train(whole, *options, "--stop-after", "4")) == 0
    assert_close(arrays(run, 4), arrays(whole, 4))
    assert returns(run, 2) == pytest.approx(returns(whole, 2), rel=1e-4)


@pytest.mark.slow
def test_torchrun(tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    options = ["--iterations", "6", "--eval-every", "2", "--json"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "diffrl_algos", *train(run, *options, "--stop-after", "4")],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary.items() >= {"status": "stopped", "iterations": 4, "env_steps": 64}.items()
    assert done.stderr.count("run folder:") == 1 and done.stderr.count("evaluation at iteration") == 2
    again = [*torchrun, "-m", "diffrl_algos", "train", "--resume", str(run), "--import", TOY, "--json"]
    done = subprocess.run(again, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).items() >= {"status": "finished", "iterations": 6, "episodes": 5}.items()
    assert main(train(whole, *options)) == 0
    assert_close(arrays(run, 6), arrays(whole, 6))
    assert returns(run, 3) == pytest.approx(returns(whole, 3), rel=1e-4)
