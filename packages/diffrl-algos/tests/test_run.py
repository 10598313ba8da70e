"""Run folders: made only where they can live, kept small, and never half of anything."""

from __future__ import annotations

import json
import os
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from diffrl_algos import Budget, CheckpointError, RunError, SHACConfig, UsageError
from diffrl_algos._checkpoint import checkpoint_names
from diffrl_algos._errors import WriteError
from diffrl_algos._files import is_part
from diffrl_algos._folders import reserved
from diffrl_algos._run import Run
from diffrl_algos._spec import RunSpec

ARRAYS = {"a": np.arange(5.0)}


def spec(**changes):
    values = {"algorithm": "shac", "task": "toy", "config": SHACConfig(gamma=1), "num_envs": 4}
    values |= {"budget": Budget(iterations=9), "task_options": {"limit": 0.5}, "keep_checkpoints": 2}
    return RunSpec(**{**values, **changes})


def figures(iteration, return_mean=None):
    return {"iteration": iteration, "env_steps": 10 * iteration, "wall_s": 0.5, "return_mean": return_mean}


def test_round_trip(tmp_path):
    made = Run.create(tmp_path / "deep" / "run", spec(), ARRAYS)
    opened = Run.open(tmp_path / "deep" / "run")
    assert opened == made
    values = json.loads((made.path / "run.json").read_text())
    assert values["config"]["gamma"] == 1.0 and values["seed"] == 0 and values["device"] == "cpu"
    for key in ("versions", "commit", "precision", "platform"):
        assert key in values
    assert values["versions"].keys() >= {"python", "torch", "diffrl-algos", "diffsim-core", "gradest"}


def test_a_folder_in_use_is_not_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        Run.create(tmp_path, spec(), ARRAYS)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match="is not empty"):
        Run.create(tmp_path / "notes.txt", spec(), ARRAYS)


def test_no_permission_is_said_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot make .*choose another place with --out"):
        Run.create(tmp_path / "file" / "run", spec(), ARRAYS)

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("diffrl_algos._files.tempfile.NamedTemporaryFile", denied)
    with pytest.raises(RunError, match=r"cannot write in .*Permission denied"):
        Run.create(tmp_path / "run", spec(), ARRAYS)
    assert not (tmp_path / "run").exists()


