"""The repository's face: what its README claims, where results and pages lie, and pins that must agree."""

from __future__ import annotations

import ast
import json
import re
import statistics
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs/results"
SUITES = sorted(path.stem for path in ROOT.glob("packages/diffrl-bench/src/diffrl_bench/suites/*.toml"))
WITHOUT_PICTURE = {"offpolicy-locomotion", "shac-critic-order"}
"""Suites whose results are in a table of a page and nowhere drawn."""


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def report(path: str) -> Any:
    return json.loads((RESULTS / path).read_text(encoding="utf-8"))


def files() -> list[str]:
    """Paths of all files under version control, or of all files where there is none."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [path.as_posix() for path in found if not path.parts[0].startswith(".")]


def test_commands_of_the_readme_are_word_for_word() -> None:
    """CI runs the second one as it stands there."""
    blocks = re.findall(r"^```console\n(.*?)^```", read("README.md"), re.DOTALL | re.MULTILINE)
    assert "pip install uv && uvx nox -s train -- shac cartpole\n" in blocks
    assert "pip install uv && uvx nox -s tests\n" in blocks


def test_five_lines_are_five_and_the_same_on_the_front_page() -> None:
    (readme,) = re.findall(r"^```python\n(.*?)^```", read("README.md"), re.DOTALL | re.MULTILINE)
    assert f"```python\n{readme}```" in read("docs/index.md")
    assert sum(not isinstance(line, ast.Import | ast.ImportFrom) for line in ast.parse(readme).body) == 5


def test_numbers_of_the_readme_are_those_of_the_results() -> None:
    readme = read("README.md")
    one_core = report("sim/ant-one-core.json")
    assert one_core["threads"] == 1
    assert one_core["num_envs"] == 64
    assert f"**{round(one_core['forward_backward_steps_per_s'], -3):,.0f}**" in readme
    assert f"included it is {round(one_core['env']['forward_backward_steps_per_s'], -3):,.0f}" in readme

    lines = (RESULTS / "shac-first-run/results.jsonl").read_text(encoding="utf-8").splitlines()
    ant = [row for row in map(json.loads, lines) if row["task"] == "ant"]
    assert len(ant) == 3
    assert f"**{statistics.median(float(row['wall_s']) for row in ant):.0f} s**" in readme
    assert f"return of {statistics.median(float(row['return_mean']) for row in ant):,.0f} " in readme

    worst = max(row["max_rel_error"] for row in report("check/tasks.json")["rows"])
    assert f"**{worst:.0e}**".replace("e-0", "e-") in readme


def test_peers_in_the_readme_are_those_of_the_results() -> None:
    readme = read("README.md")
    peers = {peer["name"]: peer for peer in report("sim/ant-beside.json")["beside"]}
    slower = {name: f"1/{peer['forward_backward_times_slower']:.0f}" for name, peer in peers.items()}
    assert f"| {slower['brax-generalized']} generalized, {slower['brax-spring']} spring | {slower['mjx']} |" in readme
    assert f"| {100 * peers['mjx']['finite_gradients']:.0f} % of worlds |" in readme


@pytest.mark.parametrize("suite", SUITES)
def test_a_suites_results_lie_in_a_folder_of_its_name(suite: str) -> None:
    folder = RESULTS / suite
    unrun = re.search(rf"^\| `{suite}` \|.*not run yet", read("docs/results/index.md"), re.MULTILINE)
    if unrun:
        files = {file.name for file in folder.iterdir()} if folder.exists() else set()
        assert files <= {"estimates.jsonl"}, "the page says which suites have no results yet"
        return
    assert folder.exists(), "the page says which suites have no results yet"
    measured = folder / "measurements.jsonl"
    lines = (measured if measured.exists() else folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["suite"] for line in lines} == {suite}
    if measured.exists():
        names = {json.loads(line)["measurement"] for line in lines}
        assert names == {file.stem for file in folder.glob("*.json")}, "each measurement has its whole report"
        return
    assert bool(list(folder.glob("*.svg"))) == (suite not in WITHOUT_PICTURE)


def test_the_page_of_the_papers_names_every_suite_and_every_table_that_is_data() -> None:
    from diffrl_bench._references import all_references

    page = read("docs/benchmarks/papers.md")
    assert [suite for suite in SUITES if f"`{suite}`" not in page] == []
    for paper in {one.paper for one in all_references()}:
        section = page.split(f"\n## {paper}\n")[1].split("\n## ")[0]
        for place in {one.place for one in all_references() if one.paper == paper}:
            kind, number = place.split()
            lines = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
            named = [re.findall(rf"{kind}s? ([\d, ]+)", line) for line in lines]
            assert any(number in re.findall(r"\d+", found) for each in named for found in each), (paper, place)


def test_every_suite_says_which_table_or_figure_it_repeats_or_that_it_is_of_no_paper() -> None:
    silent: list[str] = []
    for suite in SUITES:
        lines = read(f"packages/diffrl-bench/src/diffrl_bench/suites/{suite}.toml").splitlines()
        comments = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
        if not re.search(r"\b(Figures?|Tables?) \d|\b[Nn]o paper has this", comments):
            silent.append(suite)
    assert silent == []


def test_results_and_figures_are_sorted() -> None:
    """Nothing lies loose among the results, and scripts are not among the pictures."""
    assert [path.name for path in RESULTS.iterdir() if path.is_file()] == ["index.md"]
    assert not list((ROOT / "docs/figures").glob("*.py"))
    assert not [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md"]


def test_paths_into_docs_exist() -> None:
    """Docstrings, comments, presets and pages name pages, pictures, scripts and results by their path from here."""
    mention = re.compile(r"(?<![\w/.-])docs/[\w./-]*\w\.(?:md|ipynb|py|svg|png|gif|json|csv)\b(?![*/])")
    missing = []
    for path in files():
        if not path.endswith((".py", ".h", ".md", ".toml", ".yml", ".yaml")):
            continue
        for number, line in enumerate(read(path).splitlines(), start=1):
            named = (found for found in mention.findall(line) if "NAME" not in found and "SUITE" not in found)
            missing += [f"{path}:{number}: {found}" for found in named if not (ROOT / found).exists()]
    assert not missing, "these do not exist:\n" + "\n".join(missing)


def test_actions_are_pinned_by_digest() -> None:
    """A tag can be moved to other code; a digest cannot. The comment says which version it is."""
    pinned = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
    for path in (ROOT / ".github/workflows").iterdir():
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "uses:" not in line or pinned.search(line), f"{path.name}: {line.strip()}"


def test_hooks_have_the_ruff_of_the_lock() -> None:
    text = read(".pre-commit-config.yaml")
    revisions = dict(re.findall(r"repo: (\S+)\n\s+rev: (\S+)", text))
    assert len(revisions) == text.count("repo: ")
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", revision) for revision in revisions.values())
    (locked,) = re.findall(r"^ruff==(\S+)$", read("requirements.lock"), re.MULTILINE)
    assert revisions["https://github.com/astral-sh/ruff-pre-commit"] == f"v{locked}"


def test_the_citation_has_what_the_format_requires() -> None:
    """Citation File Format 1.2.0: four required keys, and a version and licence that are the packages'."""
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    projects = [
        tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in ROOT.glob("packages/*/pyproject.toml")
    ]
    assert citation["version"] in {project["version"] for project in projects}
    assert {project["license"] for project in projects} == {citation["license"]}
    for project in projects:
        assert f"\n## {project['version']} (" in read(f"packages/{project['name']}/CHANGELOG.md")
