"""``diffrl diagnose``: closed forms of what it measures, the verdicts and the advice that follow, and its command."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim_core
from diffrl_algos import UsageError, cli, diagnose
from diffrl_algos._diagnose._measures import Measure
from diffrl_algos._diagnose._moments import Pairs, moments, pairwise
from diffrl_algos._diagnose._recommend import recommend
from diffrl_algos._diagnose._verdict import MEANINGS, Thresholds, verdict
from diffrl_algos.torch import Gaussian, diagnose_policy
from diffrl_algos.torch._diagnose import examined, horizons, spread_out

from .closed_forms import World, feedback, folded, quadratic, stair

SIGMA = 0.3


def examine(rule, policy=None, **options):
    options = {"num_envs": 4, "samples": 32, "steps": 6, "horizon": 8, "gamma": 1.0, **options}
    make = lambda count: World(count, rule)  # noqa: E731
    return diagnose_policy(make, policy or feedback(0.4, SIGMA), squash=lambda u: u, **options)


def words(found):
    return [one.verdict for one in found.overall]


# --- moments ---


def drawn(rng, mean, *, states=2000, pairs=3, power=3, wrong=0.0):
    """Pairs of a return ``sum (mean + eps)^power`` whose first-order gradient has an error ``wrong``."""
    eps = rng.normal(size=(states, pairs, len(mean)))
    both = mean + np.stack([eps, -eps], axis=2)
    gradient = power * both ** (power - 1) + wrong
    fine = np.ones((states, pairs, 2), dtype=bool)
    return Pairs(eps, gradient, (both**power).sum(-1), fine, fine)


def test_both_orders_are_unbiased_and_a_wrong_first_order_does_not_bias_the_zeroth():
    """The zeroth order is steered by the first as a control variate: its expectation must not follow."""
    mean = np.array([0.5, -1.0, 0.2])
    truth = 3 * (mean**2 + 1)  # of E (mean + eps)^3
    for wrong in (0.0, np.array([5.0, -3.0, 0.0])):
        f, z = pairwise(drawn(np.random.default_rng(0), mean, states=20_000, wrong=wrong))
        for got, expected in ((f, truth + wrong), (z, truth)):
            each = got.mean(1)
            error = each.std(0) / math.sqrt(len(each))
            assert (np.abs(each.mean(0) - expected) < 4 * error).all()


def test_a_right_first_order_takes_the_noise_out_of_the_zeroth():
    linear = drawn(np.random.default_rng(0), np.array([0.5, -1.0]), power=1)
    _, z = pairwise(linear)
    np.testing.assert_allclose(z, 1.0, rtol=1e-12)  # the gradient of a sum, without any noise


def test_squares_of_means_are_free_of_noise():
    mean = np.array([0.1, -0.2])
    truth = 3 * (mean**2 + 1)
    states = 20_000
    found = moments(drawn(np.random.default_rng(1), mean, states=states, pairs=4))
    for got in (found.first, found.dot, found.zeroth):
        assert got / states == pytest.approx(truth @ truth, rel=0.03)  # half as much again with the noise left in
    # Var 3 (m + eps)^2 = 9 (2 + 4 m^2)
    assert found.first_noise / states == pytest.approx((9 * (2 + 4 * mean**2)).sum(), rel=0.03)


def test_lost_roll_outs_leave_the_figures_of_the_others():
    pairs = drawn(np.random.default_rng(2), np.array([0.5, -1.0]), states=6, pairs=5)
    usable = pairs.usable.copy()
    usable[:, 2] = False
    spoilt = np.where(usable[..., None], pairs.gradient, np.nan)
    returns = np.where(usable, pairs.returns, np.inf)
    found = moments(Pairs(pairs.eps, spoilt, returns, usable, usable))
    fewer = moments(Pairs(*(np.delete(part, 2, axis=1) for part in pairs)))
    for name in ("first", "dot", "first_noise"):
        assert getattr(found, name) == pytest.approx(getattr(fewer, name))
    assert np.isfinite(found).all()


# --- closed forms ---


def test_linear_quadratic_worlds_are_trustworthy_to_the_end():
    found = examine(quadratic)
    assert words(found) == ["trustworthy"] * 4
    assert found.recommendation.algorithm == "shac" and found.recommendation.horizon == 8
    assert not found.recommendation.doubts
    for one in found.overall:
        m = one.measure
        assert m.cosine == pytest.approx(1.0, abs=4 * m.cosine_error + 1e-3)
        assert m.length == pytest.approx(1.0, abs=2 * m.snr_zeroth_error / m.snr_zeroth)  # 4 errors of a square root
        assert m.gained == pytest.approx(m.promised, abs=5 * m.gained_error + 0.05 * m.gained)
        assert m.lost == m.outliers == 0.0


def test_signal_to_noise_of_a_quadratic_return_is_that_of_its_formula():
    """One step: ``G = -(x + a/2)^2 - a^2/10``, ``a = -k x + sigma eps``, so ``dG/d eps`` is linear in ``eps``."""
    found = examine(quadratic, num_envs=64, samples=64, steps=1, begin=0, horizon=1)
    x = World(64, quadratic).reset(0)[1].numpy()[:, 0]
    slope = -SIGMA * ((x - 0.2 * x) - 0.2 * 0.4 * x)  # at eps = 0: -sigma ((x + a/2) + a/5)
    curvature = SIGMA**2 * (0.5 + 0.2)
    expected = float((slope**2).mean()) / curvature**2
    m = found.overall[0].measure
    assert m.snr == pytest.approx(expected, rel=0.05)
    assert m.snr > 10 * m.snr_zeroth > 0


def test_a_stair_biases_the_first_order_by_the_known_amount():
    """``E [a > 0] = Phi(mu / sigma)``: its slope in units of noise is ``phi``; the first order sees ``-s sigma``."""
    height, slope = 1.0, 0.5
    zero_mean = feedback(0.0, SIGMA)
    found = examine(stair(height, slope), zero_mean, samples=128, horizon=1)
    m = found.overall[0].measure
    density = height / math.sqrt(2 * math.pi)
    assert m.cosine == -1.0
    assert m.length == pytest.approx(slope * SIGMA / (density - slope * SIGMA), rel=0.1)
    assert m.promised == pytest.approx(0.2 * slope * SIGMA)
    assert m.gained + 2 * m.gained_error < 0
    assert words(found) == ["biased"]
    assert found.recommendation.algorithm == "ppo" and found.recommendation.horizon is None


def test_a_stair_that_gradients_do_not_see_at_all_is_bias_too():
    found = examine(stair(1.0, 0.0), feedback(0.0, SIGMA), samples=64, horizon=1, steps=2)
    assert words(found) == ["biased"] and found.overall[0].measure.snr is None


def test_the_advice_follows_the_lookahead_at_which_bias_begins():
    """A smooth reward for the first four steps; then a stair that the state, pushed by the action, falls over."""

    def rule(x, a, t):
        after = torch.where(t[:, None] > 0, x, 0.0) + a
        return after, torch.where(t < 4, 0.2 * a[:, 0], -1.0 * (after[:, 0] > 0))

    policy = lambda obs: Gaussian(torch.zeros_like(obs), torch.full_like(obs, 0.05).log())  # noqa: E731
    found = examine(rule, policy, begin=0, steps=1, num_envs=8, samples=128)
    assert words(found)[:3] == ["trustworthy"] * 3 and words(found)[3] == "biased"
    assert (found.recommendation.algorithm, found.recommendation.horizon) == ("aobg", 4)
    assert "trustworthy over 4 steps only" in found.recommendation.reasons[0]


def test_overflowing_gradients_are_lost_and_the_advice_gives_them_up():
    found = examine(folded, steps=4)
    assert words(found)[-1] == "lost" and found.overall[-1].measure.lost > 0.5
    assert "trustworthy" not in words(found)[1:]
    assert found.recommendation.algorithm in ("ppo", "agpo")
    assert found.recommendation.horizon is None or found.recommendation.horizon < 8


def test_where_actions_change_nothing_the_gradient_is_flat():
    found = examine(lambda x, a, t: (x, x[:, 0] + 0.0 * a[:, 0]), steps=2)
    assert words(found) == ["flat"] * 4
    assert found.recommendation.algorithm == "ppo"


def test_two_pairs_of_one_state_do_not_pretend_to_know():
    found = examine(stair(1.0, 0.5), feedback(0.0, SIGMA), num_envs=1, samples=4, steps=1, horizon=1)
    assert words(found) == ["unclear"] and "more --samples" in found.recommendation.doubts[0]


# --- the rest of the measurement ---


def test_equal_seeds_give_equal_json_and_others_do_not():
    one, again, other = (examine(quadratic, steps=2, samples=4, seed=seed).to_json() for seed in (3, 3, 4))
    assert json.dumps(one) == json.dumps(again)
    assert one["overall"] != other["overall"]


def test_time_that_ends_leaves_steps_over_all_of_the_episodes(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("diffrl_algos.torch._diagnose.time.monotonic", lambda: float(next(ticks)))
    found = examine(quadratic, steps=16, samples=4, begin=0, seconds=4.5)
    whole = examine(quadratic, steps=16, samples=4, begin=0)
    at = [step.step for step in found.steps]
    assert not found.complete and whole.complete and 2 <= len(at) < 16
    assert at[0] == 0 and at[-1] >= whole.steps[8].step
    same = {step.step: step for step in whole.steps}
    assert all(step == same[step.step] for step in found.steps)  # a step does not depend on the others


def test_rewards_after_the_end_of_an_episode_do_not_count():
    """The last step of an episode has the same gradient over any lookahead."""
    make = lambda count: World(count, quadratic, horizon=10)  # noqa: E731
    found = diagnose_policy(make, feedback(0.4, SIGMA), samples=8, steps=1, begin=9, every=1, horizon=4)
    one, *rest = (f.measure for f in found.steps[0].findings)
    assert all(other.snr == one.snr and other.cosine == one.cosine for other in rest)


@given(st.integers(1, 200))
def test_the_order_of_the_steps_is_a_permutation_whose_beginnings_are_spread(count):
    order = spread_out(count)
    assert sorted(order) == list(range(count))
    if count >= 4:
        assert max(order[:2]) - min(order[:2]) >= (count - 1) // 4


@given(st.integers(1, 3000), st.integers(1, 64))
def test_examined_steps_lie_in_an_episode(episode, steps):
    at = examined(episode, steps, None, None)
    assert at == sorted(set(at)) and at[0] >= 0 and at[-1] < episode and len(at) <= steps


def test_lookaheads_double_up_to_the_longest():
    assert horizons(1) == [1] and horizons(8) == [1, 2, 4, 8] and horizons(12) == [1, 2, 4, 8, 12]


# --- verdicts and advice ---

GOOD = {
    "rollouts": 64,
    "lost": 0.0,
    "outliers": 0.0,
    "snr": 1.0,
    "snr_error": 0.1,
    "snr_zeroth": 0.1,
    "snr_zeroth_error": 0.01,
    "cosine": 0.98,
    "cosine_error": 0.01,
    "length": 1.0,
    "gained": 0.1,
    "gained_error": 0.01,
    "promised": 0.1,
}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "trustworthy"),
        ({"lost": 0.2}, "lost"),
        ({"snr": 0.001, "snr_error": 0.001}, "noisy"),
        ({"snr": 0.05, "snr_error": 0.01}, "noisy"),  # less than the likelihood ratio has
        ({"cosine": 0.7}, "biased"),
        ({"gained": -0.1}, "biased"),
        ({"cosine": 0.85, "cosine_error": 0.05}, "unclear"),
        ({"cosine": 0.95, "cosine_error": 0.2}, "unclear"),
        ({"snr_error": 0.6}, "unclear"),
        ({"snr": None}, "biased"),
        ({"snr": None, "snr_zeroth": None}, "flat"),
    ],
)
def test_verdicts(changes, word):
    assert verdict(Measure(**{**GOOD, **changes}), Thresholds()) == word


_NUMBER = st.none() | st.floats(-2, 1e9)


@settings(max_examples=60)
@given(st.lists(st.tuples(_NUMBER, _NUMBER, _NUMBER, _NUMBER, st.floats(0, 1)), min_size=1, max_size=5), st.booleans())
def test_there_is_advice_for_whatever_was_found(rows, same):
    """Every combination of figures, also those not known, has a verdict and an algorithm, with reasons."""
    found = []
    for snr, cosine, gained, error, lost in rows:
        error = None if error is None else abs(error)
        cosine = None if cosine is None else float(np.clip(cosine, -1, 1))
        changes = {"snr": snr, "cosine": cosine, "gained": gained, "gained_error": error, "lost": lost}
        m = Measure(**{**GOOD, **changes})
        found.append((m, verdict(m, Thresholds())))
    each = [[word for _, word in found] if same else ["unclear"] * len(found)] * 3
    lookaheads = [2**k for k in range(len(found))]
    advice = recommend(lookaheads, found, each, Thresholds(), {"sapo", "agpo", "aobg", "sac"})
    assert {word for _, word in found} <= set(MEANINGS)
    assert advice.algorithm in ("shac", "agpo", "aobg", "ppo") and advice.reasons
    assert (advice.horizon is None) == (advice.algorithm == "ppo")
    assert {name for name, _ in advice.alternatives} <= {"sapo", "agpo", "aobg", "sac"}  # only those that exist


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"samples": 2}, "samples is 2; expected an even number of at least 4, as variances need two pairs"),
        ({"samples": 5}, "samples is 5; expected an even number"),
        ({"num_envs": 0}, "num_envs is 0; expected at least 1"),
        ({"begin": 64}, "begin is 64; an episode has 64 steps"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"seconds": 0.0}, "seconds is 0.0"),
    ],
)
def test_numbers_out_of_range(options, text):
    with pytest.raises(UsageError, match=text):
        examine(quadratic, **options)


def test_a_world_without_gradients_is_refused():
    with pytest.raises(UsageError, match="closed has no gradients, so there is nothing to diagnose; train with ppo"):
        diagnose_policy(lambda count: World(count, quadratic, differentiable=False), feedback(0.4, SIGMA))


# --- runs and the command ---

FEW = ("--steps", "2", "--samples", "4", "--num-envs", "2", "--horizon", "2")
TINY = ("--actor-hidden", "8", "--critic-hidden", "8", "--num-envs", "4", "--eval-episodes", "4")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of SHAC and one of TD3, of one update each."""
    folder = tmp_path_factory.mktemp("runs")
    for algorithm, more in (("shac", ("--horizon", "4")), ("td3", ("--horizon", "4", "--batch-size", "8"))):
        options = [*TINY, *more, "--iterations", "1", "--out", str(folder / algorithm)]
        assert cli.main(["train", algorithm, "toy", *options]) == 0
    return folder


