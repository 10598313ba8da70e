"""What the root's conftest.py promises: where it is asked for, missing extras fail, and so does too large a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = {
    "test_whole.py": "import pytest\npytest.importorskip('no_such_extra')\n",
    "test_one.py": (
        "import pytest\n"
        "def test_extra():\n    pytest.importorskip('no_such_extra')\n"
        "@pytest.mark.skipif(True, reason=\"could not import 'no_such_extra'\")\ndef test_marked(): ...\n"
        "def test_browser():\n    pytest.skip('no browser here')\n"
        "def test_large():\n    held = bytearray(300 * 2**20)\n    assert len(held)\n"
    ),
}


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and output of pytest on ``TESTS``, in processes without CI's variables but those that are named."""
    shutil.copy(ROOT / "conftest.py", folder)
    for name, text in TESTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -ra\n", encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI", "REQUIRE_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environment = {**clean, **environment}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_skip_for_a_missing_extra_fails_where_extras_are_required(tmp_path: Path, workers: str) -> None:
    # A file that cannot be collected would end a run of one process before its first test.
    code, said = run(tmp_path, "-n", workers, "--continue-on-collection-errors", REQUIRE_EXTRAS="1")
    assert code == 1, said
    assert said.count("REQUIRE_EXTRAS=1, but this was skipped: could not import 'no_such_extra'") >= 3, said
    assert "ERROR test_whole.py" in said and "no browser here" in said and "1 passed, 1 skipped" in said, said
    assert "FAILED test_one.py::test_extra" in said and "ERROR test_one.py::test_marked" in said, said


def test_otherwise_nothing_fails_and_the_peak_is_said_on_request(tmp_path: Path) -> None:
    code, said = run(tmp_path, "-n", "0", REPORT_MEMORY="1", MEMORY_LIMIT_GB="0.3")
    assert code == 0 and "1 passed, 4 skipped" in said and "test_one.py::test_large (+3" in said, said


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_large_process_fails_in_ci(tmp_path: Path, workers: str) -> None:
    code, said = run(tmp_path, "-n", workers, CI="true", MEMORY_LIMIT_GB="0.3")
    assert code == 1 and "held more than 0.3 GB" in said and "1 passed, 4 skipped" in said, said
