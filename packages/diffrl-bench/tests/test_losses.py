"""Losses of whole episodes and of SHAC's windows: by hand, by SHAC's own update, and by central differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradest
from diffrl_algos import Budget, SHACConfig
from diffrl_algos._run import Run
from diffrl_algos._session import start_run
from diffrl_algos._spec import RunSpec
from diffrl_algos._states import restore
from diffrl_algos.torch import SHAC
from diffrl_algos.torch._account import Clock
from diffrl_bench._losses import LossesBench, bench_losses, evaluate, losses_text, roughness, sizes
from diffrl_bench._two_losses import Losses, open_losses
from diffrl_bench.cli import main

WORLDS, STEPS = 3, 30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on Hopper in double precision, whose policy soon falls."""
    folder = tmp_path_factory.mktemp("runs") / "shac"
    config = SHACConfig(
        iterations=2,
        horizon=6,
        actor_hidden=(8,),
        critic_hidden=(8,),
        critic_iterations=2,
        critic_minibatches=1,
        policy_step="torch",
        critic_fit="torch",
    )
    spec = RunSpec(
        algorithm="shac",
        task="hopper",
        config=config,
        num_envs=4,
        budget=Budget(iterations=2),
        task_options={"dtype": "float64"},
        eval_episodes=1,
    )
    start_run(spec, folder)
    return folder


@pytest.fixture(scope="module")
def opened(run: Path) -> tuple[SHAC, Callable[..., Losses]]:
    spec = Run.open(run).spec
    shac, (state, _) = spec.build(), restore(Run.open(run), "last")

    def losses(num_envs: int = WORLDS, seed: int = 0, *, steps: int = STEPS, begin: int = 5) -> Losses:
        return open_losses(shac, state, spec.make_env(num_envs), steps=steps, begin=begin, seed=seed)

    return shac, losses


@pytest.fixture(scope="module")
def losses(opened: tuple[SHAC, Callable[..., Losses]]) -> Losses:
    return opened[1]()


def test_the_loss_of_an_episode_is_that_of_a_loop_which_stops_where_worlds_end(
    opened: tuple[SHAC, Callable[..., Losses]],
) -> None:
    shac, make = opened
    losses = make(steps=200)
    env, actor = losses.state.env, shac.actor(losses.state.env)
    normalize = losses.state.run.normalizer(shac.config)
    state, obs = env.reset(0)
    total, alive = torch.zeros(WORLDS, dtype=torch.float64), torch.ones(WORLDS, dtype=torch.bool)
    with torch.no_grad():
        for eps in losses.eps:
            policy = actor(actor.split(losses.actor), normalize(obs))
            state, after = env.step(state, torch.tanh(policy.mean + eps * policy.logstd.exp()))
            total += torch.where(alive, after.reward, 0.0)
            alive &= ~(after.terminated | after.truncated)
            obs: Any = after.obs
    assert not alive.any()  # so the loop and the loss leave steps out
    assert losses.of("episode", losses.actor) == pytest.approx(-float(total.sum()) / (200 * WORLDS), rel=1e-12)


def test_the_loss_of_a_window_is_the_one_that_an_update_of_shac_descends(
    opened: tuple[SHAC, Callable[..., Losses]], losses: Losses
) -> None:
    shac, _ = opened
    generator = torch.Generator().manual_seed(7)
    shape = (shac.config.horizon, WORLDS, losses.state.env.spec.num_actions)
    eps = torch.randn(shape, generator=generator, dtype=torch.float64)
    here = Losses(shac, losses.state, losses.here, losses.eps, eps)
    grad, lost = here.gradient("window", losses.actor)
    with gradest.allow_nan():
        learned = shac.learn(losses.state.replace(run=losses.here), generator.manual_seed(7), Clock())
    assert float(grad.norm()) == pytest.approx(float(learned.metrics["grad_norm"]), rel=1e-12)
    assert lost == 0.0 and float(grad.norm()) > 0.0


@pytest.mark.parametrize("name", ["episode", "window"])
def test_gradients_are_those_of_central_differences(losses: Losses, name: str) -> None:
    grad, _ = losses.gradient(name, losses.actor)
    directions = gradest.random_directions(np.random.default_rng(3), losses.actor, count=4)
    expected = gradest.finite_difference_gradient(
        lambda flat: losses.of(name, flat), losses.actor, directions=directions, eps=1e-6
    )
    torch.testing.assert_close(directions @ grad, expected, rtol=2e-5, atol=1e-8)


def test_the_window_begins_where_the_policy_is_after_some_steps(opened: tuple[SHAC, Callable[..., Losses]]) -> None:
    _, make = opened
    at_reset, later = make(begin=0), make(begin=5)
    assert at_reset.here.env_state is at_reset.state.run.env_state
    assert not torch.equal(later.here.obs, later.state.run.obs)
    torch.testing.assert_close(at_reset.state.run.obs, later.state.run.obs, rtol=0, atol=0)


