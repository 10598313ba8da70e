"""``bench_update``: the parts add up, timing them changes nothing, and what was wrapped is as it was."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import pytest
import torch

from diffrl_algos import SHACConfig, default_preset, get_algorithm, list_algorithms
from diffrl_algos.torch import _account, _adam, _learner, _off_policy, _window
from diffrl_bench import UpdateBench, bench_update
from diffrl_bench._report import update_text
from diffrl_bench._spans import Spans
from diffrl_bench._stopwatch import Lap
from diffrl_bench._update import PARTS, Case, _configs, compared, instrumented, part_name, timed_update, update_figures


def test_figures_are_medians_and_missing_parts_are_zero() -> None:
    parts = [{"critic": 1.0, "rest_of_x": 0.5}, {"critic": 3.0, "rest_of_x": 0.5}]
    parts.append({"critic": 2.0, "rest_of_x": 1.5, "task": 1.0})
    figures = update_figures([1.0, 2.0, 9.0], [1.5, 3.5, 4.5], parts)
    assert figures["update_s"] == {"median": 2.0, "min": 1.0, "max": 9.0}
    assert figures["timed_update_s"]["median"] == 3.5
    assert set(figures["parts_s"]) == {*PARTS, "rest_of_x"}
    assert figures["parts_s"]["critic"] == 2.0
    assert figures["parts_s"]["task"] == 0.0
    assert figures["parts_sum_s"] == 2.5


def test_timed_update_measures_the_update(hand: Any) -> None:
    class Algorithm:
        def update(self, state: int) -> tuple[int, dict[str, float]]:
            hand.move(2.5, cpu=1.5)
            return state + 1, {}

    state, lap = timed_update(Algorithm(), 6, hand.clock)
    assert (state, lap) == (7, (2.5, 1.5))


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return bench_update(UpdateBench(task="cartpole", num_envs=8, threads=1, updates=2, warm_up=1))


def test_report(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    none = {"policy_fit", "bridge_forward"}  # SHAC has no epochs of the policy, and the bridge is in the step
    assert all((report["parts_s"][part] > 0) == (part not in none) for part in PARTS)
    # With two updates medians are means, so the parts add up exactly.
    assert report["parts_sum_s"] == pytest.approx(report["timed_update_s"]["median"], rel=1e-9)
    horizon = report["horizon"]
    assert report["calls"]["simulator_forward"] == report["calls"]["backward_simulator"] == horizon == 32
    assert report["calls"]["task"] == report["calls"]["policy_forward"] == horizon
    assert report["calls"]["rollout"] == report["calls"]["backward_rest"] == 1
    assert report["calls"]["critic"] == 2, "the fit begins, and ends"
    assert report["calls"]["optimiser"] == 1, "clipping with Adam for the actor; the critic's are compiled code's"
    assert report["env_steps"] == 8 * 32 * (1 + 2 * 2)
    assert report["update_cpu_s"]["median"] > 0
    text = update_text(report)
    assert all(part_name(part) in text for part in report["parts_s"])
    assert {"rest_of_rollout", "rest_of_backward", "rest_of_critic", "rest_of_report"} < report["parts_s"].keys()


def test_values_of_a_field_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, step = list[int](), _adam.Optimizer.step_
    monkeypatch.setattr(_adam.Optimizer, "step_", lambda *given: (steps.append(1), step(*given))[1])
    report = bench_update(
        UpdateBench(task="cartpole", num_envs=8, threads=1, updates=2, warm_up=1, compare=("critic_fit=torch,native",))
    )
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    torch_, native = report["compared"]["values"]
    assert report["compared"]["fields"] == ["critic_fit"] and (torch_["value"], native["value"]) == ("torch", "native")
    assert {key: torch_[key] for key in ("update_s", "update_cpu_s", "parts_s")}.items() <= report.items()
    assert torch_["times_faster_cpu"] == torch_["times_faster_wall"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert native["times_faster_cpu"]["median"] > 0 and native["parts_s"]["critic"] > 0
    assert len(steps) == (65 + 1) * (1 + 2 * 2), "of 65 steps of an update one is left to torch"
    assert report["env_steps"] == 2 * 8 * 32 * (1 + 2 * 2)
    text = update_text(report)
    assert (
        "critic_fit: torch, native, by turns" in text
        and "native, ms" in text
        and "native against torch, by turns: " in text
    )
    assert all(part_name(part) in text for part in native["parts_s"])


@pytest.mark.parametrize("algo", ["ppo", "gippo"])
def test_epochs_of_the_policy_are_a_part(algo: str) -> None:
    """With compiled code they include the optimiser, which has nothing left to do."""
    compare = ("policy_fit=torch,native", "critic_fit=native,native")
    report = bench_update(
        UpdateBench(algo=algo, task="cartpole", num_envs=4, threads=1, updates=1, warm_up=1, compare=compare)
    )
    torch_, native = (row["parts_s"] for row in report["compared"]["values"])
    assert min(torch_["policy_fit"], native["policy_fit"], torch_["optimiser"]) > 0 == native["optimiser"]
    assert "epochs of the policy" in update_text(report)


def test_fields_that_change_together() -> None:
    together = ("critic_fit=torch,native", "policy_step=torch,auto")
    configs = _configs(SHACConfig(), together, "cartpole")
    native = SHACConfig(critic_fit="native", policy_step="auto")
    torch = SHACConfig(critic_fit="torch", policy_step="torch")
    assert configs == {"torch": (torch, {}, None), "native,auto": (native, {}, None)}
    configs = _configs(SHACConfig(), ("critic_fit=torch,native", "task.fused=false,true"), "cartpole")
    assert configs == {
        "torch,false": (SHACConfig(critic_fit="torch"), {"fused": False}, None),
        "native,true": (SHACConfig(critic_fit="native"), {"fused": True}, None),
    }
    configs = _configs(SHACConfig(), ("framework=torch,jax", "task.fused=true,false"), "cartpole")
    assert [options for _, *options in configs.values()] == [[{"fused": True}, "torch"], [{"fused": False}, "jax"]]


def test_algorithms_by_turns() -> None:
    compare = ("algo=shac,ppo",)
    bench = UpdateBench(task="cartpole", num_envs=4, threads=1, updates=1, warm_up=1, compare=compare)
    report = bench_update(bench)
    shac, ppo = report["compared"]["values"]
    assert report["algo"] == shac["value"] == "shac" and ppo["value"] == "ppo"
    assert ppo["parts_s"]["policy_fit"] > 0 == shac["parts_s"]["policy_fit"], "each with its own parts"
    ratio = 1 / ppo["times_faster_cpu"]["median"]
    text = update_text(report)
    assert f"{ratio:.2f} ({ratio:.2f} to {ratio:.2f})" in text and "times shac's" in text


def test_options_of_the_task_by_turns() -> None:
    bench = UpdateBench(
        task="cartpole", num_envs=8, threads=1, updates=1, warm_up=0, compare=("task.fused=false,true",)
    )
    report = bench_update(bench)
    separate, fused = report["compared"]["values"]
    assert report["compared"]["fields"] == ["task.fused"] and (separate["value"], fused["value"]) == ("false", "true")
    assert separate["parts_s"]["bridge_forward"] > 0 == fused["parts_s"]["bridge_forward"], "the bridge is in the step"
    assert fused["parts_s"]["simulator_forward"] > 0 and fused["parts_s"]["backward_simulator"] > 0


def test_a_window_that_is_one_node_has_the_same_parts() -> None:
    compare = ("task.fused=false,true", "policy_step=torch,native")
    bench = UpdateBench(task="cartpole", num_envs=8, threads=1, updates=1, warm_up=1, compare=compare)
    for row in bench_update(bench)["compared"]["values"]:
        for part in ("simulator_forward", "task", "policy_forward", "rollout", "backward_simulator", "backward_rest"):
            assert row["parts_s"][part] > 0, (row["value"], part)


def test_times_faster_is_the_median_over_turns() -> None:
    def case(*walls: float) -> Case:
        made = Case.__new__(Case)
        made.plain, made.whole = [Lap(wall, 2 * wall) for wall in walls], [1.0] * len(walls)
        made.parts, made.first = [{"critic": 1.0}] * len(walls), Lap(9.0, 8.0)
        return made

    rows = compared(["critic_fit"], {"torch": case(4.0, 4.0, 30.0), "native": case(2.0, 1.0, 10.0)})["values"]
    assert rows[1]["times_faster_wall"] == rows[1]["times_faster_cpu"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert rows[1]["update_cpu_s"]["median"] == 4.0 and rows[1]["first_update_s"] == {"wall": 9.0, "cpu": 8.0}


def test_frameworks_by_turns() -> None:
    pytest.importorskip("flax")
    turns = ("framework=torch,jax", "task.fused=true,false")
    given = {"algo": "apg", "task": "cartpole", "num_envs": 4, "threads": 1, "updates": 1, "warm_up": 1}
    report = bench_update(UpdateBench(**given, compare=turns))
    torch, jax = report["compared"]["values"]
    assert torch["parts_s"]["backward_rest"] > 0 and jax["parts_s"]["rest_of_update"] > 0
    assert jax["parts_sum_s"] == jax["parts_s"]["rest_of_update"]
    assert jax["first_update_s"]["wall"] > jax["update_s"]["median"]


@pytest.mark.parametrize("critic_fit", ["torch", "native"])
@pytest.mark.parametrize("algo", [entry.name for entry in list_algorithms() if entry.arrays == "torch"])
def test_timing_changes_no_bits_and_leaves_nothing_behind(algo: str, critic_fit: str) -> None:
    import diffsim_core

    env = diffsim_core.make("cartpole", num_envs=4, threads=1)
    config = default_preset(algo, "cartpole").config
    if hasattr(config, "critic_fit"):
        config = dataclasses.replace(config, critic_fit=critic_fit)
    algorithm: Any = get_algorithm(algo).build(config)
    module: Any = sys.modules[type(algorithm).__module__]

    def functions() -> list[Any]:
        rollouts = [_window.rollout, _off_policy.rollout, getattr(module, "rollout", None)]
        fits = [_learner.begin_fit, _off_policy.QFunctions.fit]
        fits += [getattr(type(algorithm), "epoch", None), getattr(module, "fit_policy_", None)]
        return [torch.autograd.grad, _adam.Optimizer.step_, _account.Clock.lap, env.step, *rollouts, *fits]

    # The first update of some learns nothing yet.
    state, before = algorithm.update(algorithm.init(env, 0))[0], functions()
    plain, _ = algorithm.update(state)
    spans = Spans()
    with instrumented(algorithm, env, spans):
        spans.begin()
        timed, metrics = algorithm.update(state)
        whole = spans.end()
    assert before == functions()
    a, b = algorithm.to_arrays(plain), algorithm.to_arrays(timed)
    assert a.keys() == b.keys()
    assert all((a[name] == b[name]).all() for name in a)
    # Whatever the algorithm: its parts are found, and what is left over is named after its own phases.
    assert spans.calls["simulator_forward"] == spans.calls["task"] >= 1
    compiled = critic_fit == "native" and hasattr(config, "policy_fit")  # then no step is torch's
    assert (spans.totals.get("optimiser", 0.0) > 0) != compiled
    phases = {f"rest_of_{name.removesuffix('_s')}" for name in metrics if name.endswith("_s")}
    assert phases and phases | {"rest_of_report"} == {name for name in spans.totals if name not in PARTS}
    assert sum(spans.totals.values()) == pytest.approx(whole)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="updates is 0"):
        UpdateBench(updates=0)
    with pytest.raises(ValueError, match="unknown algorithm 'shack'"):
        bench_update(UpdateBench(algo="shack"))
    with pytest.raises(ValueError, match="antt"):
        bench_update(UpdateBench(task="antt"))
    for compare in ("critic_fit", "critic_fit=torch"):
        with pytest.raises(ValueError, match=f"compare is {compare!r}; expected a field and several values"):
            bench_update(UpdateBench(task="cartpole", compare=(compare,)))
    with pytest.raises(ValueError, match="the values must differ"):
        bench_update(UpdateBench(task="cartpole", compare=("critic_fit=torch,torch",)))
    with pytest.raises(ValueError, match="every field needs as many values as the others"):
        bench_update(UpdateBench(task="cartpole", compare=("critic_fit=torch,native", "horizon=4,8,16")))
    with pytest.raises(ValueError, match="expected several algorithms, such as algo=shac,ppo"):
        bench_update(UpdateBench(task="cartpole", compare=("algo=shac,shac",)))
    with pytest.raises(ValueError, match="algorithms are compared alone"):
        bench_update(UpdateBench(task="cartpole", compare=("algo=shac,ppo", "horizon=4,8")))
    with pytest.raises(ValueError, match="critic_fit of SHACConfig is 'fast'"):
        bench_update(UpdateBench(task="cartpole", compare=("critic_fit=torch,fast",)))
    with pytest.raises(ValueError, match="unknown option of SHACConfig: 'critic_fits'"):
        bench_update(UpdateBench(task="cartpole", compare=("critic_fits=torch,native",)))
    with pytest.raises(ValueError, match="unknown option of task 'cartpole': 'fuse'; did you mean 'fused'"):
        bench_update(UpdateBench(task="cartpole", compare=("task.fuse=false,true",)))
    with pytest.raises(ValueError, match="fused of task 'cartpole' is 'maybe'"):
        bench_update(UpdateBench(task="cartpole", compare=("task.fused=false,maybe",)))


@pytest.mark.gpu
def test_cuda() -> None:
    report = bench_update(UpdateBench(task="ant", device="cuda", updates=2, warm_up=1))
    assert report["machine"]["gpu"]
    assert all(report["parts_s"][part] > 0 for part in PARTS)
