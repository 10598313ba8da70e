"""Damaged files: an error that can be caught or a valid model, never a crash, a hang or a file left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffsim_core.io import ModelError, load_model

from .hostile import FILES, OF_FILES, check, sources

SCRIPT = Path(__file__).with_name("hostile.py")


def run(folder: Path, first: int, count: int, timeout: float) -> dict:
    """The summary of a run of ``hostile.py`` in its own process, which a crash ends without ending the tests."""
    command = [sys.executable, str(SCRIPT), str(first), str(count)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    left = sorted(p.name for p in folder.iterdir())
    assert done.returncode == 0, f"exit code {done.returncode}, left {left}\n{done.stderr[-3000:]}"
    assert left == []
    return json.loads(done.stdout.splitlines()[-1])


def test_the_undamaged_sources() -> None:
    for text in sources():
        if "servo" in text:
            with pytest.raises(ModelError) as caught:
                load_model(text)
            assert len(caught.value.problems) >= 3
        else:
            check(load_model(text, body_contact=True, wrapping="straight"))


def test_the_undamaged_sources_with_files(tmp_path: Path) -> None:
    pytest.importorskip("collada")
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "urdf").mkdir()
    for text, name in zip(OF_FILES, ("files.xml", "urdf/arm.urdf"), strict=True):
        (tmp_path / name).write_text(text)
        check(load_model(tmp_path / name, root=tmp_path))


def test_300_mutants(tmp_path: Path) -> None:
    summary = run(tmp_path, 0, 300, timeout=900)
    assert summary["loaded"] + summary["refused"] == 300
    assert summary["loaded"] > 20  # else the damage is so coarse that only the XML parser is tested
    assert summary["refused"] > 100
    assert summary["slowest_s"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, 1000))
def test_10_000_mutants(tmp_path: Path, first: int) -> None:
    summary = run(tmp_path, first, 1000, timeout=3000)
    assert summary["loaded"] + summary["refused"] == 1000
    assert summary["slowest_s"] < 1
