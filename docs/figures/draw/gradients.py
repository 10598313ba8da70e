"""Draws the pictures of the pages on gradient estimators: ``python docs/figures/draw/gradients.py``.

Runs the cells of ``docs/gradest/pathologies.ipynb`` in turn and saves the figure of each cell that names one. Needs
``gradest[plot]``; takes some seconds.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

FIGURES = Path(__file__).parents[1]
NOTEBOOK = FIGURES.parent / "gradest" / "pathologies.ipynb"


def run(notebook: Path, folder: Path | None) -> list[str]:
    """Execute a notebook's code; names of the figures drawn, which are saved in ``folder`` if there is one."""
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "svg.hashsalt": "diffsim",
        }
    )
    names, space = [], {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        exec(compile("".join(cell["source"]), f"{notebook.name}:{cell['id']}", "exec"), space)
        if name := cell["metadata"].get("figure"):
            names.append(name)
            if folder is not None:
                plt.gcf().savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close("all")
    return names


if __name__ == "__main__":
    for drawn in run(NOTEBOOK, FIGURES):
        print(f"{drawn}.svg")
