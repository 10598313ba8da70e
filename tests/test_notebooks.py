"""The notebooks run from top to bottom; facts are asserted in their cells."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs/start/tour.ipynb"
pytest.importorskip("matplotlib")


def drawing() -> Any:
    """``docs/figures/draw/gradients.py``, which executes notebooks."""
    script = importlib.util.spec_from_file_location("gradients", ROOT / "docs/figures/draw/gradients.py")
    assert script is not None
    assert script.loader is not None
    module = importlib.util.module_from_spec(script)
    script.loader.exec_module(module)
    return module


def without_outputs(notebook: Path) -> str:
    text = notebook.read_text(encoding="utf-8")
    assert not any(cell.get("outputs") for cell in json.loads(text)["cells"])
    return text


def test_pathologies_and_their_figures() -> None:
    """The pictures in the pages are those of the cells that name them."""
    notebook = ROOT / "docs/gradest/pathologies.ipynb"
    without_outputs(notebook)
    pages = "".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/gradest/*.md"))
    for name in drawing().run(notebook, None):
        assert (ROOT / f"docs/figures/{name}.svg").is_file()
        assert f"figures/{name}.svg" in pages


def test_the_tour_with_a_second_of_training(tmp_path: Path) -> None:
    text = without_outputs(TOUR)
    assert text.count("SECONDS = 60") == 1
    short = tmp_path / "tour.ipynb"
    short.write_text(text.replace("SECONDS = 60", "SECONDS = 1").replace("steps=240", "steps=20"), encoding="utf-8")
    (name,) = drawing().run(short, None)
    assert f"figures/{name}.svg" in (ROOT / "docs/start/quickstart.md").read_text(encoding="utf-8")


@pytest.mark.timing
def test_the_tour_takes_less_than_five_minutes_and_shac_is_ahead() -> None:
    begun = time.monotonic()
    space: dict[str, Any] = {}
    for cell in json.loads(without_outputs(TOUR))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
    assert time.monotonic() - begun < 300
    assert space["shac_found"].return_mean > max(2000.0, space["ppo_found"].return_mean)