def test_no_space_is_said_before_training(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("diffrl_algos._files.shutil.disk_usage", lambda _: usage(2**40, 2**40, 70 * 2**20))
    Run.create(tmp_path / "small", spec(), ARRAYS)
    with pytest.raises(RunError, match="70 MiB free, this run needs 80 MiB"):
        Run.create(tmp_path / "a" / "b", spec(), {"a": np.zeros(2**20, np.float32)})
    assert not (tmp_path / "a").exists()


def test_a_full_disk_leaves_earlier_checkpoints(tmp_path, monkeypatch):
    run = Run.create(tmp_path / "run", spec(), ARRAYS)
    run.save(ARRAYS, figures(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("diffrl_algos._files.os.fsync", full)
        with pytest.raises(WriteError, match="No space left on device; earlier checkpoints are intact"):
            run.save(ARRAYS, figures(2))
    assert run.load()[1].iteration == 1


def test_the_last_and_the_best_are_kept(tmp_path):
    run = Run.create(tmp_path / "run", spec(), ARRAYS)
    for iteration, score in enumerate([None, 5.0, 9.0, 7.0, 8.0, float("nan")], start=1):
        run.save({"a": np.full(3, float(iteration))}, figures(iteration, score))
    assert checkpoint_names(run.checkpoints) == ["00000003", "00000005", "00000006"]
    assert run.load("best")[0]["a"][0] == 3.0 and run.load()[0]["a"][0] == 6.0
    run.save(ARRAYS, figures(7, 10.0))
    assert checkpoint_names(run.checkpoints) == ["00000006", "00000007"]
    assert run.load("best")[1].iteration == 7


def test_a_damaged_checkpoint_names_one_that_is_good(tmp_path):
    run = Run.create(tmp_path / "run", spec(keep_checkpoints=5), ARRAYS)
    for iteration in (1, 2, 3):
        run.save(ARRAYS, figures(iteration))
    for name in ("00000002", "00000003"):
        (run.checkpoints / f"{name}.safetensors").write_bytes(b"")
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    with pytest.raises(CheckpointError, match=r"00000003.safetensors .*good one before it is 00000001: move 00000003"):
        run.load()
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    (run.checkpoints / "00000001.safetensors").unlink()
    with pytest.raises(CheckpointError, match="No earlier checkpoint is good"):
        run.load()
    with pytest.raises(CheckpointError, match="holds no complete checkpoint"):
        Run.create(tmp_path / "empty", spec(), ARRAYS).load()
    with pytest.raises(CheckpointError, match="no best checkpoint"):
        run.load("best")


def test_a_changed_run_does_not_take_old_checkpoints(tmp_path):
    run = Run.create(tmp_path / "run", spec(), ARRAYS)
    run.save(ARRAYS, figures(1))
    file = run.path / "run.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(CheckpointError, match=r"run.json was changed"):
        Run.open(run.path).load()


def test_a_run_from_before_a_field_was_added_still_opens(tmp_path, monkeypatch):
    described = spec().to_json()
    del described["config"]["critic_shuffle"]
    # What an earlier version, whose configuration had no such field, would have written.
    monkeypatch.setattr(RunSpec, "to_json", lambda _: described)
    made = Run.create(tmp_path / "run", spec(), ARRAYS)
    made.save(ARRAYS, figures(1))
    monkeypatch.undo()
    opened = Run.open(made.path)
    assert opened.spec == spec() and opened.spec.to_json() != described
    assert opened.load()[1].iteration == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"diffrl-run-2"', '"other"', "not of format"),
        ('"gamma"', '"gama"', "did you mean gamma"),
        ('"shac"', '"shaq"', "did you mean shac"),
        ('"num_envs": 4', '"num_envs": "4"', "num_envs of the run is '4'; it takes an integer"),
        ('"seed": 0,', "", "has no 'seed'"),
        ('"iterations": 9', '"iterations": "9"', "run.json"),
        ("{", "", "not JSON"),
    ],
)
def test_a_damaged_run_is_refused(tmp_path, old, new, words):
    run = Run.create(tmp_path / "run", spec(), ARRAYS)
    file = run.path / "run.json"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(RunError, match=words):
        Run.open(run.path)


def test_something_else_is_not_a_run(tmp_path):
    with pytest.raises(RunError, match="is not a run folder"):
        Run.open(tmp_path)


def test_resuming_forgets_what_came_after_the_checkpoint(tmp_path):
    run = Run.create(tmp_path / "run", spec(), ARRAYS)
    log = run.path / "metrics.jsonl"
    lines = [json.dumps(figures(k, 0.1 * k)) + "\n" for k in range(1, 6)]
    log.write_text("".join(lines) + '{"iteration": 6, "env')
    (run.checkpoints / ".00000006.json.x.part").write_bytes(b"half")
    assert [line["iteration"] for line in run.metrics()] == [1, 2, 3, 4, 5]
    evaluations = run.path / "evaluations.jsonl"
    evaluations.write_text("".join(lines[1::2]))
    run.prepare_resume(3)
    assert log.read_text() == "".join(lines[:3])
    assert evaluations.read_text() == lines[1] and [line["iteration"] for line in run.evaluations()] == [2]
    assert list(run.checkpoints.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        *({"num_envs": 0}, {"seed": -1}, {"seed": 2**31}, {"device": "tpu"}, {"keep_checkpoints": 0}),
        *({"eval_every": 0}, {"eval_every": 1.5}, {"stop_at_return": float("nan")}, {"wandb": ""}),
    ],
)
def test_values_that_make_no_run(wrong):
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))} (of the run )?is"):
        spec(**wrong)


def test_one_process_at_a_time(tmp_path):
    run = Run.create(tmp_path / "run", spec(), ARRAYS)
    with run.locked():
        with pytest.raises(RunError, match=r"another process is training in .*run; wait until it ends"), run.locked():
            pass
        Run.open(run.path).load  # reading is free  # noqa: B018
    with run.locked():
        pass


def test_the_best_is_that_of_evaluations_where_there_are_any(tmp_path):
    run = Run.create(tmp_path / "run", spec(eval_every=2), ARRAYS)
    with pytest.raises(CheckpointError, match="no evaluation had taken place"):
        run.save(ARRAYS, figures(1, 99.0))
        run.load("best")
    assert run.is_better(-5.0)
    run.save(ARRAYS, figures(2, 1.0), -5.0)
    run.save(ARRAYS, figures(3, 50.0))
    assert not run.is_better(-5.0) and run.is_better(-4.0)
    run.save(ARRAYS, figures(4, 60.0), -6.0)
    run.save(ARRAYS, figures(5, 70.0), float("nan"))
    assert run.load("best")[1].iteration == 2
    assert json.loads((run.checkpoints / "best.json").read_text())["by"] == "evaluation"
    assert checkpoint_names(run.checkpoints) == ["00000002", "00000004", "00000005"]


def test_checkpoints_by_iteration(tmp_path):
    run = Run.create(tmp_path / "run", spec(), ARRAYS)
    for iteration in (3, 4):
        run.save(ARRAYS, figures(iteration, 1.0 * iteration))
    assert run.load("3")[1].iteration == run.load("00000003")[1].iteration == 3
    with pytest.raises(CheckpointError, match="has no checkpoint '5'; there are last, best, 3, 4"):
        run.load("5")
    with pytest.raises(CheckpointError, match=r"has no checkpoint '\.\./x'"):
        run.load("../x")


