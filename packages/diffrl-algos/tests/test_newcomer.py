"""What a newcomer does wrong is answered by one line that can be acted on: where it is, and what to type."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import diffsim_core
from diffrl_algos import UsageError, _imports, get_algorithm
from diffrl_algos._fields import field_types, flag, spelled
from diffrl_algos._imports import import_module, resume_command
from diffrl_algos._start import _NETWORKS, _require_same_networks
from diffrl_algos.cli import _main, main

from .test_family import NAMES

SMALL = ["--num-envs", 4, "--horizon", 8, "--actor-hidden", "16,8", "--critic-hidden", 16, "--critic-iterations", 2]
SMALL += ["--eval-episodes", 4, "--task-option", "horizon=5", "--iterations", 3]


@pytest.fixture
def diffrl(capfd, monkeypatch, tmp_path):
    """Run the command in an empty folder: ``(exit code, stdout, lines of stderr)``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_imports, "_imported", {})

    def command(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err.splitlines()

    return command


# Imports --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def neighbours(tmp_path_factory, monkeypatch):
    """A file that imports the one next to it; nothing of it stays in this process."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("near_by", "importing"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    (folder / "near_by.py").write_text("NUMBER = 3\n")
    (folder / "json.py").write_text("raise RuntimeError('it shadows the standard library')\n")
    (folder / "importing.py").write_text("import json\n\nfrom near_by import NUMBER\n")
    return folder


def test_a_file_may_import_its_neighbours(neighbours, diffrl):
    before = list(sys.path)
    import_module(str(neighbours / "importing.py"))
    assert sys.modules["importing"].NUMBER == 3 and sys.path == before
    for command in (["list", "tasks"], ["check", "nothing"], ["train", "shac", "nothing"]):
        code, _, err = diffrl(*command, "--import", neighbours / "importing.py")
        assert code == (0 if command[0] == "list" else 2) and not any("near_by" in line for line in err)


def test_a_recorded_import_finds_its_neighbours(neighbours, diffrl):
    file = neighbours / "importing.py"
    code, _, err = diffrl("train", "shac", "toy", *SMALL, "--stop-after", 1, "--out", "run", "--import", file)
    assert code == 0, err
    for name in ("near_by", "importing"):
        del sys.modules[name]
    code, _, err = diffrl("eval", "run", "--trust-imports")
    assert code == 0 and sys.modules["importing"].NUMBER == 3, err


@pytest.mark.parametrize("as_module", [False, True])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("from json import no_such_thing", "cannot import name 'no_such_thing' from 'json'"),
    ],
)
def test_what_cannot_be_imported_is_said_with_file_and_line(diffrl, monkeypatch, tmp_path, line, words, as_module):
    Path("importing.py").write_text(f"\n\n{line}\n")
    monkeypatch.setitem(sys.modules, "importing", None)
    monkeypatch.delitem(sys.modules, "importing")
    for command in (["train", "shac", "toy"], ["check", "cartpole"], ["list", "tasks"]):
        code, _, err = diffrl(*command, "--import", "importing" if as_module else "importing.py")
        assert code == 2 and len(err) == 1 and words in err[0] and "(importing.py, line 3, in <module>)" in err[0]


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_option_of_the_task_is_said_to_be_one(diffrl, name):
    for given, wanted in (
        (["--limit", 0.5], "limit=0.5"),
        (["--limit=a b"], "'limit=a b'"),
        (["--limit"], "limit=VALUE"),
    ):
        code, _, err = diffrl("train", name, "toy", *given)
        assert code == 2 and err == [f"diffrl: --limit is an option of task 'toy'; give --task-option {wanted}"]
    code, _, err = diffrl("train", name, "toy", "--limitt", 0.5)
    assert code == 2 and "unknown option" in err[0]


@pytest.mark.parametrize("name", NAMES)
def test_any_field_or_option_of_the_run_is_no_option_of_the_task(diffrl, name):
    own = [field for field in field_types(get_algorithm(name).config_class()) if field != "horizon"]
    for field in [*own, "num_envs", "seed", "env_steps", "eval_every"]:
        code, _, err = diffrl("train", name, "toy", "--task-option", f"{field}=1")
        assert code == 2 and err == [
            f"diffrl: {field} is an option of the run, not of task 'toy'; give {flag(field)} 1"
        ]


def test_all_settings_that_differ_from_an_old_run_are_named_at_once(diffrl):
    code, _, err = diffrl(
        "train", "shac", "toy", *SMALL, "--activation", "silu", "--layer-norm", "false", "--out", "old"
    )
    assert code == 0, err
    code, _, err = diffrl("train", "shac", "toy", "--init-from", "old", "--out", "new")
    options = "--actor-hidden 16,8 --activation silu --layer-norm false"
    assert code == 2 and len(err) == 1 and err[0].endswith(f"give {options}")
    assert not Path("new").exists()
    given = [*SMALL, *options.split(), "--stop-after", 1]
    code, _, err = diffrl("train", "shac", "toy", "--init-from", "old", "--out", "new", *given)
    assert code == 0, err


@pytest.mark.parametrize("name", NAMES)
def test_the_options_that_are_named_make_the_networks_equal(name):
    """For every field that decides what the numbers of an actor mean, in every algorithm that has it."""
    cls = get_algorithm(name).config_class()
    known = [field for field in _NETWORKS if field in field_types(cls)]
    other = {"actor_hidden": (7, 5), "activation": "relu", "layer_norm": False, "normalize_obs": False}
    other["state_dependent_std"] = not getattr(cls(), "state_dependent_std", True)
    changed = cls(**{field: other[field] for field in known if getattr(cls(), field) != other[field]})
    differ = [field for field in known if getattr(changed, field) != getattr(cls(), field)]
    _require_same_networks(cls(), cls())
    if not differ:
        return
    with pytest.raises(ValueError, match="give " + " ".join(f"{flag(f)} {spelled(other[f])}" for f in differ)):
        _require_same_networks(cls(), changed)


# What is printed ------------------------------------------------------------------------------------------------------


def test_the_way_on_can_be_pasted(diffrl, neighbours, tmp_path):
    folder = tmp_path / "my runs"
    file = neighbours / "importing.py"
    code, out, _ = diffrl("train", "shac", "toy", *SMALL, "--stop-after", 1, "--out", folder, "--import", file)
    assert code == 0 and out.strip().endswith(f"diffrl train --resume '{folder}' --trust-imports")
    assert resume_command(folder).endswith("--trust-imports")
    _imports._imported.clear()
    code, out, _ = diffrl("train", "shac", "toy", *SMALL, "--stop-after", 1, "--out", "plain")
    assert code == 0 and out.strip().endswith("diffrl train --resume plain")


def test_the_run_folder_is_named_once_there_is_one(diffrl):
    code, _, err = diffrl("train", "shac", "toy", *SMALL, "--init-from", "nowhere", "--out", "runs/warm")
    assert code == 2 and len(err) == 1
    code, _, err = diffrl("train", "shac", "cartpole", *SMALL, "--out", "run", "--task-option", "wrong=1")
    assert code == 2 and len(err) == 1 and not Path("run").exists()
    code, _, err = diffrl("train", "shac", "toy", *SMALL, "--stop-after", 1, "--out", "run")
    assert code == 0 and err[0] == "run folder: run"
    code, _, err = diffrl("train", "shac", "toy", *SMALL, "--out", "run")
    assert code == 2 and len(err) == 1


def test_a_check_is_printed_line_by_line(diffrl):
    code, out, _ = diffrl("check", "cartpole", "--num-envs", 4, "--horizon", 4)
    assert code == 0 and "{" not in out
    lines = {line.split()[0]: line.split(maxsplit=1)[1:] for line in out.splitlines()}
    assert {"max_rel_error", "actions", "physics.q", "horizon_of_trust"} <= lines.keys()
    numbers = [word.strip(",") for line in out.splitlines() for word in line.split()[1:]]
    assert all(
        sum(c.isdigit() for c in number.partition("e")[0].lstrip("-0.")) <= 3 for number in numbers if "." in number
    )
    code, out, _ = diffrl("check", "cartpole", "--num-envs", 4, "--horizon", 4, "--json")
    assert code == 0 and isinstance(json.loads(out)["rel_error"], dict)


@pytest.mark.parametrize("command", _main._ELSEWHERE)
def test_a_command_of_an_absent_or_older_package_is_named(diffrl, monkeypatch, command):
    monkeypatch.setattr(_main, "_plugins", dict)
    code, _, err = diffrl(command, "run")
    assert (
        code == 2 and len(err) == 1 and "is a command of diffrl-bench" in err[0] and "pip install --upgrade" in err[0]
    )

    def absent(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(_main, "version", absent)
    code, _, err = diffrl(command, "run")
    assert code == 2 and err[0].endswith("it is not installed: pip install diffrl-bench")


def test_help_has_a_sentence_for_every_command(diffrl):
    code, out, _ = diffrl("--help")
    commands = out.split("commands:")[1].split("\n\n")[0].strip().splitlines()
    assert code == 0 and len(commands) >= len(_main._COMMANDS)
    assert all(len(line.split()) > 4 and "diffrl_" not in line for line in commands)


# Mistakes in a factory, and a change of mind --------------------------------------------------------------------------


def no_dtype(*, num_envs, device):
    raise AssertionError("it is not called")


def test_a_factory_is_named_by_its_own_file_and_line(diffrl):
    if "no-dtype" not in diffsim_core.list_tasks():
        diffsim_core.register_task("no-dtype", no_dtype)
    place = f"(test_newcomer.py, line {no_dtype.__code__.co_firstlineno})"
    for command in (["check", "no-dtype"], ["train", "shac", "no-dtype"]):
        code, _, err = diffrl(*command)
        assert code == 2 and len(err) == 1 and place in err[0] and "keyword argument 'dtype'" in err[0]
        assert "_check.py" not in err[0]
    with pytest.raises(ValueError, match="num_envs, device and dtype"):
        diffsim_core.make("no-dtype")
    with pytest.raises(UsageError, match="no such module"):
        import_module("no_such_module_at_all")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("diffsim_core", "SIGINT"),
        ("diffrl_algos.cli._main", "SIGINT"),
        ("diffrl_algos.cli._main", "SIGTERM"),
        ("diffrl_algos._files", "SIGHUP"),
        ("numpy", "SIGINT"),
        ("numpy", "SIGTERM"),
    ],
)
def test_a_signal_while_the_command_loads_is_one_line(module, name):
    """Whatever is being imported: the signal comes from there."""
    number = signal.Signals[name]
    code = (
        "import sys, os, signal\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        f"            os.kill(os.getpid(), signal.{name})\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from diffrl_algos.cli import main\n"
        "sys.exit(main(['check', 'cartpole']))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ)
    assert (found.returncode, found.stderr) == (128 + number, f"diffrl: stopped by {name}\n")
