"""What TensorBoard and Weights & Biases are told, and that a resumed run goes on where it was."""

from __future__ import annotations

import json

import pytest

from diffrl_algos.cli import main

from .test_cli import SMALL


def train(run, *more):
    return main(["train", "shac", "toy", *SMALL, "--iterations", "6", "--eval-every", "2", "--out", str(run), *more])


def lines(run, name):
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def records(data):
    """The records of a W&B file: LevelDB's log format, 7 bytes of header and blocks of 32 KiB."""
    at, parts = 7, []
    while len(data) - at >= 7:
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    assert train(run, "--tensorboard", "--stop-after", "3") == 0
    # Killed after its third update: what came after the second is logged again.
    (run / "checkpoints" / "00000003.json").unlink()
    assert main(["train", "--resume", str(run)]) == 0
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for group, log in (("train", "metrics.jsonl"), ("evaluation", "evaluations.jsonl")):
        for name in ("return_mean", "diverged"):
            found = [(event.step, event.value) for event in events.Scalars(f"{group}/{name}")]
            wanted = [(line["iteration"], line[name]) for line in lines(run, log) if line[name] is not None]
            assert [step for step, _ in found] == [step for step, _ in wanted], (group, name)
            assert [value for _, value in found] == pytest.approx([value for _, value in wanted]), (group, name)


def test_wandb_offline(tmp_path, monkeypatch):
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    assert train(run, "--stop-after", "3", "--wandb", "project") == 0
    assert main(["train", "--resume", str(run)]) == 0
    name = json.loads((run / "wandb.json").read_text())["id"]
    files = sorted(run.glob(f"wandb/offline-run-*/run-{name}.wandb"))
    assert len(files) == 2
    found: dict[int, dict[str, float]] = {}
    for file in files:
        for data in records(file.read_bytes()):
            record = Record.FromString(data)
            if record.HasField("run"):
                assert (record.run.project, record.run.run_id, record.run.display_name) == ("project", name, "run")
            if record.HasField("history"):
                items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
                values = {key: json.loads(value) for key, value in items.items()}
                found[values["_step"]] = values
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    for line in lines(run, "metrics.jsonl"):
        assert found[line["iteration"]].get("train/return_mean") == line["return_mean"]
    for line in lines(run, "evaluations.jsonl"):
        assert found[line["iteration"]]["evaluation/return_mean"] == line["return_mean"]
    assert sum("evaluation/return_mean" in values for values in found.values()) == 3
    wandb.teardown()


@pytest.mark.parametrize(("flag", "package"), [(["--tensorboard"], "tensorboard"), (["--wandb"], "wandb")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, capfd, flag, package):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    run = tmp_path / "run"
    assert train(run, *flag) == 2
    assert f"pip install 'diffrl-algos[{package}]'" in capfd.readouterr().err
    assert not run.exists()


def test_wandb_that_cannot_begin_says_what_to_do(tmp_path, monkeypatch, capfd):
    import wandb

    def refuse(**_):
        raise wandb.errors.CommError("no route")

    monkeypatch.setattr(wandb, "init", refuse)
    assert train(tmp_path / "run", "--wandb=project") == 2
    assert "Weights & Biases: no route; log in with wandb login, or set WANDB_MODE=offline" in capfd.readouterr().err


def test_the_name_of_a_run_is_read_with_care(tmp_path, monkeypatch):
    from diffrl_algos import RunError, WandbLog

    (tmp_path / "wandb.json").write_text("[]")
    with pytest.raises(RunError, match=r"wandb.json does not name a run"):
        WandbLog("p", tmp_path).on_start(None, 0.0)
