"""Models in a process of their own: verdicts, limits, a child that dies or hangs, results that are added to."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffrl_bench import _corpus, _model_physics, _models
from diffrl_bench._model_states import holding_controls, mujoco, random_states, sizes
from diffrl_bench._model_worker import Worker
from diffrl_bench._models import RESULTS, ModelsBench, bench_models, newest, read_rows
from diffrl_bench._models_text import CHECKS, counts, kinds, page_tables, reason, summary_table
from diffrl_bench._plot_models import level
from diffrl_bench.cli import main
from diffsim_core.io import load_model

OneObject = Callable[[], dict[str, Any]]

ARM = """
<mujoco>
  <option gravity="0 0 -9.81"/>
  <worldbody>
    <body pos="0 0 1"><joint name="a" axis="0 1 0" damping="1"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0.4 0 0"/>
      <body pos="0.4 0 0"><joint name="b" axis="0 1 0" range="-90 90" damping="1"/>
        <geom type="capsule" size="0.04" fromto="0 0 0 0.3 0 0"/></body></body>
  </worldbody>
  <actuator><position joint="a" kp="200" kv="10"/><position joint="b" kp="200" kv="10" ctrlrange="-1 1"/></actuator>
</mujoco>
"""
BALL = """
<mujoco><worldbody><geom type="plane" size="5 5 1"/>
  <body pos="0 0 0.3"><freejoint/><geom size="0.1" mass="1"/></body></worldbody></mujoco>
"""
ADHESIVE = ARM.replace("</actuator>", '<adhesion name="glue" body="tip" ctrlrange="0 1"/></actuator>').replace(
    '<body pos="0.4', '<body name="tip" pos="0.4'
)
DIES_OR_HANGS = """
import json, os, sys, time
for line in sys.stdin:
    name = os.path.basename(json.loads(line)["file"])
    print(json.dumps({"stage": "load", "status": "loads"}), flush=True)
    if "dies" in name:
        os.abort()
    if "hangs" in name:
        time.sleep(600)
    print(json.dumps({"stage": "end", "pid": os.getpid(), **({"error": "no"} if "fails" in name else {})}), flush=True)
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for name, text in (("arm", ARM), ("ball", BALL), ("adhesive", ADHESIVE), ("broken", "<mujoco><worldbody>")):
        (folder / f"{name}.xml").write_text(text, encoding="utf-8")
    (folder / "part.xml").write_text("<mujocoinclude/>", encoding="utf-8")
    return folder


def test_tiny_models_through_the_command(models: Path, tmp_path: Path, one_object: OneObject) -> None:
    out = tmp_path / "out"
    assert main(["models", str(models), "--out", str(out), "--json"]) == 0
    rows = {Path(row["model"]).stem: row for row in one_object()["models"]}
    assert list(rows) == ["adhesive", "arm", "ball", "broken"]
    assert {row["status"] for row in (rows["arm"], rows["ball"])} == {"loads"}
    assert rows["broken"]["status"] == "refused"
    for row in (rows["arm"], rows["ball"]):
        assert row["ended"] is None
        assert max(row["beside_mujoco"][name] for name in ("mass", "force", "acceleration")) < 1e-12
        assert row["gradient"]["error"] < 1e-7
        assert row["gradient"]["clear"] > 0
        assert row["random_steps"]["finished"] == 100
    assert rows["arm"]["stand"]["rests"]
    assert CHECKS["stand"](rows["arm"])
    assert level(rows["arm"]) == "works"
    assert rows["adhesive"]["status"] == "refused"
    assert "glue" in reason(rows["adhesive"])
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "| your files |" in table
    assert (out / "models.svg").stat().st_size > 2000
    # a second run has nothing to do, and asks no worker
    before = (out / RESULTS).read_text(encoding="utf-8")
    assert main(["models", str(models), "--out", str(out)]) == 0
    assert (out / RESULTS).read_text(encoding="utf-8") == before


def test_a_child_that_dies_or_hangs_ends_only_its_own_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = (sys.executable, "-c", DIES_OR_HANGS)
    monkeypatch.setattr(_models, "Worker", lambda **limits: Worker(**limits, command=command))  # pyright: ignore[reportUnknownLambdaType]
    for name in ("a_dies", "b_fine", "c_hangs", "d_fails", "e_fine"):
        (tmp_path / f"{name}.xml").write_text(BALL, encoding="utf-8")
    said: list[str] = []
    bench = ModelsBench(out=tmp_path / "out", files=(str(tmp_path),), seconds=1.0)
    rows = bench_models(bench, say=said.append)
    ended = [row["ended"] for row in rows]
    assert ended == ["the process died by signal 6", None, "not done after 1 s", "no", None]
    assert [row["status"] for row in rows] == ["loads"] * 5  # that line came before the end
    assert len(said) == 5
    assert "beside_mujoco was not reached" in reason(rows[0])


