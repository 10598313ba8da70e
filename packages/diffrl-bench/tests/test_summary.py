"""What tables say of records: every cell, ours beside a paper's, and nothing that is not there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrl_bench._found import find
from diffrl_bench._metrics import metric_of
from diffrl_bench._statistics import iqm, iqm_interval
from diffrl_bench._suite import load_suite, parse_suite
from diffrl_bench._summary import Cell, Summary, summarise_suite
from diffrl_bench._summary_text import as_csv, as_latex, as_markdown, figure
from diffrl_bench.cli import main

RESULTS = Path(__file__).parents[3] / "docs/results"
SUITE = """
name = "mine"
references = ["SAPO Table 5"]
[[train]]
algorithm = "sapo"
task = "ant"
seeds = [0, 1, 2, 3, 4]
[[train]]
algorithm = "shac"
task = "ant"
seeds = [0, 1, 2]
[[train]]
algorithm = "ppo"
task = "ant"
seeds = [0]
"""


Make = Callable[..., Any]
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def run(record: Make) -> Make:
    """Makes a record of this suite."""

    def made(algorithm: str, seed: int, value: float, **changes: Any) -> dict[str, Any]:
        who = {"run": f"{algorithm}-ant-s{seed}", "arguments": [algorithm, "ant", "--seed", str(seed)]}
        return record(seed, **{**who, "algorithm": algorithm, "return_mean": value, **changes})

    return made


@pytest.fixture(scope="module")
def rows(run: Make) -> Rows:
    return [
        *(run("sapo", k, 9000.0 + 10 * k) for k in range(5)),
        *(run("shac", k, 8000.0 + k) for k in range(2)),
        run("shac", 2, 0.0, status="failed", error="exit code 1: no such luck"),
    ]


@pytest.fixture(scope="module")
def summary(rows: Rows) -> Summary:
    return summarise_suite(parse_suite(SUITE, "mine"), rows)


def cell(summary: Summary, learner: str, task: str = "ant") -> Cell:
    return next(c for s in summary.sections for c in s.cells if (c.learner, c.task) == (learner, task))


def test_a_cell_is_its_finished_runs_and_says_what_is_missing(summary: Summary, rows: Rows) -> None:
    sapo, shac, ppo, sac = (cell(summary, name) for name in ("sapo", "shac", "ppo", "sac"))
    assert sapo.iqm == iqm([9000, 9010, 9020, 9030, 9040]) == 9020
    assert sapo.interval == iqm_interval([sapo.values]) and sapo.note == ""
    assert [(one.value, one.spread) for one in sapo.references] == [(8610, 40)]
    assert (shac.iqm, shac.interval, len(shac.others)) == (8000.5, None, 1)
    assert shac.note == "too few seeds for an interval (2 of 5)"
    assert (ppo.iqm, ppo.note, ppo.planned) == (None, "missing: not run", 1)
    assert (sac.iqm, sac.note, sac.planned) == (None, "missing: not in the suite", 0)
    failed = summarise_suite(parse_suite(SUITE, "mine"), rows[-1:])
    assert cell(failed, "shac").note == "failed: exit code 1: no such luck"
    tasks = [c.task for c in summary.sections[0].cells]
    assert tasks == sorted(tasks, key=list(dict.fromkeys(tasks)).index), "tasks stay together"


def test_pairs_are_against_the_first_learner(summary: Summary) -> None:
    (pair,) = summary.pairs
    assert (pair.learner, pair.base, pair.seeds, pair.improvement) == ("shac", "sapo", (2, 5), 0.0)
    assert pair.p == pair.p_holm == pytest.approx(2 / 21)
    assert summary.overall == (), "one task"


def test_learners_are_compared_within_a_problem(rows: Rows, run: Make) -> None:
    stiff = [run("shac", k, 100.0 + k, problem="stiff", run=f"shac-ant-stiff-s{k}") for k in range(2)]
    found = summarise_suite(parse_suite(SUITE, "mine"), [*rows, *stiff])
    assert cell(found, "shac").values == [8000.0, 8001.0]
    assert cell(found, "shac", "ant, stiff").values == [100.0, 101.0]
    assert [(one.task, one.learner, one.base) for one in found.pairs] == [("ant", "shac", "sapo")]


def test_scores_over_all_tasks_are_between_worst_and_best(rows: Rows, run: Make) -> None:
    other = [run("sapo", k, 1.0, task="hopper", run=f"sapo-hopper-s{k}") for k in range(5)]
    other += [run("shac", k, 3.0 + k, task="hopper", run=f"shac-hopper-s{k}") for k in range(2)]
    found = summarise_suite(parse_suite(SUITE, "mine"), [*rows, *other])
    scores = {one.learner: one.scores for one in found.overall}
    assert scores["shac"][1] == pytest.approx((2 / 3, 1.0)) and scores["sapo"][1] == (0.0,) * 5
    assert scores["sapo"][0][-1] == 1.0 and scores["shac"][0][0] == 0.0
    means = [one.iqm for one in found.overall]
    assert means == sorted(means, reverse=True)


def test_markdown_latex_and_spreadsheet_hold_the_same_numbers(summary: Summary) -> None:
    markdown, latex = as_markdown(summary), as_latex(summary)
    line = next(line for line in markdown.splitlines() if line.startswith("| ant") and "sapo" in line)
    assert "5 of 5" in line and "9,020" in line and "8,610 ± 40 (SAPO, Table 5)" in line
    assert "missing: not run" in markdown and "mean over ten seeds" in markdown
    assert r"9,020 & 9,000 to 9,040" in latex and r"8,610 $\pm$ 40" in latex and r"humanoid\_mtu" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    rows = {(row["learner"], row["task"]): row for row in csv.DictReader(io.StringIO(as_csv(summary)))}
    assert float(rows["sapo", "ant"]["iqm"]) == 9020 and rows["sapo", "ant"]["value 1"] == "8610.0"
    assert rows["ppo", "ant"]["iqm"] == "" and rows["ppo", "ant"]["note"] == "missing: not run"
    json.dumps(summary.to_json(), allow_nan=False)


def test_a_suite_shows_more_metrics_and_says_once_what_is_missing(run: Make) -> None:
    text = 'metrics = ["return_at_3", "update_cpu_ms"]'.join(SUITE.split('references = ["SAPO Table 5"]'))
    curve = {"iteration": [1, 3, 5], "env_steps": [8, 24, 40], "wall_s": [1, 3, 5], "return_mean": [1.0, 30.0, 50.0]}
    sapo = [run("sapo", k, 60.0, iterations=5, cpu_s=0.1 * (k + 1), curve=curve) for k in range(5)]
    short = run("shac", 0, 9.0, iterations=2, cpu_s=None, curve=curve)
    found = summarise_suite(parse_suite(text, "mine"), [*sapo, short])
    assert [section.metric for section in found.sections] == ["return_mean", "return_at_3", "update_cpu_ms"]
    final, at, cost = ({cell.learner: cell for cell in section.cells} for section in found.sections)
    assert at["sapo"].values == [30.0] * 5
    assert cost["sapo"].values == pytest.approx([20.0, 40.0, 60.0, 80.0, 100.0])
    assert at["shac"].note == cost["shac"].note == "missing: no run has it", "two updates, of unknown processor time"
    assert (final["ppo"].missing, at["ppo"].missing, found.missing.runs) == (1, 0, 3)
    markdown = as_markdown(found)
    assert "### Return after 3 updates" in markdown and "### Processor time of an update [ms]" in markdown


def test_a_curve_tells_the_last_return_until_an_update(run: Make) -> None:
    curve = {"iteration": [2, 7], "env_steps": [8, 24], "wall_s": [1, 3], "return_mean": [1.0, 30.0]}
    row = run("sapo", 0, 60.0, iterations=9, curve=curve)
    assert [metric_of(f"return_at_{k}").of(row) for k in (1, 2, 6, 7, 9, 10)] == [None, 1.0, 1.0, 30.0, 30.0, None]
    assert metric_of("return_at_5").of({**row, "curve": None}) is None
    for name in ("return_at_0", "return_at_", "return_at_5.5", "nothing"):
        with pytest.raises(ValueError, match="known: return_mean"):
            metric_of(name)


def test_a_wide_table_has_a_column_for_each_task(rows: Rows, run: Make) -> None:
    text = SUITE.replace('task = "ant"', 'task = ["ant", "hopper"]', 1)
    hopper = run("sapo", 0, 1.0, task="hopper", run="sapo-hopper-s0")
    found = summarise_suite(parse_suite(text, "mine"), [*rows, hopper])
    head, _, *lines = [line for line in as_markdown(found, wide=True).splitlines() if line.startswith("|")]
    columns = [[part.strip() for part in line.strip("|").split("|")] for line in (head, *lines)]
    assert columns[0][:3] == ["learner", "ant", "hopper"]
    cells = {line[0]: line for line in columns[1:]}
    assert cells["sapo"][1] == "9,020 [9,000 to 9,040; 5], SAPO 8,610 ± 40" and cells["sapo"][2].startswith("1 (1)")
    assert cells["shac"][1].startswith("8,000 (8,000 to 8,001; 2), SAPO") and cells["ppo"][1].startswith("-, SAPO")
    assert as_latex(found, wide=True).startswith(r"\begin{table}") and "& ant & hopper &" in as_latex(found, wide=True)


def test_a_spreadsheet_is_never_wide(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(RESULTS / "gippo-functions")
    assert main(["table", "gippo-functions", "--out", folder, "--wide", "--format", "csv"]) == 2
    assert "--wide is for md and tex" in capsys.readouterr().err


def test_figures_are_short() -> None:
    values = (None, 0.0, 8474.4, -12.345, 0.0123, -3.4e-11, 1.5e7)
    assert list(map(figure, values)) == ["-", "0", "8,474", "-12.3", "0.0123", "-3.40e-11", "1.50e+07"]


def test_smoke_runs_are_no_results(rows: Rows) -> None:
    smoke = summarise_suite(parse_suite(SUITE, "mine"), [{**row, "smoke": True} for row in rows])
    texts = (as_markdown(smoke), as_latex(smoke), smoke.to_json()["warning"])
    assert all("A smoke run" in text and "no results" in text for text in texts)
    assert "smoke" not in as_markdown(summarise_suite(parse_suite(SUITE, "mine"), rows))


def test_table_1_of_gippo_has_ours_beside_it() -> None:
    (found,) = find("gippo-functions", str(RESULTS / "gippo-functions"))
    summary = summarise_suite(load_suite("gippo-functions"), found.rows)
    best = summary.sections[0]
    assert best.metric == "return_best" and best.papers == ["GI-PPO, Table 1"]
    assert len(best.cells) == 20 and all(c.rows and c.interval and len(c.references) == 1 for c in best.cells)
    gippo = next(c for c in best.cells if (c.task, c.learner) == ("dejong", "gippo"))
    assert gippo.mean == pytest.approx(-3.44e-11, rel=0.01) and gippo.references[0].value == -3.84e-10


def test_the_command_shows_one_suite_or_all(tmp_path: Path, one_object: Make, rows: Rows, write: Make) -> None:
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "results.jsonl", *({**row, "suite": name} for row in rows))
    (tmp_path / "mine.toml").write_text(SUITE)
    assert main(["table", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "mine"), "--json"]) == 0
    one = one_object()
    assert one["cells"][0]["iqm"] == 9020 and "curve" not in one["runs"][0]
    assert main(["table", "--out", str(tmp_path), "--json"]) == 0
    assert [suite["suite"] for suite in one_object()["suites"]] == ["mine", "other"]
    write(tmp_path / "other" / "results.jsonl", *rows)
    with pytest.raises(ValueError, match="both hold results of mine"):
        find(None, str(tmp_path))
    with pytest.raises(ValueError, match=r"neither .* nor a folder in it holds results"):
        find(None, str(tmp_path / "nowhere"))
