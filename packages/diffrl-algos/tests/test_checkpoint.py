"""Checkpoints: what is loaded is what was saved, or an error that names the file."""

from __future__ import annotations

import hashlib
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrl_algos import CheckpointError
from diffrl_algos._checkpoint import checkpoint_names, load_checkpoint, save_checkpoint, sha256_of
from diffrl_algos._files import canonical_json, dump_json, read_json
from diffrl_algos.torch import SHAC
from diffrl_algos.torch._state import from_arrays, to_arrays

RUN = "r" * 64


def some_arrays():
    rng = np.random.default_rng(0)
    return {
        "actor": rng.normal(size=33).astype(np.float32),
        "stats.mean": rng.normal(size=5),
        "env_state.t": np.arange(4, dtype=np.int32),
        "iteration": np.asarray(7),
        "rng": np.arange(40, dtype=np.uint8),
        "done": np.array([[True, False]]),
    }


def save(folder, arrays, iteration=7, run=RUN):
    return save_checkpoint(folder, arrays, run=run, iteration=iteration, env_steps=70, wall_s=1.5, return_mean=None)


def equal(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )


def test_round_trip(tmp_path):
    name = save(tmp_path, some_arrays())
    arrays, manifest = load_checkpoint(tmp_path, name, run=RUN)
    assert equal(arrays, some_arrays())
    assert (manifest.iteration, manifest.env_steps, manifest.wall_s, manifest.return_mean) == (7, 70, 1.5, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000007.json", "00000007.safetensors"]


def test_equal_states_give_equal_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    arrays = some_arrays()
    save(tmp_path / "a", arrays)
    save(tmp_path / "b", dict(reversed(arrays.items())))
    a, b = ((tmp_path / f / "00000007.safetensors").read_bytes() for f in "ab")
    assert a == b


def damage(data, rng):
    """One of the things that happen to files."""
    data = bytearray(data)
    where = rng.randrange(len(data))
    kind = rng.randrange(6)
    if kind == 0:
        data[where] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[where:]
    elif kind == 2:
        data[where:where] = rng.randbytes(rng.randrange(1, 9))
    elif kind == 3:
        del data[where : where + rng.randrange(1, 9)]
    elif kind == 4:
        data[where : where + 16] = bytes(len(data[where : where + 16]))
    else:
        data = bytearray(rng.randbytes(rng.randrange(0, 300)))
    return bytes(data)


def test_a_thousand_damaged_checkpoints(tmp_path):
    """Each is refused with an error that names a file, or loads as if nothing had happened."""
    rng = random.Random(0)
    name = save(tmp_path, some_arrays())
    files = [tmp_path / f"{name}.json", tmp_path / f"{name}.safetensors"]
    good = {file: file.read_bytes() for file in files}
    refused = 0
    for _ in range(1000):
        file = rng.choice(files)
        file.write_bytes(damage(good[file], rng))
        try:
            arrays, manifest = load_checkpoint(tmp_path, name, run=RUN)
            assert equal(arrays, some_arrays()) and manifest.iteration == 7 and manifest.wall_s == 1.5
        except CheckpointError as error:
            assert name in str(error)
            refused += 1
        file.write_bytes(good[file])
    assert refused > 950
    assert equal(load_checkpoint(tmp_path, name, run=RUN)[0], some_arrays())


# What unpickling would run, spelled out: os.system("touch executed").
PICKLE = b"cos\nsystem\n(S'touch executed'\ntR."


def test_foreign_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = save(tmp_path, some_arrays())
    tensors, manifest = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.json"
    with pytest.raises(CheckpointError, match="belongs to another run"):
        load_checkpoint(tmp_path, name, run="s" * 64)
    values = read_json(manifest)

    # Somebody else's tensors under a manifest that vouches for them.
    for data in (PICKLE, b"", b"\xff" * 64, (2**62).to_bytes(8, "little") + b"{}"):
        tensors.write_bytes(data)
        body = {k: v for k, v in values.items() if k != "sha256"}
        body |= {"tensors_sha256": hashlib.sha256(data).hexdigest(), "tensors_bytes": len(data)}
        manifest.write_bytes(dump_json({**body, "sha256": sha256_of(body)}))
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load_checkpoint(tmp_path, name, run=RUN)
    assert not (tmp_path / "executed").exists()

    for text in ("[]", "{}", "[" * 100_000, '{"format": "diffrl-checkpoint-1"}', "1" * 10_000, " " * 2**20 + "{}"):
        manifest.write_text(text)
        with pytest.raises(CheckpointError, match=name):
            load_checkpoint(tmp_path, name, run=RUN)
    manifest.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path, name, run=RUN)


def test_renamed_and_missing(tmp_path):
    name = save(tmp_path, some_arrays())
    for end in ("json", "safetensors"):
        (tmp_path / f"{name}.{end}").rename(tmp_path / f"00000009.{end}")
    with pytest.raises(CheckpointError, match="was renamed"):
        load_checkpoint(tmp_path, "00000009", run=RUN)
    (tmp_path / "00000009.json").rename(tmp_path / f"{name}.json")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path, name, run=RUN)


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, some_arrays(), iteration=1)
    import diffrl_algos._files as files

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, some_arrays(), iteration=2)
    assert checkpoint_names(tmp_path) == ["00000001"]
    assert [p for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_arrays_of_another_run_are_refused(worlds, small):
    algorithm = SHAC(small)
    state = algorithm.init(worlds(), 0)
    arrays = to_arrays(state)
    for broken, words in (
        ({k: v for k, v in arrays.items() if k != "actor"}, "'actor' is missing"),
        ({**arrays, "extra": arrays["run.rng"]}, "'extra' does not belong"),
        ({**arrays, "actor": arrays["actor"][:-1]}, "'actor' is float32"),
        ({**arrays, "actor": arrays["actor"].astype(np.float64)}, "'actor' is float64"),
    ):
        with pytest.raises(ValueError, match=words):
            from_arrays(state, broken)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), json_values))
def test_equal_json_has_equal_hash(value):
    again = json.loads(dump_json(value))
    assert again == value and sha256_of(again) == sha256_of(value)


def test_json_stays_valid():
    assert canonical_json({"a": float("nan"), "b": (1, float("inf"))}) == b'{"a":null,"b":[1,null]}'