def test_a_worker_is_kept_between_jobs() -> None:
    code = "import json, os, sys\nfor line in sys.stdin:\n"
    code += "  for answer in ({'stage': 'load', 'pid': os.getpid()}, {'stage': 'end'}):\n"
    code += "    print(json.dumps(answer), flush=True)"
    with Worker(seconds=20.0, memory_gib=1.0, command=(sys.executable, "-c", code)) as worker:
        pids = {worker.run({})[0][0]["pid"] for _ in range(3)}
    assert len(pids) == 1


def test_rows_of_another_build_are_run_again(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ModelsBench(out=tmp_path / "out", files=(str(models / "broken.xml"),), measure=False)
    bench_models(bench)
    monkeypatch.setattr(_models, "build_digest", lambda: "another")
    bench_models(bench)
    rows = read_rows(tmp_path / "out" / RESULTS)
    assert len(rows) == 2
    assert [row["build"] for row in newest(rows)] == ["another"]
    (tmp_path / "out" / RESULTS).write_text("{}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1"):
        bench_models(bench)


def test_wrong_arguments(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["models", str(tmp_path / "none.xml"), *out]) == 2
    assert "does not exist" in capfd.readouterr().err
    assert main(["models", "--package", "nobody", *out]) == 2
    assert "not in the corpus" in capfd.readouterr().err
    assert main(["models", "--floating", *out]) == 2
    assert main(["models", str(tmp_path), "--package", "gymnasium", *out]) == 2
    assert main(["models", "--seconds", "0", *out]) == 2
    assert main(["models", str(tmp_path), *out]) == 2
    assert "no model found" in capfd.readouterr().err


def test_wrong_physics_is_seen() -> None:
    """A tenth too much gravity, or another gear, is no longer MuJoCo's force."""
    m = mujoco.MjModel.from_xml_string(ARM)
    model = load_model(ARM)
    states = random_states(m, 3, np.random.default_rng(0))
    assert max(_errors(model, m, states)) < 1e-12
    m.opt.gravity[2] *= 1.1
    mass, force, acceleration = _errors(model, m, states)
    assert mass < 1e-12
    assert min(force, acceleration) > 1e-4


def _errors(model: Any, m: Any, states: Any) -> list[float]:
    found = _model_physics.beside_mujoco(model, m, states)
    return [found[name] for name in ("mass", "force", "acceleration")]


def test_coupled_joints_have_mujocos_matrices_reduced() -> None:
    xml = ARM.replace(
        "</mujoco>", '<equality><joint joint1="b" joint2="a" polycoef="0.1 2 0.3 0 0"/></equality></mujoco>'
    )
    m, model = mujoco.MjModel.from_xml_string(xml), load_model(xml)
    assert (model.nv, m.nv) == (1, 2)
    assert sizes(model)["nv"] == 2
    assert max(_errors(model, m, random_states(m, 3, np.random.default_rng(0)))) < 1e-12


def test_a_tied_tendon_is_a_constraint_and_a_spring_of_its_own_is_not() -> None:
    arm = ARM.replace("<worldbody>", '<worldbody><site name="x" pos="0.1 0 0.6"/>')
    arm = arm.replace("</body></body>", '<site name="y" pos="0.3 0 0"/></body></body>')
    tendon = '<tendon><spatial name="t" stiffness="30"><site site="x"/><site site="y"/></spatial></tendon>'
    tied = '<equality><tendon name="tie" tendon1="t"/></equality>'
    for more in (tendon, tendon + tied):
        xml = arm.replace("</mujoco>", more + "</mujoco>")
        m, model = mujoco.MjModel.from_xml_string(xml), load_model(xml)
        assert max(_errors(model, m, random_states(m, 3, np.random.default_rng(0)))) < 1e-12
    assert model.tendons.name == ("t", "tie")


def test_servos_hold_their_pose() -> None:
    m = mujoco.MjModel.from_xml_string(ARM)
    np.testing.assert_allclose(holding_controls(m, np.array([0.3, -0.2])), [0.3, -0.2], atol=1e-12)
    np.testing.assert_allclose(holding_controls(m, np.array([0.3, -1.4])), [0.3, -1.0], atol=1e-12)  # its range


def _made(name: str, **values: Any) -> dict[str, Any]:
    row = {"model": name, "package": "p 1", "status": "loads", "ended": None, "measured": True, "nv": 2}
    good = {"mass": 0.0, "force": 0.0, "acceleration": 1e-9}
    row |= {"beside_mujoco": good, "gradient": {"error": 1e-9, "clear": 3, "directions": 3}}
    row |= {"random_steps": {"substeps": 16, "finished": 100, "of": 100, "fastest": 1.0, "mujoco": True}}
    return row | {"stand": {"rests": True, "in_range": True, "finished": 60, "apart_m": 0.001}} | values


def test_verdicts_and_tables() -> None:
    refused = {"status": "refused", "problems": ['geom "a" is odd: remove it'], "count": 2}
    rows = [
        _made("p/good.xml"),
        _made("p/wrong.xml", beside_mujoco={"mass": 0.0, "force": "inf", "acceleration": 0.0}),
        _made("p/steps.xml", random_steps={"substeps": 16, "finished": 3, "of": 100, "fastest": 1e9, "mujoco": True}),
        _made("p/falls.xml", stand={"rests": True, "in_range": True, "finished": 60, "apart_m": -0.3}),
        _made("p/wild.xml", random_steps={"substeps": 16, "finished": 3, "of": 100, "fastest": 1e9, "mujoco": False}),
        _made("p/thrown.xml", stand={"rests": True, "in_range": False, "finished": 60, "apart_m": -0.3}),
        _made("p/kinks.xml", gradient={"error": None, "clear": 0, "directions": 3}),
        {"model": "p/no.xml", "package": "p 1", "ended": None, "measured": True, **refused},
        {"model": "p/dead.xml", "package": "p 1", "ended": "not done after 1 s", "measured": True, "status": "failed"},
    ]
    assert counts(rows) == {
        "load": (7, 9), "as MuJoCo": (6, 8), "gradient": (6, 7), "100 steps": (5, 8), "stand": (5, 6)
    }  # fmt: skip
    assert [level(row) for row in rows] == [
        "works",
        *["loads; a check fails"] * 4,
        *["works"] * 2,
        "refused",
        "refused",
    ]
    assert reason(rows[0]) == ""
    assert "force inf" in reason(rows[1])
    assert "random step 3 with 16 sub-steps" in reason(rows[2])
    assert "-300 mm" in reason(rows[3])
    assert reason(rows[7]) == 'geom "a" is odd: remove it (and 1 more)'
    assert reason(rows[8]) == "not done after 1 s"
    assert kinds(rows)[0] == ("geom is odd", 1, 1)
    assert "7 (78%)" in summary_table(rows, markdown=False)
    assert "- `good.xml`: works\n" in page_tables(rows)
    json.dumps(rows, allow_nan=False)
    unmeasured = {**_made("p/new.xml"), "measured": False}
    for stage in ("beside_mujoco", "gradient", "random_steps", "stand"):
        del unmeasured[stage]
    assert level(unmeasured) == "loads, not checked further"
    assert "not checked" in page_tables([unmeasured])


def test_the_corpus_is_pinned() -> None:
    """No address of a registry, no two models of one name, no version left open."""
    found = _corpus.packages()
    names = [(package.name, name) for package in found for _, name in package.files]
    assert len(names) == len(set(names)) > 500
    assert all(package.version and package.files for package in found)
    assert {kind for package in found for kind, _ in package.files} == set(_corpus.KINDS)
    assert not any(".." in name or name.startswith("/") or "://" in name for _, name in names)
    assert [package.name for package in _corpus.packages(["brax"])] == ["brax"]


def test_a_package_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import pathlib, sys; t = pathlib.Path(sys.argv[2]) / 'm'; t.mkdir(); (t / 'a.xml').touch()"
    monkeypatch.setattr(_corpus, "_installer", lambda: [sys.executable, "-c", code])
    package = _corpus.Package("p", "1.0", (("floating", "m/a.xml"),))
    folder = _corpus.installed(package, tmp_path)
    (source,) = _corpus.sources(package, folder)
    assert source.file.exists()
    assert (source.name, source.package, source.floating) == ("p/m/a.xml", "p 1.0", True)
    monkeypatch.setattr(
        _corpus, "_installer", lambda: [sys.executable, "-c", "import sys; sys.exit('no such version')"]
    )
    assert _corpus.installed(package, tmp_path) == folder
    with pytest.raises(OSError, match="q 2 cannot be installed: no such version"):
        _corpus.installed(_corpus.Package("q", "2", ()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["p-1.0"]  # no part is left behind


def test_the_page_shows_the_committed_results() -> None:
    docs = Path(__file__).parents[3] / "docs"
    rows = newest(read_rows(docs / "results" / "models" / RESULTS))
    page = (docs / "environments" / "which-robots.md").read_text(encoding="utf-8")
    assert page_tables(rows) in page
    named = {f"{package.name}/{name}" for package in _corpus.packages() for _, name in package.files}
    assert {row["model"] for row in rows} == named
