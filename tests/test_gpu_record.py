"""``nox -s gpu_record``: if a part fails, takes too long or prints nonsense, the files of the others stay."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_record", ROOT / "tests/gpu_record.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["gpu_record"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


record = load()
FACTS = "import json; print(json.dumps({'machine': {'cpu': 'a cpu', 'gpu': None}, 'versions': {}}))"
SLEEP = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
TRAIN = """
import json, pathlib, sys
run = pathlib.Path(sys.argv[1]); run.mkdir()
(run / "metrics.jsonl").write_text('{"iteration": 1, "env_steps": 8, "wall_s": 0.5, "return_mean": null, "x": 3}\\n')
(run / "run.json").write_text('{"seed": 0}')
print('{"return_mean": 2.0}')
"""


def code(name: str, text: str, limit: float = 30.0, kind: str = "report", *more: str) -> Any:
    return record.Part(name, ("-c", text, *more), limit, kind)


PARTS = [
    code("good", "print('{\"x\": 1}')"),
    code("bad", "import sys; print('{}'); sys.exit('it broke')"),
    code("slow", SLEEP, 0.5),
    code("nonsense", "print('no JSON')"),
    code("training", TRAIN, 30.0, "training", "{run}"),
    code("tests", "print('FAILED a.py::b - E\\n1 failed, 3 passed, 2 skipped in 4.1s'); exit(1)", 30.0, "tests"),
    code("broken-tests", "exit(3)", 30.0, "tests"),
    code("last", "print('{\"x\": 2}')"),
]


def run(tmp_path: Path, monkeypatch: Any, seconds: float = 120.0) -> tuple[int, dict[str, Any], dict[str, Any]]:
    monkeypatch.setattr(record, "MACHINE", FACTS)
    monkeypatch.setattr(record, "parts", lambda device, sizes: iter(PARTS))
    bad = record.record("cpu", tmp_path / "out", seconds, record.TINY)
    files = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").iterdir()}
    return bad, files.pop("record"), files


def test_keeps_the_files_of_the_parts_that_end_well(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    bad, found, files = run(tmp_path, monkeypatch)
    status = {name: row["status"] for name, row in found["parts"].items()}
    assert status == {
        "good": "finished",
        "bad": "failed",
        "slow": "out of time",
        "nonsense": "failed",
        "training": "finished",
        "tests": "failed",
        "broken-tests": "failed",
        "last": "finished",
    }
    assert bad == 5 and found["machine"]["cpu"] == "a cpu" and len(found["commit"] or 40 * "x") == 40
    assert files.keys() == {"good", "training", "tests", "last"}
    assert all(value["machine"]["cpu"] == "a cpu" for value in files.values())
    assert (files["good"]["x"], files["last"]["x"]) == (1, 2)
    curve = [{"iteration": 1, "env_steps": 8, "wall_s": 0.5, "return_mean": None}]
    assert (files["training"]["curve"], files["training"]["run"]) == (curve, {"seed": 0})
    assert [files["tests"][key] for key in ("passed", "failed", "skipped")] == [3, 1, 2]
    assert files["tests"]["failures"] == ["a.py::b - E"]
    assert "it broke" in found["parts"]["bad"]["messages"] and "JSON" in found["parts"]["nonsense"]["messages"]
    said = capsys.readouterr().err
    assert "[2/8] bad, " in said and "it broke" in said and "3 of 8 parts ended well" in said


def test_no_part_begins_when_the_time_is_up(tmp_path: Path, monkeypatch: Any) -> None:
    bad, found, files = run(tmp_path, monkeypatch, seconds=0.0)
    assert bad == 8 and not files and {row["status"] for row in found["parts"].values()} == {"not started"}


def test_says_that_there_is_no_such_device(tmp_path: Path, capsys: Any) -> None:
    assert record.main(["--device", "cuda:77", "--out", str(tmp_path / "out")]) == 1
    assert "'cuda:77'" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_measures_what_it_promises() -> None:
    names = [part.name for part in record.parts("cuda", record.Sizes())]
    assert names[0] == "tests" and "training-shac-ant" in names and "update-shac-ant-64-graph" in names
    assert {f"sim-ant-{n}" for n in (64, 256, 1024, 4096, 16384)} <= {*names} and len({*names}) == len(names)
    assert record.SECONDS + 30 <= 600


@pytest.mark.slow
def test_a_tiny_record_on_this_machine(tmp_path: Path) -> None:
    assert record.main(["--device", "cpu", "--tiny", "--out", str(tmp_path)]) == 0
    for name in ("record", "tests", "sim-ant-2", "update-shac-ant-2", "update-shac-ant-2-fused", "training-shac-ant"):
        value = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert value["machine"]["cores"] and value["versions"]["torch"]
