"""``bench gradients``: estimators and their truth against closed forms, and one fast run of each kind."""

from __future__ import annotations

import json
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import Bundle
from diffrl_algos.torch import BundledEnv
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._policy import GaussianActor
from diffrl_bench._extract import figures_in
from diffrl_bench._figures import problems_of_figure, problems_of_subject
from diffrl_bench._gradient_estimators import ESTIMATORS, estimate
from diffrl_bench._gradient_figures import _square_trace, bias, figures, trust
from diffrl_bench._gradient_truth import Truth
from diffrl_bench._gradient_worlds import Batch, Subject, batches, begin, noise, roll_out
from diffrl_bench._gradients import GradientsBench, measure
from diffrl_bench._gradients_text import LABELS
from diffrl_bench.cli import main
from diffsim_core import EnvState, Transition

GAMMA = 0.9


class Integrator:
    """``x' = x + u`` with the reward ``-x'^2``, from 1 in every world; a world may be spoilt."""

    def __init__(self, num_envs: int, spoilt: int | None = None) -> None:
        self.num_envs, self.spoilt = num_envs, spoilt
        self.spec = SimpleNamespace(num_actions=1, horizon=1000)

    def reset(self, seed: int) -> tuple[EnvState, torch.Tensor]:
        x = torch.ones(self.num_envs, 1, dtype=torch.float64)
        zero = torch.zeros(self.num_envs, dtype=torch.int32)
        return EnvState(x, (), zero, zero, torch.tensor(seed)), x

    def step(self, state: EnvState, action: torch.Tensor) -> tuple[EnvState, Transition]:
        x = state.physics + action
        diverged = torch.zeros(self.num_envs, dtype=torch.bool)
        if self.spoilt is not None:
            diverged[self.spoilt] = True
            x = x * torch.where(diverged, torch.nan, 1.0)[:, None]
        never = torch.zeros_like(diverged)
        after = state._replace(physics=x, t=state.t + 1)
        return after, Transition(-(x[:, 0] ** 2), never, never, x, x, diverged, {})


def linear_subject() -> Subject:
    actor = GaussianActor(MLP((1, 1)))
    theta = torch.tensor([-0.3, 0.1, np.log(0.2)], dtype=torch.float64)
    return Subject(lambda flat, obs: actor(actor.split(flat), obs), theta, GAMMA, squash=lambda u: u)


def expected_return(theta: torch.Tensor, horizon: int) -> torch.Tensor:
    """Of the integrator, from the mean and the variance of its state."""
    gain, offset, logstd = theta
    mean, var, total = torch.ones(()).double(), torch.zeros(()).double(), torch.zeros(()).double()
    for t in range(horizon):
        mean, var = (1 + gain) * mean + offset, (1 + gain) ** 2 * var + (2 * logstd).exp()
        total = total - GAMMA**t * (mean**2 + var)
    return total


def closed_form(horizon: int) -> np.ndarray[Any, Any]:
    theta = linear_subject().theta.requires_grad_()
    return torch.autograd.grad(expected_return(theta, horizon), theta)[0].numpy()


