"""The report: pages that need nothing else, whose every number leads to its rows and commands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from diffrl_bench._found import find
from diffrl_bench._plot_bands import colors_of, draw_panel, panels_of, plot_bands
from diffrl_bench._statistics import Interval, iqm, iqm_band, iqm_curve, iqm_interval
from diffrl_bench._svg import inline_svg
from diffrl_bench.cli import main

Make = Callable[..., Any]
VOID = {"meta", "br", "img", "link", "input", "path", "use"}


class Parsed(HTMLParser):
    """Tags that match, ids, links, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given[key] or "" for key in ("href", "src") if key in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def rows(record: Make) -> list[dict[str, Any]]:
    """Two learners on two tasks, six seeds and two, one of which failed with an error that is not HTML."""

    def curve(seed: int) -> dict[str, list[float]]:
        steps = [64.0 * k for k in range(1, 21)]
        returns = [float(np.log(k) + 0.1 * seed) for k in range(1, 21)]
        return {"iteration": [*range(1, 21)], "env_steps": steps, "wall_s": steps, "return_mean": returns}

    found = []
    for algorithm, task, seeds in (("shac", "ant", 6), ("ppo", "ant", 2), ("shac", "hopper", 6), ("ppo", "hopper", 2)):
        for seed in range(seeds):
            value = (1 if algorithm == "shac" else 0.5) * (1000 + 10 * seed)
            who = {"run": f"{algorithm}-{task}-s{seed}", "algorithm": algorithm, "task": task, "return_mean": value}
            who["arguments"] = [algorithm, task, "--seed", str(seed)]
            found.append(record(seed, **who, curve=curve(seed)))
    found[-1] |= {"status": "failed", "error": "<script>alert(1)</script> & more"}
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], write: Make) -> Path:
    root = tmp_path_factory.mktemp("report")
    for name, changes in (("mine", {}), ("other", {"suite": "other", "curve": None})):
        (root / "runs" / name).mkdir(parents=True)
        write(root / "runs" / name / "results.jsonl", *({**row, **changes} for row in rows))
    assert main(["report", "--out", str(root / "runs"), "--to", str(root / "pages")]) == 0
    return root / "pages"


def test_pages_need_nothing_else_and_lead_to_each_other(report: Path) -> None:
    kinds = ("html", "md", "tex", "csv")
    expected = {
        "index.html",
        "mine.svg",
        "mine.png",
        *(f"{name}.{kind}" for name in ("mine", "other") for kind in kinds),
    }
    assert {file.name for file in report.iterdir()} == expected
    for name in ("index.html", "mine.html"):
        text = (report / name).read_text(encoding="utf-8")
        page = Parsed(text)
        assert page.open == [], "every tag is closed"
        assert not re.findall(r"https?://(?!www\.w3\.org/)|@import|url\((?!#)", text), "nothing is fetched"
        assert [one for one, times in Counter(page.ids).items() if times > 1] == []
        for link in page.links:
            target = link.removeprefix("#")
            assert target in page.ids if link.startswith("#") else (report / link).exists(), link
        assert 'name="viewport"' in text and "prefers-color-scheme: dark" in text


def test_every_number_leads_to_its_rows_and_commands(report: Path, rows: list[dict[str, Any]]) -> None:
    page = Parsed((report / "mine.html").read_text(encoding="utf-8"))
    returns = [row["return_mean"] for row in rows if row["run"].startswith("shac-ant")]
    low, high = iqm_interval([returns]) or Interval(0, 0)
    assert f"shac 6 of 6 {iqm(returns):,.0f} {low:,.0f} to {high:,.0f} 1,000 to 1,050" in page.text
    for number, row in enumerate(rows, start=1):
        assert (f"run-{row['run']}" in page.ids and f"#run-{row['run']}" in page.links) or row["status"] == "failed"
        assert f"diffrl train {row['algorithm']} {row['task']} --seed {row['seed']}" in page.text
        assert f"line {number} of results.jsonl" in page.text
    assert "too few seeds for an interval (2 of 5)" in page.text
    assert "ppo-hopper-s1: <script>alert(1)</script> & more" in page.text
    assert "<script>alert" not in (report / "mine.html").read_text(encoding="utf-8")


def test_curves_have_three_axes_and_the_pages_colours(report: Path) -> None:
    text = (report / "mine.html").read_text(encoding="utf-8")
    for axis in ("control steps", "updates", "training time"):
        assert f"Episode return on ant over {axis}: shac, ppo" in text
    assert text.count("<svg") == 7, "two tasks on three axes, and the profiles"
    assert "currentColor" in text and "#010203" not in text and "DejaVu Sans'" not in text


def test_the_same_records_give_the_same_pages(report: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    assert main(["report", "--out", str(report.parent / "runs" / "other"), "--to", str(tmp_path)]) == 0
    assert not (tmp_path / "index.html").exists(), "one suite needs none"
    drop = re.compile(r"<nav>.*?</nav>|<footer>.*?</footer>", re.DOTALL)
    pages = [drop.sub("", (folder / "other.html").read_text(encoding="utf-8")) for folder in (tmp_path, report)]
    assert pages[0] == pages[1]
    panel = panels_of(rows)[0]
    first, again = (inline_svg(lambda axes: draw_panel(axes, panel, colors_of(rows)), "p0", "x") for _ in range(2))
    assert first == again


def test_bands_are_intervals_of_the_interquartile_mean() -> None:
    values = np.random.default_rng(0).normal(size=(7, 3)) + np.array([0.0, 5.0, 9.0])
    low, high = iqm_band(values) or (np.zeros(3), np.zeros(3))
    middle = iqm_curve(values)
    assert middle == pytest.approx([iqm(values[:, k]) for k in range(3)])
    each = [iqm_interval([values[:, k]]) or Interval(0, 0) for k in range(3)]
    assert low == pytest.approx([one.low for one in each], abs=0.2)
    assert high == pytest.approx([one.high for one in each], abs=0.2)
    assert (low < middle).all() and (middle < high).all()
    assert iqm_band(values[:4]) is None


def test_records_without_curves_have_no_panels(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    assert panels_of([{**row, "curve": None} for row in rows]) == []
    with pytest.raises(ValueError, match="no learning curve yet"):
        plot_bands([{**row, "curve": None} for row in rows], "", tmp_path / "x.svg")


def test_losses_that_fall_by_magnitudes_are_drawn_on_a_logarithmic_axis(rows: list[dict[str, Any]]) -> None:
    losses = [-(10.0 ** (1 - 0.5 * k)) for k in range(20)]
    for returns, scale in ((losses, "symlog"), ([-0.01 * k for k in range(1, 21)], "linear")):
        changed = [{**row, "curve": {**row["curve"], "return_mean": returns}} for row in rows]
        axes = Figure().subplots()
        draw_panel(axes, panels_of(changed)[0], colors_of(rows))
        assert axes.get_yscale() == scale
        assert len(axes.get_lines()) == 2 and axes.get_lines()[1].get_linestyle() == "--", "two seeds are too few"


def test_the_folder_of_pages_must_be_writable(report: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert main(["report", "--out", str(report.parent / "runs" / "other"), "--to", str(tmp_path / "file")]) == 1
    assert find(None, str(report.parent / "runs"))[0].suite.name == "mine"
