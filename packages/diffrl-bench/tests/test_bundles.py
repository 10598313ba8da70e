"""Variances of bundles: the estimates on numbers whose variances are known, and a report of a few worlds."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files

import numpy as np
import pytest

from diffrl_bench._bundles import STIFF, bench_bundles, rows_of
from diffrl_bench.cli import main


def test_variances_of_numbers_that_obey_the_law():
    """World means of variance 4 in each of 3 parameters, perturbations of variance 9, averaged over n."""
    rng = np.random.default_rng(0)
    worlds, repeats = 2000, 8
    centres = 2.0 * rng.normal(size=(worlds, 1, 3))
    drawn = {n: centres + 3.0 / np.sqrt(n) * rng.normal(size=(worlds, repeats, 3)) for n in (1, 4, 9)}
    for row in rows_of(drawn):
        n = row["branches"]
        np.testing.assert_allclose(row["within"], 27 / n, rtol=0.05)
        np.testing.assert_allclose(row["between"], 12, rtol=0.1)
        np.testing.assert_allclose(row["predicted"], 12 + 27 / n, rtol=0.05)
        assert row["total"] == row["within"] + row["between"] and row["theory"] == n
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        np.testing.assert_allclose(row["ratio"], n, rtol=0.1)


def test_the_stiff_ant_is_that_of_the_suite():
    suite = tomllib.loads((files("diffrl_bench") / "suites" / "agpo-stiff-contact.toml").read_text())
    options = dict(text.split("=", 1) for text in suite["train"][0]["options"] if "=" in text)
    assert {name: json.loads(text) for name, text in options.items()} == STIFF


def test_a_report_of_a_few_worlds(capfd, tmp_path):
    picture = tmp_path / "bundles.svg"
    options = ["--task", "hopper", "--num-envs", "2", "--repeats", "3", "--branches", "1,3", "--plot", str(picture)]
    assert main(["bundles", *options, "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["bundled"] == 1.0  # every world begins with a bundle, which the window does not outlast
    assert [row["branches"] for row in report["rows"]] == [1, 3]
    assert all(row["within"] > 0 for row in report["rows"]) and picture.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 1}, "num_envs is 1; expected at least 2"),
        ({"branches": (0,)}, "branches is .*; expected numbers of at least 1"),
        ({"task": "cartpole"}, "task 'cartpole' has no contacts to bundle"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        bench_bundles(**{"task": "hopper", "num_envs": 2, "repeats": 2, **options})
