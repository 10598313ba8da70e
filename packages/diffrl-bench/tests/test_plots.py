"""Pictures hold the figures they claim to."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffrl_bench._plots import _sim_groups, plot_curves, plot_sim, plot_together, shown


def _curves() -> tuple[dict[str, np.ndarray[Any, Any]], list[dict[str, Any]]]:
    curves, rows = {}, []
    for task in ("ant", "cartpole"):
        for seed in range(3):
            k = np.arange(1.0, 20.0 + seed)
            curves[f"{task}{seed}"] = np.stack([k, 2048 * k, 0.1 * k, seed + np.sqrt(k)], axis=1)
            rows.append({"run": f"{task}{seed}", "algorithm": "shac", "task": task, "return_mean": 5.0})
    rows[-1]["return_mean"] = None
    return curves, rows


def test_bars_are_simulated_seconds_per_second(sim_report: dict[str, Any]) -> None:
    groups = dict(_sim_groups(sim_report))
    forward, both = groups["dynamics\n64 worlds"]
    assert forward.middle == pytest.approx(sim_report["forward_sim_s_per_s"])
    assert both.middle == pytest.approx(sim_report["forward_backward_sim_s_per_s"])
    assert forward.low == pytest.approx(2048 / 60 / 0.02)
    assert forward.high == pytest.approx(2048 / 60 / 0.008)
    assert groups["dynamics, 1,024 worlds\n4 threads"][0].middle == pytest.approx(1024 * 32 / 60 / 0.04)
    (peer,) = groups["MuJoCo, 64 worlds\n1 thread"]
    assert peer.middle == pytest.approx(2048 / 60 / 0.05)


def test_other_simulators_are_bars_with_the_range_of_their_repeats(sim_report: dict[str, Any]) -> None:
    spread = {"median": 0.5, "min": 0.4, "max": 1.0}
    other = {"name": "mjx", "num_envs": 8, "window_s": {"forward": spread}, "forward_sim_s_per_s": 10.0}
    groups = dict(_sim_groups({**sim_report, "beside": [other], "missing": [{"name": "newton", "reason": "none"}]}))
    assert groups["mjx\n8 worlds"] == [("others, forward", 10.0, 5.0, 12.5)]
    assert not any(label.startswith("newton") for label in groups)


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_pictures_are_written(sim_report: dict[str, Any], tmp_path: Path, ending: str) -> None:
    curves, rows = _curves()
    plot_sim(sim_report, tmp_path / f"sim.{ending}")
    plot_curves(curves, rows, "Mine", tmp_path / f"curves.{ending}")
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending]
    for name in ("sim", "curves"):
        content = (tmp_path / f"{name}.{ending}").read_bytes()
        assert content.startswith(start)
        assert len(content) > 2000


def test_same_data_same_file(sim_report: dict[str, Any], tmp_path: Path) -> None:
    curves, rows = _curves()
    for k in range(2):
        plot_sim(sim_report, tmp_path / f"sim{k}.svg")
        plot_curves(curves, rows, "Mine", tmp_path / f"curves{k}.svg")
    for name in ("sim", "curves"):
        first, second = ((tmp_path / f"{name}{k}.svg").read_bytes() for k in range(2))
        assert first == second
        ElementTree.fromstring(first)
    rows[0]["return_mean"] = 6.0
    plot_curves(curves, rows, "Mine", tmp_path / "other.svg")
    assert (tmp_path / "other.svg").read_bytes() != (tmp_path / "curves0.svg").read_bytes()


def test_a_report_without_scaling_and_peers(sim_report: dict[str, Any], tmp_path: Path) -> None:
    plot_sim({**sim_report, "scaling": None, "peers": []}, tmp_path / "sim.svg")
    assert (tmp_path / "sim.svg").stat().st_size > 2000


def test_together_each_task_has_a_panel_with_every_algorithm(tmp_path: Path) -> None:
    curves, rows = _curves()
    for row in list(rows):
        curves[f"ppo-{row['run']}"] = curves[row["run"]] * [1, 1, 1, 0.5]
        rows.append({**row, "run": f"ppo-{row['run']}", "algorithm": "ppo", "return_mean": None})
    texts = []
    for name in ("a", "b"):
        plot_together(curves, rows, "Mine", tmp_path / f"{name}.svg")
        texts.append((tmp_path / f"{name}.svg").read_text())
    first, second = texts
    assert first == second
    assert all(f"<!-- {word} -->" in first for word in ("SHAC", "PPO", "ant, 3 seeds", "cartpole, 3 seeds"))
    # A band and a line for each algorithm of each task.
    assert first.count('id="FillBetweenPolyCollection_') == 4
    with pytest.raises(ValueError, match="no learning curve yet"):
        plot_together({}, rows, "", tmp_path / "x.svg")


def test_figures_spell_algorithms_as_papers_do() -> None:
    rows = [
        {"algorithm": name, "variant": variant} for name, variant in (("gippo", ""), ("ivwh", "long"), ("shac", ""))
    ]
    assert [shown(row) for row in rows] == ["GI-PPO", "IVW-H (long)", "SHAC"]
    assert shown({**rows[0], "name": "my gippo"}) == "my gippo"


def test_bad_input(tmp_path: Path) -> None:
    curves, rows = _curves()
    with pytest.raises(ValueError, match=r"must end in \.svg, \.png, \.pdf"):
        plot_curves(curves, rows, "", tmp_path / "x.gif")
    with pytest.raises(ValueError, match="no learning curve yet"):
        plot_curves({"ant0": np.empty((0, 4))}, rows, "", tmp_path / "x.svg")
