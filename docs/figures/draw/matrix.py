"""Draws what runs where, and writes it into its page: ``python docs/figures/draw/matrix.py``.

Asks every algorithm whether it takes a small environment of each kind, without training. Writes
``docs/figures/matrix.svg`` and the table of ``docs/algorithms/matrix.md``. Needs matplotlib, and diffrl-algos and
diffsim-core with the extras ``jax``, ``gymnasium``, ``newton`` and ``brax``.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

FIGURES = Path(__file__).parents[1]
PAGE = FIGURES.parent / "algorithms/matrix.md"
TESTS = FIGURES.parents[1] / "packages/diffrl-algos/tests/matrix.py"
BLUE, ORANGE, PALE = "#2a6fb0", "#d1701f", "#ececec"
COLORS = {"torch": BLUE, "jax": ORANGE}
LETTERS = {"needs gradients": "g", "no encoder": "e", "torch alone": "", "not traced": "t"}
GAP = 0.04

plt.style.use(Path(__file__).with_name("page.mplstyle"))


def matrix() -> Any:
    """The module with which the tests run all of this."""
    spec = importlib.util.spec_from_file_location("matrix_of_tests", TESTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def draw(cells: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
    """A row for each algorithm, a column for each kind of worlds; the left half of a cell is torch, the right JAX."""
    columns = list(next(iter(cells.values())))
    figure, axes = plt.subplots(figsize=(7.2, 0.3 * len(cells) + 1.1), layout="constrained")
    for row, families in enumerate(cells.values()):
        for column, cell in enumerate(families.values()):
            for half, (framework, why) in enumerate(cell.items()):
                left, width = column + GAP + half * (0.5 - GAP), 0.5 - GAP - GAP / 2
                color = PALE if why else COLORS[framework]
                axes.add_patch(Rectangle((left, row + GAP), width, 1 - 2 * GAP, color=color, lw=0))
                if why:
                    middle = (left + width / 2, row + 0.5)
                    axes.text(*middle, LETTERS[why], ha="center", va="center", fontsize=7, color="#555555")
    axes.set(xlim=(0, len(columns)), ylim=(len(cells), 0))
    axes.set_xticks([x + 0.5 for x in range(len(columns))], [title.replace(" ", "\n") for title in columns])
    axes.set_yticks([y + 0.5 for y in range(len(cells))], list(cells))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    named = {"runs in torch": BLUE, "runs in JAX": ORANGE, "does not run": PALE}
    handles = [Rectangle((0, 0), 1, 1, color=color) for color in named.values()]
    axes.legend(handles, named, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=3, handlelength=1)
    figure.savefig(FIGURES / "matrix.svg", metadata={"Date": None})
    plt.close(figure)


def write(table: str) -> None:
    """Put the table in the place of the one on the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(r"^\| algorithm \|.*?\n(?=\n)", table, text, flags=re.M | re.S), encoding="utf-8")


if __name__ == "__main__":
    everything = matrix()
    found = everything.table()
    draw(found)
    write(everything.written(found))
