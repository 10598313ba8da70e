"""The command line: one JSON object on stdout, one line for an error, exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from diffrl_bench import _attempts, _runner
from diffrl_bench.cli import main

OneObject = Callable[[], dict[str, Any]]

SMALL = ["--task", "cartpole", "--num-envs", "4", "--horizon", "2", "--repeats", "1", "--scaling-envs", "0"]
SUITE = 'name = "mine"\n[[train]]\nalgorithm = "shac"\ntask = "ant"\nseeds = [0, 1]\n'


def test_sim_prints_one_object(one_object: OneObject, tmp_path: Path) -> None:
    assert main(["sim", *SMALL, "--json", "--plot", str(tmp_path / "sim.svg")]) == 0
    value = one_object()
    assert value["task"] == "cartpole"
    assert value["forward_steps_per_s"] > 0
    assert value["env"]["backward_over_forward"] > 0
    assert (tmp_path / "sim.svg").exists()


def test_sim_as_text(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", *SMALL, "--no-peers"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("cartpole: 4 worlds, windows of 2 control steps")
    assert "MuJoCo" not in out


@pytest.mark.slow
def test_sim_of_a_robot_from_a_file(one_object: OneObject, tmp_path: Path) -> None:
    file = tmp_path / "sledge.xml"
    file.write_text(
        '<mujoco><worldbody><geom type="plane" size="9 9 1"/><body pos="0 0 0.3"><freejoint/><geom size="0.1"/>'
        '<body pos="0.1 0 0"><joint name="j"/><geom size="0.05" pos="0.1 0 0"/></body></body></worldbody>'
        '<actuator><motor joint="j" ctrlrange="-1 1"/></actuator></mujoco>'
    )
    assert main(["sim", "--model", str(file), *SMALL[2:], "--json"]) == 0
    value = one_object()
    assert value["task"] == "robot sledge" and value["forward_steps_per_s"] > 0
    assert value["peers"][0]["finite"]


def test_sim_of_a_file_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "--model", "nowhere.xml"]) == 2
    assert "nowhere.xml" in capfd.readouterr().err


def test_update_prints_one_object(one_object: OneObject) -> None:
    assert main(["update", "--task", "cartpole", "--num-envs", "4", "--updates", "1", "--warm-up", "0", "--json"]) == 0
    assert one_object()["parts_s"]["critic"] > 0


def test_run_table_and_plot(
    tmp_path: Path, fake_diffrl: tuple[str, ...], one_object: OneObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_attempts, "diffrl", lambda: list(fake_diffrl))
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(SUITE, encoding="utf-8")
    assert main(["run", "mine.toml", "--json", "--device", "cpu", "--", "--gamma", "0.5"]) == 0
    value = one_object()
    assert value["out"] == "runs/mine"
    assert value["runs"][1]["arguments"] == ["shac", "ant", "--seed", "1", "--device", "cpu", "--gamma", "0.5"]
    assert main(["table", "mine.toml", "--json"]) == 0
    assert one_object()["summary"][0]["return_median"] == 100.5
    assert main(["plot", "mine.toml", "--json"]) == 0
    assert one_object()["file"] == "runs/mine/curves.svg"
    assert Path("runs/mine/curves.svg").stat().st_size > 2000


def test_a_failed_run_is_exit_code_1(
    tmp_path: Path, fake_diffrl: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_attempts, "diffrl", lambda: list(fake_diffrl))
    monkeypatch.setattr(_runner, "specs_of", lambda plan: {})  # --fail is an option of the fake alone
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE, encoding="utf-8")
    assert main(["run", str(suite), "--out", str(tmp_path / "out"), "--", "--fail", "never"]) == 1
    out, err = capfd.readouterr()
    assert "failed" in out
    assert "shac-ant-s0: failed, exit code 1: no such luck" in err


def test_reference_exit_codes(tmp_path: Path, one_object: OneObject, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffrl_bench import reference

    good = {"task": "ant", "position_error_first": 1e-5, "position_error_last": 1e-4, "steps": 8, "reward_error": 1e-5}
    good |= {"gradient_cosine": 0.999, "gradient_norm_ratio": 1.0}
    monkeypatch.setattr(reference, "run", lambda folder, tasks, *files: [good])
    assert main(["reference", str(tmp_path), "--json"]) == 0
    assert one_object()["rows"][0]["agrees"] is True
    monkeypatch.setattr(reference, "run", lambda folder, tasks, *files: [good, {**good, "gradient_cosine": 0.9}])
    assert main(["reference", str(tmp_path), "--json"]) == 1
    assert [row["agrees"] for row in one_object()["rows"]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: sim|traffic"),
        (["simm"], "invalid choice: 'simm'"),
        (["sim", "--task", "antt"], "unknown task 'antt'; did you mean 'ant'"),
        (["sim", "--num-envs", "0"], "num_envs is 0"),
        (["sim", "--horizon", "many"], "invalid int value: 'many'"),
        (["sim", "--dtype", "float16"], "invalid choice: 'float16'"),
        (["sim", "--bogus"], "unrecognized arguments: --bogus"),
        (["sim", "--device", "tpu"], "device is 'tpu'"),
        (["sim", "--plot", "x.gif"], "x.gif must end in"),
        (["sim", "--plot", "no/such/folder/x.svg"], "its folder does not exist"),
        (["sim", "--", "x"], "takes no arguments after --"),
        (["update", "--algo", "shack"], "unknown algorithm 'shack'"),
        (["update", "--updates", "0"], "updates is 0"),
        (["reference", "no/such/folder"], "does not exist"),
        (["reference", ".", "--task", "walker2d"], "task 'walker2d' has no recording"),
        (["run", "shac-first-rum"], "did you mean shac-first-run"),
        (["run", "shac-first-run", "--jobs", "0"], "jobs is 0"),
        (["table", "shac-first-run", "--out", "nowhere"], "nowhere holds no results; run the suite first"),
        (["plot", "shac-first-run", "--out", "nowhere"], "nowhere holds no results"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    last = err.rstrip("\n").splitlines()[-1]
    assert last.startswith("diffrl bench: ")
    assert message in last
    assert out == ""


def test_a_folder_that_cannot_be_made_is_exit_code_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["run", "shac-first-run", "--out", str(tmp_path / "file" / "out")]) == 1
    assert "NotADirectoryError" in capfd.readouterr().err


def test_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "sim" in capfd.readouterr().out


def test_no_cuda_is_said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["sim", "--device", "cuda"]) == 2
    assert "torch sees no NVIDIA GPU here" in capfd.readouterr().err


def test_module_runs_and_importing_is_light() -> None:
    code = "import diffrl_bench, sys; assert not {'torch', 'jax', 'warp', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    done = subprocess.run([sys.executable, "-m", "diffrl_bench", "simm"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""


def test_the_diffrl_command_finds_it() -> None:
    points = [point for point in entry_points(group="diffrl.commands") if point.name == "bench"]
    assert all(point.value == "diffrl_bench.cli:main" for point in points)


class _Swallows:
    """A destructor that Ctrl-C interrupts: Python ignores what is raised there."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_ends_a_measurement_and_is_known_where_it_was_swallowed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object, **__: object) -> dict[str, Any]:
        act()
        return {}

    monkeypatch.setattr("diffrl_bench._kernels.bench_kernels", measured)
    monkeypatch.setattr("diffrl_bench._report.kernels_text", str)
    act: Callable[[], object] = partial(signal.raise_signal, signal.SIGINT)
    assert main(["kernels", "--json"]) == 130
    assert capfd.readouterr() == ("", "diffrl bench: stopped by SIGINT\n")
    act = _Swallows
    assert main(["kernels", "--json"]) == 130
    out, err = capfd.readouterr()
    assert out == "{}\n" and "SIGINT was lost on its way" in err.splitlines()[-1]
