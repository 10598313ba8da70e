"""Pictures say what the arrays say; skipped as a whole where the optional extra is not installed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import gradest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from gradest import plot  # noqa: E402


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_a_line_goes_through_its_values(ax):
    assert plot.landscape_line(np.array([4.0, 1.0, 3.0]), [-1.0, 0.0, 2.0], label="f", ax=ax) is ax
    curve, mark = ax.get_lines()
    assert curve.get_xydata().tolist() == [[-1.0, 4.0], [0.0, 1.0], [2.0, 3.0]]
    assert mark.get_xydata().tolist() == [[0.0, 1.0]]


def test_a_plane_has_its_first_direction_across(ax):
    """f = r alone: contours are upright, so the value changes along x."""
    radii = np.linspace(-1, 1, 5)
    plot.landscape_plane(radii[:, None] + np.zeros(5), radii, ax=ax)
    (drawn,) = [c for c in ax.collections if hasattr(c, "levels")]
    for level, path in zip(drawn.levels, drawn.get_paths(), strict=False):
        if len(path.vertices):
            assert path.vertices[:, 0].min() >= level - 1e-9


def test_curves_and_norms(ax):
    plot.horizon_curves({"a": np.array([1.0, 2.0, 4.0]), "b": np.array([3.0])}, ax=ax)
    assert ax.get_lines()[0].get_xydata().tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 4.0]]
    assert ax.get_yscale() == "log"
    plt.close(ax.figure)
    g = np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 0.0], [30.0, 40.0]])
    other = plot.gradient_norms({"first": g}, ax=plt.subplots()[1])
    assert [text.get_text() for text in other.get_legend().get_texts()] == ["first, 2 not finite, 1 zero"]
    counts = [patch.get_xy()[:, 1].max() for patch in other.patches]
    assert counts == [1.0]


def test_alpha_trace_names_what_held_it_down(ax):
    controller = gradest.AlphaController(alpha_init=0.5, factor=2.0)
    states = [controller.init()]
    for determinant in (1.0, 3.0, 1.0, 3.0):
        states.append(
            controller.update(
                states[-1], determinant=(determinant, determinant), additional_return=1.0, out_of_range=0.0
            )
        )
    plot.alpha_trace(states, ax=ax)
    assert ax.get_lines()[0].get_ydata().tolist() == [0.5, 1.0, 0.5, 1.0, 0.5]
    assert ax.get_lines()[1].get_xydata().tolist() == [[2.0, 0.5], [4.0, 0.5]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["determinant"]


def test_torch_tensors_serve(ax):
    torch = pytest.importorskip("torch")
    plot.landscape_line(torch.tensor([4.0, 1.0], requires_grad=True), [0.0, 1.0], ax=ax)
    assert ax.get_lines()[0].get_ydata().tolist() == [4.0, 1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot.landscape_line(np.ones((2, 2)), [0.0, 1.0]), r"values has shape \(2, 2\); expected 1 axes"),
        (lambda: plot.landscape_line(np.ones(2), [0.0]), "radii has length 1; expected 2"),
        (lambda: plot.landscape_plane(np.ones((2, 3)), [0.0, 1.0]), r"values has shape \(2, 3\); expected \(2, 2\)"),
        (lambda: plot.landscape_plane(np.full((2, 2), np.nan), [0.0, 1.0]), "values holds no finite number"),
        (lambda: plot.horizon_curves({}), "curves is empty"),
        (lambda: plot.gradient_norms({"a": np.zeros((2, 2))}), "gradients holds no gradient to draw"),
        (lambda: plot.alpha_trace([]), "states is empty"),
    ],
)
def test_errors_name_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_matplotlib_the_extra_is_named():
    code = "import sys; sys.modules['matplotlib'] = None\nimport gradest.plot"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "pip install 'gradest[plot]'" in run.stderr.splitlines()[-1]
