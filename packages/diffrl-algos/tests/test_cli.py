"""The ``diffrl`` command from outside: what it prints, its exit codes, and runs that go on as if never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffrl_algos.cli import main

TOY = str(Path(__file__).with_name("toy.py"))
SMALL = [
    *("--horizon", "4", "--num-envs", "3", "--actor-hidden", "8", "--critic-hidden", "8", "--critic-iterations", "1"),
    *("--task-option", "horizon=6", "--eval-episodes", "5"),
]


@pytest.fixture
def diffrl(capfd):
    """Run the command in this process: ``(exit code, stdout, stderr)``."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def in_process(*arguments, **options):
    command = [sys.executable, "-c", "import sys; from diffrl_algos.cli import main; sys.exit(main())"]
    return [*command, *map(str, arguments)], {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        **options,
    }


def tensors(run):
    return {path.name: path.read_bytes() for path in sorted((run / "checkpoints").glob("*.safetensors"))}


def test_train_then_eval(diffrl, tmp_path):
    run = tmp_path / "run"
    code, out, err = diffrl("train", "shac", "toy", *SMALL, "--iterations", 6, "--seed", 3, "--out", run, "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert summary.items() >= {"status": "finished", "iterations": 6, "env_steps": 72, "episodes": 5, "seed": 3}.items()
    assert summary["run"] == str(run) and summary["device"] == "cpu" and summary["diverged"] == 0
    assert summary == json.loads((run / "summary.json").read_text())
    assert "iteration 6  100%  72 steps" in err

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(line.keys() >= {"env_steps", "wall_s", "return_mean", "diverged", "refused_updates"} for line in lines)
    assert lines[0]["return_mean"] is None and lines[-1]["return_mean"] is not None
    config = json.loads((run / "run.json").read_text())["config"]
    assert config["horizon"] == 4 and config["actor_hidden"] == [8] and config["iterations"] == 6

    # By default the same episodes once more.
    code, out, _ = diffrl("eval", run, "--json")
    again = json.loads(out)
    assert code == 0 and again["seed"] == summary["eval_seed"]
    for key in ("return_mean", "return_std", "episodes", "length_mean", "env_steps"):
        assert again[key] == summary[key]
    code, out, _ = diffrl("eval", run, "--episodes", 7, "--seed", 1, "--stochastic", "--json")
    other = json.loads(out)
    assert (other["episodes"], other["seed"], other["deterministic"]) == (7, 1, False)
    assert other["return_mean"] != summary["return_mean"]
    code, out, _ = diffrl("eval", run, "--checkpoint", "best")
    assert code == 0 and out.startswith("return ") and "over 5 episodes" in out

    code, out, _ = diffrl("train", "--resume", run, "--json")
    assert code == 0 and json.loads(out) == summary


def test_three_and_three_are_six(diffrl, tmp_path):
    train = ["train", "shac", "toy", *SMALL, "--iterations", 6, "--critic-shuffle", "true"]
    assert diffrl(*train, "--out", tmp_path / "whole")[0] == 0
    assert diffrl(*train, "--out", tmp_path / "again")[0] == 0
    assert diffrl(*train, "--out", tmp_path / "other", "--seed", 1)[0] == 0
    code, out, _ = diffrl(*train, "--out", tmp_path / "parts", "--stop-after", 3, "--json")
    stopped = json.loads(out)
    assert code == 0 and (stopped["status"], stopped["iterations"]) == ("stopped", 3)
    assert not (tmp_path / "parts" / "summary.json").exists()
    code, out, _ = diffrl("train", "--resume", tmp_path / "parts", "--stop-after", 3, "--json")
    assert code == 0 and json.loads(out)["status"] == "finished"

    last = {name: tensors(tmp_path / name)["00000006.safetensors"] for name in ("whole", "again", "other", "parts")}
    assert last["whole"] == last["again"] == last["parts"] != last["other"]
    logs = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    timed = {"wall_s", "rollout_s", "backward_s", "critic_s", "account_s"}
    a, b = ([{k: v for k, v in line.items() if k not in timed} for line in log] for log in logs)
    assert a == b
    walls = [line["wall_s"] for line in logs[1]]
    assert walls == sorted(walls)


def test_evaluations_on_the_way_leave_the_training_as_it_is(diffrl, tmp_path):
    train = ["train", "shac", "toy", *SMALL, "--iterations", 6, "--keep-checkpoints", 9]
    assert diffrl(*train, "--out", tmp_path / "whole")[0] == 0
    evaluated = [*train, "--eval-every", 2]
    code, _, err = diffrl(*evaluated, "--out", tmp_path / "evaluated")
    assert code == 0 and err.count("evaluation at iteration") == 3
    # Stopped after the third update, and killed before the checkpoint of the fifth.
    assert diffrl(*evaluated, "--out", tmp_path / "parts", "--stop-after", 3)[0] == 0
    assert diffrl("train", "--resume", tmp_path / "parts", "--stop-after", 2)[0] == 0
    (tmp_path / "parts" / "checkpoints" / "00000005.json").unlink()
    (tmp_path / "parts" / "checkpoints" / "00000004.json").unlink(missing_ok=True)
    assert diffrl("train", "--resume", tmp_path / "parts")[0] == 0
    last = [tensors(tmp_path / name)["00000006.safetensors"] for name in ("whole", "evaluated", "parts")]
    assert last[0] == last[1] == last[2]

    logs = []
    for name in ("evaluated", "parts"):
        lines = [json.loads(line) for line in (tmp_path / name / "evaluations.jsonl").read_text().splitlines()]
        assert [line["iteration"] for line in lines] == [2, 4, 6] and all(line["episodes"] == 5 for line in lines)
        logs.append([{k: v for k, v in line.items() if k not in ("wall_s", "eval_s")} for line in lines])
    assert logs[0] == logs[1]
    best = json.loads((tmp_path / "evaluated" / "checkpoints" / "best.json").read_text())
    top = max(logs[0], key=lambda line: line["return_mean"])
    assert (best["checkpoint"], best["return_mean"]) == (f"{top['iteration']:08d}", top["return_mean"])
    # Evaluations that choose the best policy are of other episodes than those that say how good it is.
    code, out, _ = diffrl("eval", tmp_path / "evaluated", "--checkpoint", "6", "--json")
    assert code == 0 and json.loads(out)["return_mean"] != logs[0][-1]["return_mean"]
    code, _, err = diffrl("eval", tmp_path / "evaluated", "--checkpoint", "7")
    assert code == 2 and "has no checkpoint '7'" in err


@pytest.mark.parametrize("evaluations", [[], ["--eval-every", "2"]])
def test_a_return_that_is_reached_completes_the_run(diffrl, tmp_path, evaluations):
    run = tmp_path / "run"
    code, out, err = diffrl(
        *("train", "shac", "toy", *SMALL, "--iterations", 50, "--stop-at-return", -1e3, "--out", run, "--json"),
        *evaluations,
    )
    summary = json.loads(out)
    assert code == 0 and summary["status"] == "finished" and summary["reached_return"] is True, err
    assert summary["iterations"] == 2 and summary["episodes"] == 5
    # Killed after the last checkpoint and before the summary: nothing is trained further.
    (run / "summary.json").unlink()
    code, out, _ = diffrl("train", "--resume", run, "--json")
    again = json.loads(out)
    assert code == 0 and (again["iterations"], again["reached_return"]) == (2, True)
    assert again["return_mean"] == summary["return_mean"]


def test_two_processes_cannot_train_one_run(diffrl, tmp_path):
    from diffrl_algos._run import Run

    run = tmp_path / "run"
    assert diffrl("train", "shac", "toy", *SMALL, "--iterations", 4, "--stop-after", 2, "--out", run)[0] == 0
    before = tensors(run)
    with Run.open(run).locked():
        code, out, err = diffrl("train", "--resume", run)
        assert code == 2 and out == "" and f"another process is training in {run}" in err
        assert diffrl("eval", run)[0] == 0
    assert tensors(run) == before
    assert diffrl("train", "--resume", run)[0] == 0


def test_a_run_killed_before_its_first_checkpoint_begins_again(diffrl, tmp_path):
    train = ["train", "shac", "toy", *SMALL, "--iterations", 4]
    assert diffrl(*train, "--out", tmp_path / "whole")[0] == 0
    assert diffrl(*train, "--stop-after", 2, "--out", tmp_path / "killed")[0] == 0
    for path in (tmp_path / "killed" / "checkpoints").iterdir():
        path.unlink()
    assert diffrl("train", "--resume", tmp_path / "killed")[0] == 0
    assert tensors(tmp_path / "killed") == tensors(tmp_path / "whole")
    lines = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [1, 2, 3, 4]


def test_budgets_in_steps_and_seconds(diffrl, tmp_path):
    code, out, _ = diffrl("train", "shac", "toy", *SMALL, "--env-steps", 25, "--out", tmp_path / "a", "--json")
    assert code == 0 and json.loads(out)["env_steps"] == 36
    assert json.loads((tmp_path / "a" / "run.json").read_text())["config"]["iterations"] == 3
    code, out, _ = diffrl("train", "shac", "toy", *SMALL, "--seconds", 0.05, "--out", tmp_path / "b", "--json")
    lines = (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()
    assert code == 0 and json.loads(out)["wall_s"] >= 0.05
    assert all(json.loads(line)["wall_s"] < 0.05 for line in lines[:-1]), "the first update beyond the budget ends it"


def test_diverged_worlds_are_dumped(diffrl, tmp_path, worlds):
    import diffsim_core

    run = tmp_path / "run"
    code, out, err = diffrl(
        *("train", "shac", "toy", *SMALL, "--iterations", 4, "--num-envs", 16, "--out", run, "--json"),
        *("--task-option", "breaks=0.7"),
    )
    summary = json.loads(out)
    assert code == 0 and summary["training_diverged"] > 0 and "diverged worlds" in err
    records = [r for path in (run / "divergences").glob("*.npz") for r in diffsim_core.load_divergences(path)]
    assert 0 < len(records) <= summary["training_diverged"]
    assert diffsim_core.replay(worlds(breaks=0.7), records).all()


def test_list(diffrl):
    code, out, _ = diffrl("list", "algos", "--json")
    assert code == 0 and {"shac"} <= {row["name"] for row in json.loads(out)}
    code, out, _ = diffrl("list", "tasks", "--json")
    assert code == 0 and {"ant", "cartpole", "toy"} <= {row["name"] for row in json.loads(out)}
    code, out, _ = diffrl("list", "presets", "--json")
    assert code == 0 and {"shac-ant", "shac-cartpole"} <= {row["name"] for row in json.loads(out)}
    code, out, _ = diffrl("list", "presets")
    assert code == 0 and "shac-ant" in out


def test_check(diffrl):
    from diffsim_core.check import CHECKS

    code, out, err = diffrl("check", "toy", "--json", "--num-envs", 4, "--horizon", 8)
    report = json.loads(out)
    assert report["horizon_tested"] == 8 and report["num_envs"] == 4
    for part, name in enumerate(CHECKS, start=1):
        assert f"part {part} of {len(CHECKS)}, {name}    0%" in err
    assert report["max_rel_error"] < 1e-6 and report["deterministic"] is True, err
    assert code == (0 if report["ok"] else 1) == 0
    assert report.items() >= {"task": "toy", "seed": 0, "device": "cpu"}.items()


@pytest.mark.parametrize(("option", "least"), [("--num-envs", 2), ("--horizon", 1), ("--seed", 0)])
def test_check_refuses_sizes_that_make_no_sense(diffrl, option, least):
    code, out, err = diffrl("check", "toy", option, least - 1)
    assert (code, out) == (2, "") and f"{option} is {least - 1}; expected at least {least}" in err


def test_check_refuses_what_has_no_float64(diffrl):
    pytest.importorskip("newton")
    code, _, err = diffrl("check", "newton_cartpole")
    assert code == 2 and "newton_cartpole cannot be checked" in err and "single precision only" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["train"], "needs ALGO and TASK"),
        (["train", "shac"], "needs ALGO and TASK"),
        (["train", "shaq", "toy"], "unknown algorithm 'shaq'; did you mean shac or sac or sapo?"),
        (["train", "--seed", "1", "shaq", "toy"], "unknown algorithm 'shaq'; did you mean shac or sac or sapo?"),
        (["train", "shac", "cartpol"], "unknown task 'cartpol'; did you mean cartpole or newton_cartpole?"),
        (["train", "shac", "toy", "--gama", "0.9"], "'--gama'; did you mean --gamma"),
        (["train", "shac", "toy", "--gamma", "2"], "gamma of SHACConfig is '2'; it takes a number from 0 to 1"),
        (["train", "shac", "toy", "--gamma", "x"], "gamma of SHACConfig is 'x'; it takes a number from 0 to 1"),
        (
            ["train", "shac", "toy", "--num-envs", "0"],
            "argument --num-envs: invalid value '0'; it takes an integer from 1",
        ),
        (["train", "shac", "toy", "--num-envs", "many"], "invalid value 'many'; it takes an integer"),
        (["train", "shac", "toy", "--seed", "-1"], "argument --seed: invalid value '-1'; it takes an integer from 0"),
        (["train", "shac", "toy", "--iterations", "3", "--seconds", "2"], "a budget is one of"),
        (
            ["train", "shac", "toy", "--stop-after", "0"],
            "argument --stop-after: invalid value '0'; it takes an integer",
        ),
        (["train", "shac", "toy", "--device", "tpu"], "device is 'tpu'"),
        (["train", "agpo", "toy", "--num-envs", "1"], "num_envs is 1, and AGPO takes variances over worlds"),
        (["train", "shac", "toy", "--critic-fit", "fast"], "it takes torch, native or auto"),
        (["train", "sapo", "beacon", "--critic-fit", "native"], "but the network has an encoder; use critic_fit=auto"),
        (["train", "shac", "toy", "--device", "cuda:99"], "use --device cpu"),
        (["train", "shac", "toy", "--eval-every", "0"], "--eval-every: invalid value '0'; it takes an integer from 1"),
        (
            ["train", "shac", "toy", "--stop-at-return", "nan"],
            "--stop-at-return: invalid value 'nan'; it takes a finite number",
        ),
        (["train", "--resume", "nowhere", "--tensorboard"], "tensorboard is fixed when a run begins"),
        (["train", "shac", "toy", "--task-option", "limt=1"], "limit"),
        (["train", "shac", "toy", "--task-option", "limit"], "expected NAME=VALUE"),
        (["train", "shac", "toy", "--task-option", "limit={1"], "limit of task 'toy' is '{1'; it takes"),
        (["train", "shac", "cartpole", "--task-option", 'randomize={"gravity:w": [1, 2]}'], "gravity:w"),
        (["train", "shac", "toy", "--import", "no_such_module"], "no such module"),
        (["train", "shac", "toy", "--import", "no_such.py"], "no such file"),
        (["train", "shac", "toy", "extra"], "unrecognized arguments: extra"),
        (["train", "--resume", "nowhere"], "nowhere is not a run folder"),
        (["train", "--resume", "nowhere", "--gamma", "0.9"], "--gamma is fixed"),
        (["train", "--resume", "nowhere", "--seed", "1"], "seed is fixed when a run begins"),
        (["eval", "nowhere"], "nowhere is not a run folder"),
        (["eval"], "the following arguments are required: RUN"),
        (["eval", "nowhere", "--episodes", "0"], "argument --episodes: invalid value '0'; it takes an integer from 1"),
        (["list", "task"], "did you mean tasks"),
        (["check", "cartpol"], "unknown task 'cartpol'; did you mean cartpole or newton_cartpole?"),
    ],
)
def test_bad_input_is_one_clear_line(diffrl, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = diffrl(*arguments, "--json")
    assert code == 2 and out == ""
    lines = [line for line in err.splitlines() if line.startswith("diffrl: ")]
    assert len(lines) == 1 and words in lines[0]
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == []


def test_a_damaged_checkpoint_is_refused_and_nothing_changes(diffrl, tmp_path):
    run = tmp_path / "run"
    train = ["train", "shac", "toy", *SMALL, "--iterations", 6, "--checkpoint-every", 2]
    assert diffrl(*train, "--stop-after", 4, "--out", run)[0] == 0
    bad = run / "checkpoints" / "00000004.safetensors"
    bad.write_bytes(bad.read_bytes()[:-1])
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for command in (["train", "--resume", run], ["eval", run]):
        code, out, err = diffrl(*command)
        assert code == 2 and out == "" and "00000004.safetensors" in err and "it is 00000002" in err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    # What the message says helps.
    (run / "checkpoints" / "00000004.json").unlink()
    assert diffrl("train", "--resume", run)[0] == 0
    assert diffrl(*train, "--out", tmp_path / "whole")[0] == 0
    assert tensors(run)["00000006.safetensors"] == tensors(tmp_path / "whole")["00000006.safetensors"]


def test_help_and_lists_load_no_array_library():
    """The help of one algorithm comes from its configuration, which is in its file: that one imports its framework."""
    script = (
        "import sys; from diffrl_algos.cli import main; import contextlib, io\n"
        "for arguments in (['--help'], ['list', 'tasks'], ['list', 'presets'], ['list', 'algos']):\n"
        "    assert main(arguments) == 0\n"
        "with contextlib.suppress(SystemExit): main(['train', '--help'])\n"
        "print(sorted({'torch', 'jax', 'warp', 'mujoco'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for part in ("train", "eval", "list", "check", "cartpole", "shac-ant"):
        assert part in done.stdout


def test_help_shows_types_limits_defaults_and_choices(diffrl):
    """On stdout; with ALGO and TASK the defaults are those of the preset, and the task's options are listed."""
    pytest.importorskip("diffsim_traffic")
    code, out, _ = diffrl("train", "shac", "pace_car_1", "--help")
    assert code == 0
    told = " ".join(out.split())
    for part in (
        "--gamma VALUE Discount per control step. Takes a number from 0 to 1; default",
        "Takes linear or constant; default linear.",
        "--num-envs N Worlds in parallel. Takes an integer from 1",
        "options of task 'pace_car_1', as --task-option NAME=VALUE:",
        "Takes realistic or paper; default paper.",  # the preset's; the task's own is realistic
        "Takes a number above 0, inf or none [m/s^2]; default none.",
    ):
        assert part in told
    assert diffrl("train", "shac", "nothing", "--help")[0] == 2


def test_lists_in_json_have_every_option(diffrl):
    code, out, _ = diffrl("list", "tasks", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    episode = next(one for one in rows["cartpole"]["options"] if one["name"] == "episode_length")
    assert code == 0 and (episode["default"], episode["unit"], episode["ge"]) == (240, "steps", 1)
    rows = {row["name"]: row for row in json.loads(diffrl("list", "algos", "--json")[1])}
    schedule = next(one for one in rows["shac"]["options"] if one["name"] == "lr_schedule")
    assert schedule["choices"] == ["linear", "constant"] and schedule["default"] == "linear"


def test_resume_says_that_a_field_is_fixed(diffrl, tmp_path):
    run = tmp_path / "run"
    assert diffrl("train", "shac", "toy", *SMALL, "--iterations", 2, "--stop-after", 1, "--out", run)[0] == 0
    for given in (["--iterations", "5"], ["--gamma", "0.9"], ["--seed", "1"], ["--env-steps", "9"]):
        code, _, err = diffrl("train", "--resume", run, *given)
        assert code == 2 and f"{given[0]} is fixed when a run begins. --stop-after K" in err
    code, _, err = diffrl("train", "--resume", run, "--itertions", "5")
    assert code == 2 and "did you mean --iterations" in err


OWN_CARTPOLE = """
import diffsim_core
from diffsim_core._registry import task_factory
diffsim_core.register_task("own_cartpole", task_factory("cartpole"))
"""


def test_a_run_knows_its_imports_and_asks_before_it_uses_them(tmp_path):
    """In processes of their own, which know nothing of the task."""
    own, run = tmp_path / "own.py", tmp_path / "run"
    own.write_text(OWN_CARTPOLE)

    def command(*arguments):
        line, options = in_process(*arguments, stdin=subprocess.DEVNULL)
        done = subprocess.run(line, **options)
        return done.returncode, done.stdout, done.stderr

    small = [*SMALL[:10], "--task-option", "episode_length=6", "--eval-episodes", "2", "--iterations", "2"]
    code, _, err = command("train", "shac", "own_cartpole", "--import", own, *small, "--stop-after", 1, "--out", run)
    assert code == 0, err
    (record,) = json.loads((run / "run.json").read_text())["imports"]
    assert record["import"] == str(own) and len(record["sha256"]) == 64
    code, _, err = command("train", "--resume", run)
    assert code == 2 and f"was started with --import {own}" in err and "--trust-imports" in err
    own.write_text(OWN_CARTPOLE + "# changed")
    code, out, err = command("train", "--resume", run, "--trust-imports", "--json")
    assert code == 0 and json.loads(out)["status"] == "finished" and "has changed since" in err
    assert command("eval", run, "--import", own)[0] == 0
    own.unlink()
    code, _, err = command("eval", run, "--trust-imports")
    assert code == 2 and "does not exist; give its new place: --import FILE" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_the_run_goes_on(tmp_path, number, code):
    """A run that is interrupted and resumed equals one that never was."""
    run = tmp_path / "run"
    shape = [*SMALL, "--import", TOY]
    command, options = in_process("train", "shac", "toy", *shape, "--iterations", 4000, "--out", run, "--json")
    process = subprocess.Popen(command, **options)
    log = run / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    stopped = json.loads(out)
    done = stopped["iterations"]
    assert stopped["status"] == "interrupted" and stopped["signal"] == number.name and 1 <= done < 4000
    assert list(tensors(run))[-1:] == [f"{done:08d}.safetensors"]

    assert main(["train", "--resume", str(run), "--stop-after", "2"]) == 0
    whole = tmp_path / "whole"
    arguments = [
        "train",
        "shac",
        "toy",
        *SMALL,
        "--iterations",
        "4000",
        "--stop-after",
        str(done + 2),
        "--out",
        str(whole),
    ]
    assert main(arguments) == 0
    assert list(tensors(run).values())[-1] == list(tensors(whole).values())[-1]


OWN = """
import diffsim_core
from diffsim_core.tasks import cartpole

def make_task(**options):
    task = cartpole.make_task(**options)
    Own = type("Own", (type(task),), {"name": "own", %r: lambda self, *given: %s})
    task.__class__ = Own
    return task

diffsim_core.register_task("own", make_task)
"""


@pytest.mark.parametrize(
    ("function", "body", "words"),
    [
        ("observe", "1 / 0", "ZeroDivisionError: division by zero (own.py, line 7, in <lambda>)"),
        ("reward", "given[4][:, :1]", "task 'own': reward returned shape (4, 1), float32; expected (4,), float32"),
        ("reward", "given[0].sqrt((given[1].q * 0).sum(1))", "reward has no derivative where physics.q[0] is"),
    ],
)
def test_check_ends_in_lines_whatever_a_task_does(diffrl, tmp_path, monkeypatch, function, body, words):
    monkeypatch.setattr("diffsim_core._registry._REGISTERED", {})
    (tmp_path / "own.py").write_text(OWN % (function, body))
    code, out, err = diffrl("check", "own", "--import", str(tmp_path / "own.py"), "--num-envs", "4")
    assert code == 1 and "Traceback" not in out + err
    lines = [line for line in out.splitlines() if line.startswith("  - ")]
    assert any(words in line for line in lines) and len(lines) <= 4


def test_check_refuses_a_factory_that_fails_in_one_line(diffrl, tmp_path, monkeypatch):
    monkeypatch.setattr("diffsim_core._registry._REGISTERED", {})
    (tmp_path / "own.py").write_text(
        "import diffsim_core\ndiffsim_core.register_task('own', lambda **options: 1 / 0)\n"
    )
    code, _, err = diffrl("check", "own", "--import", str(tmp_path / "own.py"))
    place = "ZeroDivisionError: division by zero (own.py, line 2, in <lambda>)"
    assert code == 2 and err.splitlines()[-1] == f"diffrl: own cannot be made: {place}"


def test_a_task_that_returns_a_wrong_shape_ends_training_in_one_line(diffrl, tmp_path, monkeypatch):
    monkeypatch.setattr("diffsim_core._registry._REGISTERED", {})
    (tmp_path / "own.py").write_text(OWN % ("reward", "given[4][:, :1]"))
    command = ["train", "shac", "own", "--import", str(tmp_path / "own.py"), "--num-envs", "4", "--iterations", "1"]
    code, _, err = diffrl(*command, "--out", str(tmp_path / "run"))
    assert code == 2 and err.splitlines()[-1].startswith("diffrl: task 'own': reward returned shape (4, 1), float32; ")
