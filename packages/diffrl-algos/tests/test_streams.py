"""Standard streams that are missing, closed or full do not end a training, and never in silence."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from diffrl_algos._callbacks import ProgressLine
from diffrl_algos._streams import Forgiving
from diffrl_algos._train import train

from .test_cli import SMALL, TOY
from .test_family import build

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
DIFFRL = f"{sys.executable} -m diffrl_algos"
TRAIN = " ".join(["train", "shac", "toy", *SMALL, "--import", TOY, "--iterations", "30", "--eval-every", "1"])


def shell(command, cwd):
    done = subprocess.run(["bash", "-c", command], cwd=cwd, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


FEW = [("<&- >&- 2>&-", 0), ("2> >(exec true)", 0), (">/dev/full", 1)]
MORE = [
    *((">&-", 0), ("2>&-", 0), ("2>/dev/full", 0), ("--json 2> >(exec head -c 1 >/dev/null)", 0)),
    *(("--json > >(exec true)", 1), (">/dev/full 2>/dev/full", 1)),
]


@pytest.mark.parametrize(("streams", "code"), [*FEW, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)])
def test_training_goes_on_without_its_streams(streams, code, tmp_path):
    """Only a result that cannot be printed is an error, after the work: it is in ``summary.json``."""
    if "/dev/full" in streams and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    found, out, err = shell(f"{DIFFRL} {TRAIN} --out run {streams}", tmp_path)
    assert found == code, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["iterations"]) == ("finished", 30)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 30
    assert "Traceback" not in err and "Exception ignored" not in err
    if code and streams.count("full") != 2:
        assert "cannot print the result" in err.splitlines()[-1]
    # What was opened in place of a missing stream got nothing that was meant for the stream.
    for file in (tmp_path / "run").rglob("*.json*"):
        for line in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            json.loads(line)
    assert not out or "2>" in streams


def test_every_command_runs_without_streams(tmp_path):
    for command in ("--help", "--version", "list algos", "list algos --json"):
        assert shell(f"{DIFFRL} {command} >&- 2>&- <&-", tmp_path)[0] == 0, command
        code, _, err = shell(f"{DIFFRL} {command} >/dev/full", tmp_path)
        assert code == 1 and err.startswith("diffrl: ") and "cannot print the result" in err, command
    assert shell(f"{DIFFRL} train nonsense >&- 2>&-", tmp_path)[0] == 2


class Broken(io.StringIO):
    """A pipe whose reader goes away after some text."""

    def write(self, text):
        if self.tell() > 40:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


def test_progress_that_nobody_reads_does_not_end_training(worlds, monkeypatch):
    out = Broken()
    line = ProgressLine(out)
    line._interval = 0.0
    assert train(build("shac"), worlds(2), callbacks=[line]).state.iteration == 10
    assert out.getvalue().startswith("iteration 1")


def test_only_what_a_stream_cannot_help_is_forgiven():
    closed = io.StringIO()
    closed.close()
    stream = Forgiving(closed)
    assert stream.write("x") == 1 and stream.flush() is None
    with pytest.raises(UnicodeEncodeError):
        Forgiving(io.TextIOWrapper(io.BytesIO(), encoding="ascii")).write("é")
