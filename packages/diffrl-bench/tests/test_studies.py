"""Variances and landscapes of an AGPO run: gradients, surfaces and reports against other ways to the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gradest
from diffrl_algos import AGPOConfig, Budget
from diffrl_algos._session import start_run
from diffrl_algos._spec import RunSpec
from diffrl_bench import _single_steps, _variance
from diffrl_bench._landscape import bench_landscape, objectives, surfaces
from diffrl_bench._single_steps import Trained, draw, gradients, open_trained, roll_out, simulate
from diffrl_bench._variance import ascend, bench_variance
from diffrl_bench.cli import main

WORLDS = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on CartPole in double precision."""
    folder = tmp_path_factory.mktemp("runs") / "agpo"
    config = AGPOConfig(
        iterations=3,
        horizon=8,
        actor_hidden=(8,),
        critic_hidden=(8,),
        critic_iterations=2,
        critic_minibatches=1,
        policy_step="torch",
        critic_fit="torch",
    )
    spec = RunSpec(
        algorithm="agpo",
        task="cartpole",
        config=config,
        num_envs=4,
        budget=Budget(iterations=3),
        task_options={"dtype": "float64"},
        eval_episodes=1,
    )
    start_run(spec, folder)
    return folder


@pytest.fixture(scope="module")
def trained(run: Path) -> Trained:
    return open_trained(run, num_envs=WORLDS)