def test_the_report_has_the_losses_at_its_points(opened: tuple[SHAC, Callable[..., Losses]], losses: Losses) -> None:
    bench = LossesBench(steps=STEPS, num_envs=WORLDS, begin=5, points=5, plane=3, radius=1e-4, graph_envs=WORLDS)
    report = evaluate(lambda num_envs, seed: opened[1](num_envs, seed), bench)
    line, plane = report["line"], report["plane"]
    grad, _ = losses.gradient("window", losses.actor)
    assert line["weight"] == int(grad.abs().argmax())
    moved = losses.actor.clone()
    moved[line["weight"]] += 1e-4
    directions = gradest.random_directions(np.random.default_rng(0), losses.actor)
    for name in ("episode", "window"):
        assert line[name][2] == plane[name][1][1] == losses.of(name, losses.actor)
        assert line[name][4] == losses.of(name, moved)
        corner = losses.of(name, losses.actor + 1e-4 * directions[0] - 1e-4 * directions[1])
        assert plane[name][2][0] == pytest.approx(corner, rel=1e-12)
    assert line["slope"][2] == pytest.approx(float(grad[line["weight"]]), rel=1e-12)
    assert line["slope"] == pytest.approx(line["difference"], rel=1e-3)
    whole, _ = losses.gradient("episode", losses.actor)
    assert report["gradients"]["episode"]["norm"] == pytest.approx(float(whole.norm()), rel=1e-12)


def test_the_gradient_of_the_episode_is_the_mean_over_its_parts(opened: tuple[SHAC, Callable[..., Losses]]) -> None:
    bench = LossesBench(steps=STEPS, num_envs=4, begin=5, points=3, plane=0, graph_envs=2, seed=3)
    report = evaluate(lambda num_envs, seed: opened[1](num_envs, seed), bench)
    parts = [opened[1](2, seed) for seed in (3, 4)]
    mean = torch.stack([part.gradient("episode", part.actor)[0] for part in parts]).mean(0)
    assert report["gradients"]["episode"]["norm"] == pytest.approx(float(mean.norm()), rel=1e-12)
    assert report["plane"] is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 2.0, 5.0], 1.0), ([4.0, 1.0, 0.0, 1.0, 4.0], 2.0), ([0.0, 1.0, 0.0, 1.0, 0.0], 4.0), ([1.0, 1.0], None)],
)
def test_roughness(values: list[float], expected: float | None) -> None:
    assert roughness(values) == expected
    assert roughness([*values, float("nan")]) is None


def test_sizes_of_a_gradient() -> None:
    found = sizes(torch.tensor([3.0, -40.0, 0.0, 0.5]), 0.25)
    assert found["norm"] == pytest.approx(np.sqrt(9 + 1600 + 0.25))
    assert found["quantiles"] == {"0.5": 1.75, "0.9": pytest.approx(28.9), "0.99": pytest.approx(38.89), "1.0": 40.0}
    assert found["powers_of_ten"] == {"-1": 1, "0": 1, "1": 1}
    assert (found["zero"], found["not_finite"], found["lost"]) == (1, 0, 0.25)
    broken = sizes(torch.tensor([float("nan"), 2.0]), 0.0)
    assert broken["norm"] is None and broken["not_finite"] == 1 and broken["quantiles"]["1.0"] == 2.0


def test_the_command_prints_and_draws(run: Path, tmp_path: Path, one_object: Callable[[], dict[str, Any]]) -> None:
    few = ["--steps", "8", "--num-envs", "4", "--points", "3", "--plane", "3", "--graph-envs", "2", "--json"]
    assert main(["losses", str(run), *few, "--plot", str(tmp_path / "l.svg")]) == 0
    report = one_object()
    assert report["run"]["task"] == "hopper" and report["run"]["iteration"] == 2
    assert "roughness" in losses_text(report)
    words = (tmp_path / "l.svg").read_text()
    for part in ("loss of whole episodes", "slope of SHAC", "gradient at the policy"):
        assert part in words


def test_the_same_seed_gives_the_same_numbers(run: Path) -> None:
    def found(seed: int) -> Any:
        bench = LossesBench(steps=8, num_envs=2, begin=2, points=3, plane=3, graph_envs=2, seed=seed)
        report = bench_losses(run, bench)
        return report["line"], report["plane"], report["gradients"]

    assert found(5) == found(5) != found(6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--num-envs", "0"], "num_envs is 0; expected at least 1"),
        (["--steps", "0"], "steps is 0; expected at least 1"),
        (["--begin", "-1"], "begin is -1; expected at least 0"),
        (["--points", "4"], "points is 4; expected an odd number"),
        (["--plane", "1"], "plane is 1; expected an odd number"),
        (["--radius", "nan"], "radius is nan; expected a finite number above 0"),
        (["--graph-envs", "3"], "graph_envs is 3; expected 0, or a divisor of num_envs, 128"),
        (["--weight", "100000", "--num-envs", "2", "--graph-envs", "0"], "weight is 100000; expected 0 to"),
        (["--plot", "x.txt"], "must end in .svg"),
    ],
)
def test_bad_arguments(run: Path, arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", str(run), *arguments]) == 2
    assert words in capfd.readouterr().err


def test_another_run_is_refused(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    described = json.loads((run / "run.json").read_text())
    described |= {"algorithm": "ppo", "config": {"iterations": 3}}
    (tmp_path / "run.json").write_text(json.dumps(described))
    assert main(["losses", str(tmp_path)]) == 2
    assert "was trained with ppo in torch" in capfd.readouterr().err