def test_a_run_is_diagnosed_with_its_own_policy_and_options(runs, capsys):
    capsys.readouterr()
    assert cli.main(["diagnose", str(runs / "shac"), "--json", *FEW]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert (found["task"], found["algorithm"], found["iteration"]) == ("toy", "shac", 1)
    assert found["thresholds"]["batch"] == 4  # the worlds of an update of the run
    assert found == diagnose(runs / "shac", steps=2, samples=4, num_envs=2, horizon=2).to_json()
    assert [len(step["findings"]) for step in found["steps"]] == [2, 2]
    other = diagnose(runs / "shac", steps=2, samples=4, num_envs=2, horizon=2, task_options={"limit": 1.5}).to_json()
    assert other["task_options"]["limit"] == 1.5 and found["task_options"].get("limit") is None


def test_a_task_is_diagnosed_with_a_fresh_policy_and_written(tmp_path, capsys):
    out = tmp_path / "found"
    assert cli.main(["diagnose", "toy", "--task-option", "horizon=15", *FEW, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "toy with horizon=15, a fresh policy" in text and "recommended: " in text
    assert json.loads((out / "diagnosis.json").read_text())["policy"] == "a fresh policy"
    assert (out / "diagnosis.png").stat().st_size > 10_000
    svg = (out / "diagnosis.svg").read_text()
    for step in json.loads((out / "diagnosis.json").read_text())["steps"]:
        assert set(step) == {"step", "reward", "metrics", "contacts", "findings"}
        assert "distance" in step["metrics"]
    assert svg.startswith("<?xml")


def test_observations_that_are_arrays_are_diagnosed_too():
    found = diagnose("beacon", steps=1, samples=4, num_envs=2, horizon=2)
    assert found.about["task"] == "beacon" and len(found.overall) == 2


def test_states_are_grouped_by_the_feet_on_the_ground():
    found = diagnose("hopper", steps=4, samples=4, num_envs=2, horizon=1, begin=10)
    assert all(0.0 <= share <= 1.0 for step in found.steps for share in step.contacts.values())
    counts = [name for name in found.states if "touch" in name]
    assert counts and sum(found.states[name][0].measure.rollouts for name in counts) == 4 * 2 * 4
    changes = ("contacts change in the step", "contacts stay")
    assert sum(found.states[name][0].measure.rollouts for name in changes if name in found.states) == 4 * 2 * 4


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("no_such_task",), "no_such_task is no run folder, and no task either: unknown task"),
        (("toy", "--samples", "3"), "argument --samples: invalid value '3'"),
        (("toy", "--samples", "5"), "samples is 5; expected an even number of at least 4"),
        (("toy", "--task-option", "limt=3"), "limt"),
        (("toy", "--horizn", "3"), "did you mean --horizon"),
    ],
)
def test_what_cannot_be_diagnosed(arguments, text, capsys):
    assert cli.main(["diagnose", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_runs_that_cannot_be_diagnosed(runs, tmp_path, capsys):
    assert cli.main(["diagnose", str(runs / "td3")]) == 2
    assert "td3 has no Gaussian policy" in capsys.readouterr().err
    assert cli.main(["diagnose", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
    for file in (runs / "td3" / "checkpoints").rglob("*.*"):
        file.unlink()
    assert cli.main(["diagnose", str(runs / "td3")]) == 2
    assert "holds no complete checkpoint" in capsys.readouterr().err


def test_a_task_without_gradients_is_refused(monkeypatch):
    make = diffsim_core.make

    def blind(*args, **options):
        env = make(*args, **options)
        env.spec = dataclasses.replace(env.spec, differentiable=False)
        return env

    monkeypatch.setattr(diffsim_core, "make", blind)
    with pytest.raises(UsageError, match="toy has no gradients, so there is nothing to diagnose; train with ppo"):
        diagnose("toy")