@cache
def a_batch(num_envs: int, horizons: tuple[int, ...], spoilt: int | None = None) -> dict[int, Batch]:
    subject = linear_subject()
    env: Any = Integrator(num_envs, spoilt)
    generator = torch.Generator().manual_seed(3)
    start = begin(subject, env, 0, 0, generator)
    eps = noise(generator, subject.theta, horizons[-1], num_envs, 1)
    return batches(subject, env, start, eps, horizons, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_of_a_linear_system_are_unbiased(name: str) -> None:
    """With weights from the batch, a mixture's bias falls with the worlds; here it is far below the noise."""
    for h, batch in a_batch(20_000, (1, 4)).items():
        found = estimate(name, batch)
        assert found.left_out == 0
        g = found.gradients.numpy()
        error = g.std(0, ddof=1) / np.sqrt(len(g))
        assert (np.abs(g.mean(0) - closed_form(h)) <= 3.5 * error + 1e-12).all(), (name, h)


def test_the_measured_bias_of_a_linear_system() -> None:
    bench = GradientsBench(
        horizons=(1, 4, 8), samples=2048, truth=1024, batch=128, num_envs=128, directions=3, gamma=GAMMA
    )
    report = measure(linear_subject(), Integrator(128), bench)
    for row in report["truth"]:
        exact = float(np.linalg.norm(closed_form(row["horizon"])))
        assert row["known"] and row["worlds"] == 1024
        assert abs(row["norm"] - exact) <= 3 * row["error"] + 0.01 * exact  # the width's own error
    for row in report["rows"]:
        assert row["bias_errors"] <= 3.0, row
        assert row["bias_low"] <= row["bias"] <= row["bias_high"]
    found = {(row["estimator"], row["horizon"]): row for row in report["rows"]}
    # The simulator's gradients vary least, and a baseline helps.
    assert found["first", 4]["variance"] < found["lr-baseline", 4]["variance"] < found["lr", 4]["variance"]
    assert report["trust"]["first"] == {"horizon": 8, "open": True}


def test_a_biased_estimator_is_seen() -> None:
    """Gradients that miss the second parameter are as long as the bias says, and point as far off."""
    rng = np.random.default_rng(0)
    truth = Truth(np.array([3.0, 4.0, 0.0]), 1e-6 * np.eye(3), 10_000, 0)
    groups = [np.array([3.0, 0.0, 0.0]) + rng.normal(size=(64, 3)) for _ in range(50)]
    found: Any = figures(groups, truth)
    assert found["bias_low"] <= 0.8 <= found["bias_high"] and found["bias_errors"] > 100
    assert abs(found["cosine"] - 0.6) < 0.02
    assert abs(found["variance"] - 3 / 25) < 0.005
    assert abs(found["snr"] - 9 / 3) < 0.15


@pytest.mark.parametrize("size", [1e80, 1e160, 1e300])
@pytest.mark.parametrize("batches", [2, 16])
def test_gradients_whose_squares_overflow_give_no_figures_but_a_direction(size: float, batches: int) -> None:
    rng = np.random.default_rng(0)
    truth = Truth(np.array([1.0, 0.0]), 1e-6 * np.eye(2), 100, 0)
    groups = [size * (np.array([1.0, 0.0]) + 0.1 * rng.normal(size=(64, 2))) for _ in range(batches)]
    found: Any = figures(groups, truth)
    assert found["cosine"] > 0.99
    assert all(value is None or np.isfinite(value) for value in found.values())


def test_the_interval_of_a_bias_covers_it() -> None:
    """In 95 of 100 repetitions, for a bias of 0 and for others; and noise that is taken out of the truth."""
    rng = np.random.default_rng(1)
    root = np.diag([1.0, 0.5, 0.2])
    for length in (0.0, 1.0, 3.0):
        centre = np.array([length, 0.0, 0.0])
        hits = 0
        for _ in range(400):
            means = centre + rng.normal(size=(16, 3)) @ root * 4
            of_truth = rng.normal(size=3) @ root * 0.3
            covariance = np.cov(means, rowvar=False) / 16
            found = bias(means.mean(0) - of_truth, covariance, 0.09 * root @ root, 15, 1.0)
            hits += found["bias_low"] <= length <= found["bias_high"]
        assert hits >= 0.9 * 400, length


def test_the_square_of_a_covariance_is_estimated_without_bias() -> None:
    rng = np.random.default_rng(2)
    root = np.diag([1.0, 1.0, 0.5])
    found = [_square_trace(np.cov(rng.normal(size=(16, 3)) @ root, rowvar=False), 15) for _ in range(2000)]
    np.testing.assert_allclose(np.mean(found), 2 + 1 / 16, rtol=0.05)


def test_the_horizon_of_trust() -> None:
    assert trust((1, 2, 4), (0.95, 0.92, 0.5)) == {"horizon": 2, "open": False}
    assert trust((1, 2, 4), (0.95, 0.92, None)) == {"horizon": 2, "open": True}
    assert trust((1, 2, 4), (0.5, 0.99, 0.99)) == {"horizon": 0, "open": False}
    assert trust((1, 2, 4), (None, 0.99, 0.5)) == {"horizon": 2, "open": False}
    assert trust((1, 2), (None, None)) == {"horizon": 0, "open": True}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_diverged_world_is_left_out(name: str) -> None:
    """The others have their gradients, to the bit where no weight is shared."""
    spoilt = estimate(name, a_batch(16, (1, 4), spoilt=5)[4])
    plain = a_batch(16, (1, 4))[4]
    assert spoilt.left_out == 1 and torch.isfinite(spoilt.gradients).all()
    others = plain.of(torch.arange(16) != 5)
    assert torch.equal(spoilt.gradients, estimate(name, others).gradients)


def test_a_gradient_that_is_not_finite_counts_where_nothing_else_does() -> None:
    batch = a_batch(16, (4,))[4]
    blocked = batch.blocked.clone()
    blocked[2, 7] = True
    broken = batch._replace(blocked=blocked)
    assert {name: estimate(name, broken).left_out for name in ESTIMATORS} == {
        **dict.fromkeys(ESTIMATORS, 0),
        **dict.fromkeys(("first", "aobg"), 1),
    }


def test_parts_of_a_batch_are_the_whole() -> None:
    whole = a_batch(16, (4,))[4]
    index = torch.arange(16)
    again = Batch.joined([whole.of(index < 6), whole.of(index >= 6)])
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))