def test_fields_that_are_not_used_do_not_change_what_a_run_is(tmp_path):
    """Runs made before these fields existed go on."""
    before = Run.create(tmp_path / "run", spec(), ARRAYS)
    assert not {"eval_every", "stop_at_return", "tensorboard", "wandb"} & before.spec.to_json().keys()
    used = spec(eval_every=5, stop_at_return=0.0, tensorboard=True, wandb="p")
    run = Run.create(tmp_path / "other", used, ARRAYS)
    assert Run.open(run.path) == run and run.spec == used and run.identity != before.identity
    assert run.spec.to_json().items() >= {"eval_every": 5, "stop_at_return": 0.0, "tensorboard": True}.items()


LEAVES = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that end at once")


def in_child(function):
    """Run it in a forked process, which ends without any clean-up; its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        code = function() or 0
    finally:
        os._exit(code)


def cut_after(count, events=("open", "os.mkdir", "os.rename", "os.chmod", "os.remove", "fcntl.flock")):
    """End this process at its ``count``-th look at the file system from now on, as a kill would."""

    def hook(event, args):
        nonlocal count
        if event in events:
            count -= 1
            if not count:
                os._exit(9)

    sys.addaudithook(hook)


@LEAVES
@pytest.mark.parametrize("empty", [False, True], ids=["new", "empty"])
def test_a_creation_that_was_cut_off_at_any_moment_blocks_nothing(tmp_path, empty):
    """The same command begins, and after ``run.json`` is there, ``--resume`` does too; another run keeps off."""

    def create(path, count=None):
        if count is not None:
            cut_after(count)
        Run.create(path, spec(), ARRAYS)

    stages = set()
    for count in range(1, 1000):
        path = tmp_path / f"at{count}"
        if empty:
            path.mkdir()
        if (code := in_child(lambda path=path, count=count: create(path, count))) == 0:
            break
        assert code == 9
        stages.add(tuple(sorted(str(one.relative_to(path)) for one in path.rglob("*") if not is_part(one))))
        if (path / "run.json").exists():
            assert Run.open(path).spec == spec()
            with pytest.raises(UsageError, match="is not empty"):
                Run.create(path, spec(seed=1), ARRAYS)
        run = Run.create(path, spec(), ARRAYS)
        assert sorted(one.name for one in path.iterdir()) == [".lock", "checkpoints", "run.json"]
        with run.locked():
            run.save(ARRAYS, figures(1))
        with pytest.raises(UsageError, match="is not empty"):
            Run.create(path, spec(), ARRAYS)
    assert {(), (".lock",), (".lock", "checkpoints"), (".lock", "checkpoints", "run.json")} <= stages


@pytest.mark.parametrize("fails", ["mkdir", "exclusive", "require_writable", "write_atomic"])
def test_a_creation_that_fails_leaves_nothing(tmp_path, monkeypatch, fails):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(*((Path, "mkdir", full) if fails == "mkdir" else (f"diffrl_algos._run.{fails}", full)))
        with pytest.raises(RunError, match=r"cannot make .*No space left on device; choose another place"):
            Run.create(tmp_path / "a" / "run", spec(), ARRAYS)
        assert list(tmp_path.iterdir()) == []
    Run.create(tmp_path / "a" / "run", spec(), ARRAYS)


def test_what_has_results_or_belongs_to_others_is_not_taken_over(tmp_path):
    for name, spoil in {
        "log": lambda run: (run.path / "metrics.jsonl").write_text(json.dumps(figures(1)) + "\n"),
        "summary": lambda run: run.write_summary({}),
        "checkpoint": lambda run: run.save(ARRAYS, figures(1)),
        "damaged": lambda run: (run.path / "run.json").write_text("{"),
        "foreign": lambda run: [(run.path / "run.json").unlink(), (run.path / "notes").write_text("mine")],
        "weights": lambda run: [(run.path / "run.json").unlink(), (run.checkpoints / "a.safetensors").write_text("")],
    }.items():
        run = Run.create(tmp_path / name, spec(), ARRAYS)
        spoil(run)
        before = {one: one.is_file() and one.read_bytes() for one in run.path.rglob("*")}
        with pytest.raises(UsageError, match="is not empty"):
            Run.create(run.path, spec(), ARRAYS)
        assert {one: one.is_file() and one.read_bytes() for one in run.path.rglob("*")} == before, name


@LEAVES
def test_default_folders_of_many_starts_at_once_differ(tmp_path):
    """Forked, all in the same second; and one that fails leaves nothing."""
    begin = tmp_path / "begin"

    def start(k):
        while not begin.exists():
            pass
        with reserved(tmp_path / "runs" / "shac-toy-s0-20261129-222103") as path:
            Run.create(path, spec(seed=k), ARRAYS)

    pids = []
    for k in range(12):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = start(k) or 0
            finally:
                os._exit(code)
        pids.append(pid)
    begin.touch()
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 12
    assert {Run.open(path).spec.seed for path in (tmp_path / "runs").iterdir()} == set(range(12))
    with pytest.raises(RuntimeError), reserved(tmp_path / "other" / "name"):
        raise RuntimeError
    assert not (tmp_path / "other").exists()
