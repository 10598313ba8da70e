"""The real benches on the real task, held to the figures that the library promises of one core."""

from __future__ import annotations

import pytest

from diffrl_bench import SimBench, UpdateBench, bench_sim, bench_update

pytestmark = pytest.mark.timing


def test_ant_dynamics_on_one_core() -> None:
    report = bench_sim(SimBench(task="ant", threads=1, peers=False))
    assert report["diverged"] == 0
    # Per second of processor time, which other load on the machine disturbs least.
    assert report["forward_steps_per_cpu_s"] * report["substeps"] >= 2e6
    assert report["forward_backward_steps_per_cpu_s"] * report["substeps"] >= 1e6
    assert report["backward_over_forward"] <= 1.5


def test_ant_is_faster_than_mujoco_per_simulated_second() -> None:
    report = bench_sim(SimBench(task="ant", threads=1, scaling_envs=0))
    single = next(peer for peer in report["peers"] if peer["threads"] == 1)
    assert single["finite"]
    assert report["forward_steps_per_cpu_s"] > single["forward_steps_per_cpu_s"]


def test_one_shac_update_on_ant() -> None:
    report = bench_update(UpdateBench(algo="shac", task="ant"))
    assert report["update_s"]["median"] <= 0.25
    assert report["parts_sum_s"] == pytest.approx(report["timed_update_s"]["median"], rel=0.1)