def test_a_bundle_of_one_without_perturbation_has_the_plain_gradient() -> None:
    env: Any = diffsim_core.make("hopper", num_envs=8, dtype="float64")
    bundled = BundledEnv(env, Bundle(branches=1, position=0.0, velocity=0.0, force=0.0))
    actor = GaussianActor(MLP((env.spec.num_obs, 8, env.spec.num_actions)))
    theta = actor.init(torch.Generator().manual_seed(0), logstd=-1.0).double()
    subject = Subject(lambda flat, obs: actor(actor.split(flat), obs), theta, 0.99)
    generator = torch.Generator().manual_seed(0)
    start = begin(subject, env, 0, 15, generator)
    eps = noise(generator, theta, 4, 8, env.spec.num_actions)
    directions = torch.randn(2, len(theta), generator=generator, dtype=torch.float64)
    found = {}
    for name, worlds in {"plain": env, "bundled": bundled}.items():
        state = start.state if worlds is env else start.state._replace(task=bundled.memory(start.state))
        batch = batches(subject, worlds, start._replace(state=state), eps, (4,), directions)[4]
        found[name] = estimate("first", batch).gradients
    torch.testing.assert_close(found["plain"], found["bundled"], rtol=1e-9, atol=1e-9)
    # That gradient is the derivative of the same worlds' returns.
    ends = [roll_out(subject, env, start, eps, theta + s * 1e-5 * directions[0]).reward.sum(0) for s in (1, -1)]
    torch.testing.assert_close(found["plain"][:, 0], (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-6)


SMALL = ["--samples", "8", "--truth", "8", "--batch", "4", "--num-envs", "4", "--directions", "2", "--horizons", "1,2"]


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("dejong", []),
        ("pace_car_1", []),
        ("hopper", ["--begin", "2", "--estimators", "first,bundles", "--sigma", "0.2"]),
    ],
)
def test_a_run_of_each_kind(task: str, more: list[str], one_object: Any, tmp_path: Any) -> None:
    file = tmp_path / "gradients.svg"
    assert main(["gradients", "--task", task, *SMALL, *more, "--plot", str(file), "--json"]) == 0
    report = one_object()
    names = ["first", "bundles"] if more else list(ESTIMATORS)
    horizons = [1] if task == "dejong" else [1, 2]
    assert [(row["estimator"], row["horizon"]) for row in report["rows"]] == [(n, h) for n in names for h in horizons]
    assert report["task_options"]["dtype"] == "float64" and file.exists()
    assert report["truth"][0]["norm"] >= 0 and set(report["trust"]) == set(names)
    json.dumps(report, allow_nan=False)


def test_equal_seeds_give_equal_figures(one_object: Any, capfd: Any) -> None:
    reports = []
    for seed in ("4", "4", "5"):
        assert main(["gradients", "--task", "cartpole", *SMALL, "--seed", seed, "--json"]) == 0
        reports.append(one_object())
    assert reports[0]["rows"] == reports[1]["rows"] != reports[2]["rows"]
    assert main(["gradients", "--task", "cartpole", *SMALL]) == 0
    assert "horizon of trust" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "cartpole", "--samples", "4", "--batch", "4"], "samples is 4; expected at least 8"),
        (["--task", "cartpole", "--horizons", "2,1"], "horizons is (2, 1); expected rising numbers"),
        (["--task", "cartpole", "--horizons", "1,x"], "horizons is '1,x'; expected whole numbers"),
        (["--task", "cartpole", "--estimators", "best"], "estimators has 'best'; choose from first, lr"),
        (["--task", "cartpole", "--num-envs", "48"], "batch is 64; expected a multiple of num_envs, 48"),
        (["--task", "cartpole", "--sigma", "0"], "sigma is 0.0; expected a finite number above 0"),
        (["--task", "cartpole", "--estimators", "bundles"], "has no contacts to bundle"),
        (["--task", "nowhere"], "nowhere is no run folder, and no task either"),
        (["--task", "dejong", "--horizons", "2,4"], "an episode has 1 step"),
        ([], "one of the arguments --task --run is required"),
    ],
)
def test_bad_input(options: list[str], message: str, capfd: Any) -> None:
    assert main(["gradients", *options]) == 2
    assert message in capfd.readouterr().err


def test_figures_of_a_report(one_object: Any) -> None:
    assert main(["gradients", "--task", "cartpole", *SMALL, "--json"]) == 0
    report = one_object()
    found = figures_in("gradients", report)
    assert not [problem for figure in found.figures for problem in problems_of_figure(figure)]
    assert not [problem for subject in found.subjects for problem in problems_of_subject(subject)]
    values = {(one["subject"], one["quantity"]): one for one in found.figures}
    known = [row for row in report["rows"] if row["cosine"] is not None]
    for row in known:
        one = values[f"{LABELS[row['estimator']]}, {row['horizon']} step{'s' * (row['horizon'] > 1)}", "cosine"]
        assert (one["value"], one["low"], one["high"]) == (row["cosine"], row["cosine_low"], row["cosine_high"])
    unknown = [one["subject"] for one in found.subjects if one["missing"]]
    assert len(unknown) == sum(not row["known"] for row in report["truth"])
    assert values["first order", "horizon of trust"]["value"] == report["trust"]["first"]["horizon"]
