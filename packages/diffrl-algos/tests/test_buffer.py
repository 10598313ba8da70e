"""The replay buffer of a run on disk: rows written once, dropped in time, missed by name."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

from diffrl_algos import Budget, CheckpointError, RunError, SACConfig
from diffrl_algos._checkpoint import save_checkpoint
from diffrl_algos._run import Run
from diffrl_algos._spec import RunSpec

CAPACITY, WORLDS = 10, 3


def spec(**changes):
    values = {"algorithm": "sac", "task": "toy", "config": SACConfig(), "num_envs": WORLDS}
    return RunSpec(**{**values, "budget": Budget(iterations=9), "task_options": {}, "keep_checkpoints": 2, **changes})


def arrays(count):
    """The state of a run whose step k has the numbers 3k, 3k + 1 and 3k + 2."""
    numbers = np.arange(count * WORLDS, dtype=np.float32).reshape(count, WORLDS)[-CAPACITY:]
    scalars = {"replay.count": np.asarray(count), "replay.capacity": np.asarray(CAPACITY)}
    rows = {"replay.rows.reward": numbers, "replay.rows.obs": np.stack([numbers, -numbers], -1)}
    return {"actor": np.full(4, count, np.float32), **scalars, **rows}


def save(run, iteration, count, score=None):
    figures = {"iteration": iteration, "env_steps": count * WORLDS, "wall_s": 0.5, "return_mean": score}
    run.save(arrays(count), figures)


def chunks(run):
    return sorted(int(path.stem) for path in (run.checkpoints / "replay").glob("*.safetensors"))


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_each_row_is_written_once_and_dropped_when_the_buffer_has_moved_past_it(tmp_path):
    run = Run.create(tmp_path / "run", spec(keep_checkpoints=1), arrays(0))
    sizes = []
    for iteration, count in enumerate((4, 8, 8, 9, 14, 20, 35), start=1):
        save(run, iteration, count)
        sizes.append((iteration, chunks(run)))
        assert same(run.load(whole=True)[0], arrays(count))
        small, _ = run.load()
        assert not any(name.startswith("replay.rows.") for name in small) and small["actor"][0] == count
    assert sizes == [
        (1, [4]),
        (2, [4, 8]),
        (3, [4, 8]),
        (4, [4, 8, 9]),
        (5, [8, 9, 14]),
        (6, [14, 20]),
        (7, [35]),
    ]


def test_an_older_checkpoint_can_be_resumed_from_while_its_rows_exist_and_evaluated_always(tmp_path):
    run = Run.create(tmp_path / "run", spec(keep_checkpoints=5), arrays(0))
    for iteration, count in enumerate((6, 12, 18, 24), start=1):
        save(run, iteration, count)
    assert chunks(run) == [18, 24]
    assert same(run.load("4", whole=True)[0], arrays(24))
    with pytest.raises(
        CheckpointError, match="replay buffer at iteration 2; this checkpoint can be evaluated, but not resumed"
    ):
        run.load("2", whole=True)
    assert run.load("2")[0]["actor"][0] == 12


def test_going_on_from_an_earlier_checkpoint_leaves_what_came_after_it(tmp_path):
    run = Run.create(tmp_path / "run", spec(keep_checkpoints=5), arrays(0))
    for iteration, count in enumerate((3, 6, 9), start=1):
        save(run, iteration, count)
    (run.checkpoints / "00000003.json").unlink()
    (run.checkpoints / "replay" / ".00000009.json.x.part").write_bytes(b"half")
    assert same(run.load(whole=True)[0], arrays(6))
    run.prepare_resume(2)
    save(run, 3, 8)
    assert chunks(run) == [3, 6, 8] and same(run.load(whole=True)[0], arrays(8))
    assert not list((run.checkpoints / "replay").glob(".*"))


def test_a_damaged_chunk_is_refused_and_a_good_checkpoint_named(tmp_path):
    run = Run.create(tmp_path / "run", spec(keep_checkpoints=5), arrays(0))
    for iteration, count in enumerate((3, 6), start=1):
        save(run, iteration, count)
    file = run.checkpoints / "replay" / "00000006.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"replay/00000006.* The newest good one before it is 00000001"):
        run.load(whole=True)
    assert run.load()[0]["actor"][0] == 6
    file.unlink()
    with pytest.raises(CheckpointError, match=r"replay/00000006.safetensors cannot be read"):
        run.load(whole=True)


def test_chunks_of_something_else_are_refused(tmp_path):
    run = Run.create(tmp_path / "run", spec(), arrays(0))
    save(run, 1, 3)
    figures = {"iteration": 3, "env_steps": 0, "wall_s": 0.0, "return_mean": None}
    for odd in ({"actor": np.zeros(3)}, {"replay.rows.obs": np.zeros((0, 2))}, {}):
        save_checkpoint(run.checkpoints / "replay", odd, run=run.identity, **figures)
        with pytest.raises(CheckpointError, match="holds no rows of a replay buffer: it is not from this run"):
            run.load(whole=True)


def test_room_for_the_whole_buffer_is_asked_for_before_training(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("diffrl_algos._files.shutil.disk_usage", lambda _: usage(2**40, 2**40, 70 * 2**20))
    empty = arrays(0)
    Run.create(tmp_path / "small", spec(), empty)
    # A million steps of three worlds, twelve bytes each.
    with pytest.raises(RunError, match="70 MiB free, this run needs 98 MiB"):
        Run.create(tmp_path / "large", spec(), {**empty, "replay.capacity": np.asarray(10**6)})
