"""What is written in a picture can be read: nothing is cut off, and no two labels lie on each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffrl_bench import _plot_traces, _plots
from diffrl_bench._labels import step_unit, time_unit

_LONG = "horizon=9, actor_hidden=400,200,100, critic_hidden=256,256,128, activation=silu, critic_iterations=32"
_NAMES = {
    "short": "ABCDEFG",
    "long": [f"{_LONG[: 25 * k]}{k}" for k in range(1, 8)],
    "odd": ["_a", "$", "a$b$c", "x" * 120, "e", "f", "g h"],
}


def _rows(count: int, names: list[str], task: str, key: str) -> list[dict[str, Any]]:
    same = {"algorithm": "shac", "task": task, "return_mean": 5.0}
    return [{**same, "run": f"{task}{k}", "seed": 0, key: names[k]} for k in range(count)]


def _curves(rows: list[dict[str, Any]], steps: float) -> dict[str, Any]:
    k = np.arange(1.0, 160.0)
    return {row["run"]: np.stack([k, steps / 159 * k, steps / 1e5 * k, np.sqrt(k)], axis=1) for row in rows}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures in place of their files."""
    figures: list[Figure] = []
    for module in (_plots, _plot_traces):
        monkeypatch.setattr(module, "save", lambda figure, file: figures.append(figure))
    return figures


def _texts_fit(figure: Figure) -> None:
    """Legend, titles and tick labels lie in the figure, and each kind apart from one another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    panels = [axes for axes in figure.axes if axes.get_visible()]
    # The title at the left has no public name.
    titles: list[Any] = [title for axes in panels if (title := getattr(axes, "_left_title")).get_text()]  # noqa: B009
    over = getattr(figure, "_suptitle")  # noqa: B009
    kinds: list[list[Any]] = [[*titles, *([over] if over else [])], *(legend.get_texts() for legend in figure.legends)]
    for axes in panels:
        low, high = axes.get_xlim()
        kinds.append([text for text in axes.get_xticklabels() if low <= text.get_position()[0] <= high])
    for texts in kinds:
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts if text.get_text()]
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes), texts
        assert all(box.y0 >= 0 and box.y1 <= figure.bbox.height for box in boxes), texts
        assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k]), texts
    assert all(axes.get_window_extent().height > 1.0 * figure.dpi for axes in panels), "the axes keep their height"


@pytest.mark.parametrize("kind", _NAMES)
@pytest.mark.parametrize("key", ["name", "variant"])
@pytest.mark.parametrize("count", [2, 7])
@pytest.mark.parametrize("tasks", [("ant",), ("ant", "a-task-of-mine-with-a-long-name-that-says-everything")])
def test_a_legend_lies_in_the_figure(
    drawn: list[Figure], kind: str, key: str, count: int, tasks: tuple[str, ...]
) -> None:
    names = list(_NAMES[kind])
    rows = [row for task in tasks for row in _rows(count, names, task, key)]
    _plots.plot_together(_curves(rows, 5000.0), rows, "", Path("x.png"))
    (figure,) = drawn
    _texts_fit(figure)
    (legend,) = figure.legends
    said = ["".join(text.get_text().split()) for text in legend.get_texts()]
    given = [name if key == "name" else f"SHAC ({name})" for name in names[:count]]
    assert said == ["".join(name.split()) for name in given]


@pytest.mark.parametrize("steps", [300.0, 5e3, 8e4, 9.9e5, 3e6, 2e9])
@pytest.mark.parametrize("draw", [_plots.plot_curves, _plots.plot_together])
def test_ticks_of_runs_of_any_length_are_apart(drawn: list[Figure], draw: Any, steps: float) -> None:
    rows = _rows(2, ["a", "b"], "ant", "variant")
    draw(_curves(rows, steps), rows, "", Path("x.png"))
    _texts_fit(drawn[0])


def test_titles_of_traces_are_broken_into_lines(drawn: list[Figure]) -> None:
    rows = _rows(3, list(_NAMES["long"]), "ant", "variant")
    traces = {row["run"]: {"iteration": np.arange(9.0), "ratio": np.arange(9.0)} for row in rows}
    _plot_traces.plot_traces(traces, rows, ["ratio"], "", Path("x.png"))
    _texts_fit(drawn[0])


@pytest.mark.parametrize("draw", ["plot_curves", "plot_together", "plot_traces"])
def test_the_title_of_a_figure_is_no_wider_than_it(drawn: list[Figure], draw: str) -> None:
    rows = _rows(1, list(_NAMES["long"]), "ant", "variant")
    title = "GI-PPO on Ant with torch's operations, and with compiled code and a remembered rate, at $500 or more each"
    if draw == "plot_traces":
        traces = {row["run"]: {"iteration": np.arange(9.0), "ratio": np.arange(9.0)} for row in rows}
        _plot_traces.plot_traces(traces, rows, ["ratio"], title, Path("x.png"))
    else:
        getattr(_plots, draw)(_curves(rows, 5e3), rows, title, Path("x.png"))
    assert "".join(drawn[0].get_suptitle().split()) == "".join(title.split())
    _texts_fit(drawn[0])


def test_units_follow_the_longest_run() -> None:
    found = [step_unit(steps).label for steps in (0.0, 999.0, 1e3, 5e3, 1e6)]
    assert found == ["control steps"] * 2 + ["control steps [thousand]"] * 2 + ["control steps [million]"]
    labels = [time_unit(seconds).label[15:-1] for seconds in (0.5, 100.0, 120.0, 7199.0, 7200.0)]
    assert labels == ["s", "s", "min", "min", "h"]
