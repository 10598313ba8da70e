"""``bench_mpm``: rates by their definition, and a whole report on few particles."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from diffrl_bench import _mpm_memory
from diffrl_bench._mpm import PARTS, _Ours, _rate, _window, bench_mpm, mpm_text
from diffrl_bench._mpm_scene import MpmBench, cloud, engine, scene_of
from diffrl_bench._stopwatch import Lap


def test_rates_are_medians_per_second_of_processor_time() -> None:
    row = _rate("ours", {"all": [Lap(1.0, 2.0), Lap(2.0, 4.0), Lap(8.0, 1.0)]}, 400)
    assert row["particle_substeps_per_cpu_s"] == 200.0, "median of 200, 100 and 400"
    assert (row["min"], row["max"]) == (100.0, 400.0)
    assert row["ns"] == pytest.approx(5e6)


@pytest.mark.parametrize("kind", ["disc", "cube"])
def test_clouds_lie_inside_the_walls(kind: str) -> None:
    x = cloud(kind, 100)
    assert x.shape == (100, 3)
    assert (x > 2 / 48).all() and (x < 46 / 48).all()


def test_a_report_holds_every_comparison() -> None:
    bench = MpmBench(material="neo_hookean", num_particles=40, num_envs=1, substeps=2, repeats=2, memory=False)
    seen: list[str] = []
    report = bench_mpm(bench, lambda part, done: seen.append(part))
    assert set(seen) <= set(PARTS) and PARTS[1] in seen
    json.dumps(report, allow_nan=False)
    rows = {row["name"]: row["particle_substeps_per_cpu_s"] for row in report["rows"]}
    assert report["over_warp_forward"] == pytest.approx(rows["ours, forward"] / rows["Warp, forward"])
    both = rows["ours, forward and backward"] / rows["Warp, forward and backward"]
    assert report["over_warp_forward_backward"] == pytest.approx(both)
    assert report["gradient_cosine"] > 0.9999, "both differentiate the same"
    assert set(report["bytes"]) == {"ours", "warp"} and set(report["particle_substeps_per_s"]) == {
        "forward",
        "forward_backward",
    }
    assert "over Warp" in mpm_text(report)
    if report["two_threads"] is not None:
        assert {"median", "apart", "cpu"} <= report["two_threads"].keys() and "two simulators apart" in mpm_text(report)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_particles": 0}, "num_particles is 0"),
        ({"material": "fluid"}, "material is 'fluid'; it must be one of fixed_corotated"),
        ({"cloud": "ring"}, "cloud is 'ring'"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MpmBench(**fields)  # pyright: ignore[reportArgumentType]


@pytest.mark.timing
@pytest.mark.parametrize(("material", "forward", "both"), [("fixed_corotated", 6, 8), ("von_mises", 5, 7)])
def test_it_is_faster_than_warp_by_itself(material: str, forward: float, both: float) -> None:
    report = bench_mpm(MpmBench(material=material, memory=False))
    assert report["over_warp_forward"] >= forward
    assert report["over_warp_forward_backward"] >= both
    if report["two_threads"] is not None:
        assert report["two_threads"]["cpu"]["median"] < 1.1
        assert report["two_threads"]["median"] >= 1.8


@pytest.mark.parametrize("material", ["fixed_corotated", "von_mises"])
def test_the_window_without_torch_is_that_with_it(material: str) -> None:
    scene = scene_of(MpmBench(material=material, num_particles=60), worlds=3, substeps=5)
    alone = _mpm_memory.window(*engine(scene), steps=4)
    for a, b in zip(alone, _Ours(scene).window(4, gradients=True), strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_array_equal(a, b.numpy())


def test_memory_is_measured_where_torch_is_not_loaded() -> None:
    code = "import sys; from diffrl_bench import _mpm_memory as m; m.WINDOW = 2; m.main('{\"num_particles\": 50}')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"bytes", "resident_bytes", "library_bytes"} == json.loads(done.stdout.splitlines()[-1]).keys()


def test_a_measurement_that_fails_says_why() -> None:
    bench = MpmBench()
    object.__setattr__(bench, "num_particles", -5)  # as no caller can
    with pytest.raises(RuntimeError, match="num_particles is -5"):
        _mpm_memory.in_own_process(bench)


@pytest.mark.slow
def test_a_large_window_takes_little_memory() -> None:
    window = _window(MpmBench())
    if window["bytes"] is None:
        pytest.skip("this system does not say how much memory a process has")
    for found in (window, window["alone"]):
        assert found["bytes"] < 0.4e9
        assert 0 < found["library_bytes"] < found["resident_bytes"] - found["bytes"]
    assert window["alone"]["resident_bytes"] < 0.6e9