def value_of_world(trained: Trained, step: _single_steps.Step, u: Tensor, i: int) -> tuple[Tensor, Tensor]:
    """``r + gamma Q(x', u')`` and ``Q(x, u)`` of one world, with both Q functions written out."""
    c = trained.config

    def q(obs: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([trained.normalize(obs), action])
        return torch.stack([trained.critic.mlp(part, x)[0] for part in trained.critic.split(trained.target)]).min()

    actions = torch.tanh(u)
    _, after = trained.env.step(step.state, actions)
    policy = trained.actor(trained.actor.split(trained.flat), trained.normalize(after.final_obs[i]))
    next_action = torch.tanh(policy.mean + step.eps_next[i] * policy.logstd.exp())
    follows = 0.0 if after.terminated[i] else c.gamma * q(after.final_obs[i], next_action)
    return c.reward_scale * after.reward[i] + follows, q(step.obs[i], actions[i])


def test_variances_are_those_of_loops_over_worlds(run: Path, trained: Trained) -> None:
    report = bench_variance(run, steps=3, num_envs=WORLDS, iterations=0, seed=3)
    assert [row["step"] for row in report["rows"]] == [0, 1, 2]
    for row, step in zip(report["rows"], roll_out(trained, 3, seed=3), strict=True):
        policy = trained.policy(trained.flat, step.obs)
        found: dict[str, list[Tensor]] = {"sg": [], "qg": [], "pg": []}
        for i in range(WORLDS):
            u = draw(policy, step.eps).detach().requires_grad_()
            simulated, value = value_of_world(trained, step, u, i)
            (sg,) = torch.autograd.grad(simulated, u, retain_graph=True)
            (qg,) = torch.autograd.grad(value, u)
            mean = policy.mean[i].detach().requires_grad_()
            density = torch.distributions.Normal(mean, policy.logstd[i].detach().exp()).log_prob(u[i].detach()).sum()
            _, of_mean = value_of_world(trained, step, policy.mean, i)
            (pg,) = torch.autograd.grad(density, mean)
            for name, g in (("sg", sg[i]), ("qg", qg[i]), ("pg", pg * (value - of_mean).detach())):
                found[name].append(g)
        for name, parts in found.items():
            middle = sum(parts, torch.zeros_like(parts[0])) / WORLDS
            expected = sum(float(((g - middle) ** 2).sum()) for g in parts) / (WORLDS - 1)
            assert row[name] == pytest.approx(expected, rel=1e-9)
            assert row[name] > 0
            lengths = [float(g.norm()) for g in parts]
            assert row[f"{name}_length"] == pytest.approx(np.median(lengths), rel=1e-9)
            assert name != "sg" or row["outliers"] == sum(x > 10 * np.median(lengths) for x in lengths)
        assert row["worlds"] == WORLDS and row["not_finite"] == 0


def test_the_simulation_gradient_is_that_of_central_differences(trained: Trained) -> None:
    step = roll_out(trained, 2, seed=1)[1]
    found = gradients(trained, step)
    with torch.no_grad():
        u = draw(trained.policy(trained.flat, step.obs), step.eps)
        ends = [simulate(trained, step, trained.flat, u + shift).value for shift in (1e-5, -1e-5)]
    # CartPole has one action, and worlds do not see each other: one shift gives the slopes of all.
    torch.testing.assert_close(found.sg[:, 0], (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-9)


def test_the_policy_gradient_is_its_closed_form(trained: Trained) -> None:
    """``eps / sigma (Q(x, u) - Q(x, mu))``; and in the mean over the noise it is the slope of a linear Q."""
    step = roll_out(trained, 1, seed=2)[0]
    policy = trained.policy(trained.flat, step.obs)
    u = draw(policy, step.eps)
    gain = trained.q(step.obs, torch.tanh(u)) - trained.q(step.obs, torch.tanh(policy.mean))
    expected = step.eps / policy.logstd.exp() * gain[:, None]
    torch.testing.assert_close(gradients(trained, step).pg, expected, rtol=1e-9, atol=1e-12)
    eps = torch.linspace(-6, 6, 4001, dtype=torch.float64)[:, None]
    weight = torch.exp(-0.5 * eps**2)
    wide = policy._replace(mean=torch.full_like(eps, 0.3), logstd=torch.full_like(eps, -0.7))
    slopes = _single_steps.score(wide, draw(wide, eps)) * 2.5 * (draw(wide, eps) - wide.mean)
    assert float((weight * slopes).sum() / weight.sum()) == pytest.approx(2.5, rel=1e-6)


def test_ratios_are_eq_3(run: Path, trained: Trained) -> None:
    report = bench_variance(run, steps=1, num_envs=WORLDS, iterations=0)
    found = gradients(trained, roll_out(trained, 1, seed=0)[0])
    norms = {name: np.linalg.norm(getattr(found, name).numpy(), axis=1) for name in ("sg", "qg", "pg")}
    spreads = {name: (n / np.median(n)).var(ddof=1) for name, n in norms.items()}
    for name in ("qg", "pg"):
        alpha = spreads[name] / (spreads[name] + spreads["sg"])
        assert report["rows"][0][f"alpha_{name}"] == pytest.approx(alpha, rel=1e-6)


def test_ascent_improves_a_random_policy_and_repeats_its_bits(trained: Trained) -> None:
    step = roll_out(trained, 1, seed=0)[0]
    found, again, other = (ascend(trained, step, 20, seed=seed) for seed in (0, 0, 1))
    assert found == again and found["returns"] != other["returns"]
    assert len(found["returns"]) == 21 and found["returns"][-1] > found["returns"][0]
    assert found["lost_gradients"] == found["refused"] == 0


def test_ascent_goes_on_without_a_world_whose_gradient_is_not_finite(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = roll_out(trained, 1, seed=0)[0]

    def poisoned(*args: Any) -> Any:
        weight = torch.ones((WORLDS, 1), dtype=torch.float64)
        weight[2] = torch.inf
        args[-1].register_hook(lambda g: g * weight)
        return simulate(*args)

    monkeypatch.setattr(_variance, "simulate", poisoned)
    found = ascend(trained, step, 20, seed=0)
    assert found["lost_gradients"] == 20 and found["refused"] == 0
    assert found["returns"][-1] > found["returns"][0]


def test_the_middle_of_a_landscape_is_the_objective(trained: Trained) -> None:
    """Of one step, Eq. 4, and the return that was simulated; its PG has the gradient of Appendix B."""
    step = roll_out(trained, 1, seed=4)[0]
    found, radii = gradients(trained, step), [-1e-4, 0.0, 1e-4]
    directions = gradest.random_directions(np.random.default_rng(0), trained.flat)
    drawn = surfaces(trained, step, directions, radii)
    with torch.no_grad():
        u = draw(trained.policy(trained.flat, step.obs), step.eps)
        value, q = simulate(trained, step, trained.flat, u).value, trained.q(step.obs, torch.tanh(u))
        _, after = trained.env.step(step.state, torch.tanh(u))
    reward = trained.config.reward_scale * after.reward
    ended, gamma = after.terminated[None], trained.config.gamma
    for name in ("qg", "pg"):
        rest = (reward[None], q[None], (value - reward)[None] / gamma)
        alpha = torch.tensor([drawn[f"alpha_{name}"]], dtype=torch.float64)
        eq_4 = gradest.credit_objective(*rest, alpha, ended, ended, gamma=gamma, threshold=0.0)
        assert drawn[f"sg+{name}"][1][1] == pytest.approx(float(eq_4), rel=1e-12)
    assert drawn["sg"][1][1] == pytest.approx(float(value.mean()), rel=1e-12)
    with torch.no_grad():
        moved = trained.flat + 1e-4 * directions[0] - 1e-4 * directions[1]
        there = draw(trained.policy(moved, step.obs), step.eps)
        assert drawn["sg"][2][0] == pytest.approx(float(simulate(trained, step, moved, there).value.mean()), rel=1e-12)

    assert drawn["slope"] == pytest.approx(drawn["difference"], rel=1e-5)

    leaf = trained.flat.detach().requires_grad_()
    (by_surface,) = torch.autograd.grad(objectives(trained, step, found)[2](leaf), leaf)
    with torch.no_grad():
        advantage = q - trained.q(step.obs, torch.tanh(trained.policy(trained.flat, step.obs).mean))
    objective = gradest.likelihood_ratio_objective(trained.policy(leaf, step.obs).log_prob(u), advantage)
    torch.testing.assert_close(by_surface, torch.autograd.grad(objective, leaf)[0], rtol=1e-9, atol=1e-12)


def test_a_part_without_weight_does_not_count(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    step = roll_out(trained, 1, seed=0)[0]
    directions = gradest.random_directions(np.random.default_rng(0), trained.flat)
    monkeypatch.setattr("diffrl_bench._landscape.ratio", lambda *_: 0.0)

    def broken(*args: Any) -> Any:
        found = simulate(*args)
        return found._replace(value=found.value * torch.nan)

    monkeypatch.setattr("diffrl_bench._landscape.simulate", broken)
    drawn = surfaces(trained, step, directions, [-0.1, 0.0, 0.1])
    assert {value for row in drawn["sg"] for value in row} == {None} and drawn["slope"] == [None, None]
    assert np.isfinite(np.array(drawn["sg+qg"], dtype=float)).all()


def test_commands_print_and_draw(run: Path, tmp_path: Path, one_object: Callable[[], dict[str, Any]]) -> None:
    few = [str(run), "--steps", "4", "--num-envs", "4", "--json"]
    assert main(["variance", *few, "--iterations", "2", "--plot", str(tmp_path / "v.svg")]) == 0
    report = one_object()
    assert report["run"]["task"] == "cartpole" and report["run"]["iteration"] == 3
    assert {report["ascent"][name]["step"] for name in ("low", "high")} <= {0, 1, 2, 3}
    assert report["ascent"]["low"]["variance"] <= report["ascent"]["high"]["variance"]
    assert "median" in _variance.variance_text(report)
    assert main(["landscape", *few, "--panels", "2", "--points", "3", "--plot", str(tmp_path / "l.svg")]) == 0
    assert len(one_object()["rows"]) == 2
    for name, words in (("v.svg", "variance over worlds"), ("l.svg", "SG + QG")):
        assert words in (tmp_path / name).read_text()


def test_the_same_seed_gives_the_same_landscape(run: Path) -> None:
    one, again, other = (
        bench_landscape(run, steps=4, num_envs=3, panels=1, points=3, seed=seed)["rows"] for seed in (5, 5, 6)
    )
    assert one == again and one != other


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["variance", "--num-envs", "1"], "num_envs is 1; variances over worlds need at least 2"),
        (["variance", "--steps", "0"], "steps is 0; expected at least 1"),
        (["variance", "--iterations", "-1"], "iterations is -1; expected at least 0"),
        (["landscape", "--points", "4"], "points is 4; expected an odd number"),
        (["landscape", "--panels", "9", "--steps", "4"], "panels is 9; expected 1 to 4"),
        (["landscape", "--radius", "0"], "radius is 0.0; expected a finite number above 0"),
        (["landscape", "--plot", "x.txt"], "must end in .svg"),
    ],
)
def test_bad_arguments(run: Path, arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([arguments[0], str(run), *arguments[1:]]) == 2
    assert words in capfd.readouterr().err


@pytest.mark.parametrize(("algorithm", "framework"), [("shac", None), ("agpo", "jax")])
def test_another_run_is_refused(
    run: Path, tmp_path: Path, algorithm: str, framework: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    if framework:
        pytest.importorskip("flax")
    described = json.loads((run / "run.json").read_text())
    config = described["config"] if algorithm == "agpo" else {"iterations": 3}
    described |= {"algorithm": algorithm, "config": config} | ({"framework": framework} if framework else {})
    (tmp_path / "run.json").write_text(json.dumps(described))
    assert main(["variance", str(tmp_path)]) == 2
    assert f"was trained with {algorithm} in {framework or 'torch'}" in capfd.readouterr().err
