"""What every algorithm promises: same bits, resumable, an argument left alone, not stopped by a NaN."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import get_algorithm, list_algorithms, list_presets, load_preset
from diffrl_algos.torch._state import from_arrays, to_arrays

NAMES = [entry.name for entry in list_algorithms() if entry.arrays == "torch"]
LEARN_THROUGH_GRADIENTS = [name for name in NAMES if name not in ("lr", "ppo", "sac", "td3")]
DETERMINISTIC = ("pods", "trajopt")
"""Whose policy has no noise."""
NETWORKS = ("actor", "critic", "target", "target_actor", "log_temperature", "actions")
SMALL = {
    "iterations": 10,
    "horizon": 8,
    "actor_hidden": (16, 8),
    "critic_hidden": (16,),
    "critic_iterations": 2,
    "critic_minibatches": 4,
    "actor_iterations": 2,
    "batch_size": 16,
    "updates": 4,
    "warmup_steps": 4,
}


def build(name, **changes):
    """The algorithm with updates of a few milliseconds; the minibatches are random."""
    entry = get_algorithm(name)
    fields = {field.name for field in dataclasses.fields(entry.config_class())}
    values = {**SMALL, "critic_shuffle": True, **changes}
    return entry.build(entry.config_class()(**{key: value for key, value in values.items() if key in fields}))


def run(algorithm, state, updates):
    metrics = []
    for _ in range(updates):
        state, figures = algorithm.update(state)
        metrics.append(figures)
    return state, metrics


def same_bits(a, b):
    a, b = to_arrays(a), to_arrays(b)
    return a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)


def networks(state):
    """What is learned, by name."""
    return {name: getattr(state, name) for name in NETWORKS if hasattr(state, name)}


def learns_the_same(worlds, name, field, rtol, **changes):
    """In double precision, from the same start: all networks after two updates and every metric, by compiled code."""
    states, metrics = {}, {}
    for how in ("torch", "native"):
        algorithm = build(name, **{field: how}, **changes)
        states[how], metrics[how] = run(algorithm, algorithm.init(worlds(dtype="float64"), 1), 2)
    for part, value in networks(states["torch"]).items():
        torch.testing.assert_close(networks(states["native"])[part], value, rtol=rtol, atol=rtol)
    assert torch.equal(states["torch"].run.rng, states["native"].run.rng)
    for a, b in zip(metrics["torch"], metrics["native"], strict=True):
        same = {key: value for key, value in a.items() if not key.endswith("_s") and key != "divergences"}
        assert {key: b[key] for key in same} == pytest.approx(same, rel=10 * rtol, abs=rtol, nan_ok=True)


def as_in_version_0_1(arrays):
    """The names of arrays before states had a field ``run`` and worlds had constants."""
    renamed = {name.removeprefix("run.").replace(".constants.", ".physics."): array for name, array in arrays.items()}
    return {name: array for name, array in renamed.items() if name != "replay.rows.untaken"}


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_of_version_0_1_load(worlds, name):
    algorithm = build(name)
    state, _ = run(algorithm, algorithm.init(worlds(), 1), 2)
    old = as_in_version_0_1(algorithm.to_arrays(state))
    assert "obs" in old and "env_state.physics.x" in old and not any(key.startswith("run.") for key in old)
    loaded = algorithm.from_arrays(algorithm.init(worlds(), 2), old)
    assert same_bits(state, loaded) and same_bits(algorithm.update(state)[0], algorithm.update(loaded)[0])


def test_checkpoints_of_version_0_1_load_where_the_worlds_have_constants():
    algorithm = build("shac")

    def randomised():
        return diffsim_core.make("cartpole", num_envs=3, randomize={"link_mass": (0.8, 1.2)}, threads=1)

    state = algorithm.init(randomised(), 1)
    old = as_in_version_0_1(algorithm.to_arrays(state))
    assert any(key.startswith("env_state.physics.params") for key in old)
    assert same_bits(state, algorithm.from_arrays(algorithm.init(randomised(), 2), old))


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits(worlds, name):
    algorithm = build(name)
    a, _ = run(algorithm, algorithm.init(worlds(), 1), 3)
    b, _ = run(algorithm, algorithm.init(worlds(), 1), 3)
    c, _ = run(algorithm, algorithm.init(worlds(), 2), 3)
    assert same_bits(a, b)
    assert not any(torch.equal(part, networks(c)[key]) for key, part in networks(a).items())
    assert not torch.equal(a.run.obs, c.run.obs)


@pytest.mark.parametrize("name", NAMES)
def test_six_updates_are_three_and_three(worlds, name):
    algorithm = build(name)
    whole, _ = run(algorithm, algorithm.init(worlds(), 5), 6)
    half, _ = run(algorithm, algorithm.init(worlds(), 5), 3)
    restored = from_arrays(algorithm.init(worlds(), 5), to_arrays(half))
    assert same_bits(whole, run(algorithm, restored, 3)[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_part_that_learns_moves(worlds, name):
    algorithm = build(name)
    start = algorithm.init(worlds(), 0)
    state, metrics = run(algorithm, start, 2)
    for part, before in networks(start).items():
        assert not torch.equal(before, networks(state)[part]), part
    window = 5 if name == "trajopt" else 8  # TrajOpt plays whole episodes
    assert state.iteration == 2
    assert state.env_steps == 6 * window * sum(1 + figures.get("trials", 0) for figures in metrics)
    assert metrics[-1]["refused_updates"] == metrics[-1]["diverged"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_update_leaves_its_argument_as_it_was(worlds, name):
    algorithm = build(name)
    state, _ = run(algorithm, algorithm.init(worlds(), 0), 1)
    before = {key: array.copy() for key, array in to_arrays(state).items()}
    a, _ = algorithm.update(state)
    assert all(np.array_equal(before[key], array) for key, array in to_arrays(state).items())
    assert same_bits(a, algorithm.update(state)[0])


SPOILED = 1
"""The world whose gradient it is."""


class Poisoned:
    """Worlds of which one step, ``countdown`` from now, gives rewards or, in one world, a gradient beyond numbers."""

    def __init__(self, env, poison, countdown=0):
        self.env, self.spec, self.num_envs, self.poison, self.countdown = env, env.spec, env.num_envs, poison, countdown

    def reset(self, seed):
        return self.env.reset(seed)

    def step(self, state, action):
        state, step = self.env.step(state, action)
        self.countdown -= 1
        if self.countdown == 0:
            if self.poison == "value":
                return state, step._replace(reward=step.reward * torch.nan)
            step.reward.register_hook(self.spoil)
        return state, step

    def spoil(self, g):
        return g * torch.where(torch.arange(self.num_envs) == SPOILED, torch.inf, 1.0)


class Deaf(Poisoned):
    """Worlds of which one does not hear, on the first ``countdown`` steps from now, what its actions do."""

    def step(self, state, action):
        if self.countdown > 0:
            deaf = torch.arange(self.num_envs)[:, None] == SPOILED
            action = torch.where(deaf, action.detach(), action)
        self.countdown -= 1
        return self.env.step(state, action)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_is_refused(worlds, name):
    """One bad window changes no parameter, is counted, and training goes on."""
    algorithm = build(name)
    env = Poisoned(worlds(), "value")
    first, _ = algorithm.update(algorithm.init(env, 0))
    env.countdown = 3
    second, metrics = algorithm.update(first)
    assert metrics["refused_updates"] == second.run.refused == 1
    for part, before in networks(first).items():
        assert torch.equal(before, networks(second)[part]), part
    assert torch.equal(first.run.stats.mean, second.run.stats.mean)
    assert second.iteration == 2 and not torch.equal(first.run.obs, second.run.obs)
    third, metrics = algorithm.update(second)
    assert metrics["refused_updates"] == 1
    for part, before in networks(second).items():
        assert not torch.equal(before, networks(third)[part]), part
        assert torch.isfinite(networks(third)[part]).all()


@pytest.mark.parametrize("name", LEARN_THROUGH_GRADIENTS)
def test_a_gradient_that_is_not_finite_costs_its_world_only(worlds, name):
    """The update is that of worlds where the actions of that world that led to the bad reward have no consequences."""
    algorithm = build(name)
    updated = []
    for kind in (Poisoned, Deaf):
        env = kind(worlds(limit=1e3, horizon=100), "gradient")
        first, _ = algorithm.update(algorithm.init(env, 0))
        env.countdown = 3
        updated.append(algorithm.update(first))
    (spoiled, metrics), (expected, _) = updated
    assert metrics["refused_updates"] == spoiled.run.refused == 0
    steps = {"agpo": 1, "pe": 1}.get(name, 3)  # AGPO cuts the window before such a step, PE looks one step ahead
    window = env.spec.horizon if name == "trajopt" else 8
    assert metrics["lost_gradients"] == pytest.approx(steps / (window * env.num_envs), rel=1e-3)
    # IVW-H and DDCG take another gradient in place of the one that is lost.
    if steps == 3 and name not in ("ddcg", "ivwh"):
        for part, wanted in networks(expected).items():
            torch.testing.assert_close(networks(spoiled)[part], wanted, rtol=1e-5, atol=1e-7)
    for part, before in networks(first).items():
        assert not torch.equal(before, networks(spoiled)[part]), part
        assert torch.isfinite(networks(spoiled)[part]).all()


@pytest.mark.parametrize("name", NAMES)
def test_diverged_worlds_are_counted_and_recorded(worlds, name):
    algorithm = build(name)
    env = worlds(num_envs=16, breaks=0.6)
    state, metrics = run(algorithm, algorithm.init(env, 0), 2)
    records = [record for figures in metrics for record in figures["divergences"]]
    assert state.run.diverged == metrics[-1]["diverged"] >= len(records) > 0
    assert state.run.refused == 0
    assert diffsim_core.replay(env, records).all()


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_policies_without_noise(worlds, name):
    algorithm = build(name)
    state, _ = run(algorithm, algorithm.init(worlds(), 0), 2)
    one, same, other = (
        algorithm.policy(state, deterministic=d, seed=s)(state.run.obs) for d, s in ((1, 0), (0, 1), (0, 2))
    )
    assert torch.equal(one, same) and torch.equal(one, other)
    assert not one.requires_grad and one.abs().max() <= 1


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DETERMINISTIC])
def test_policies(worlds, name):
    algorithm = build(name)
    state, _ = run(algorithm, algorithm.init(worlds(), 0), 2)
    mean = algorithm.policy(state)
    assert torch.equal(mean(state.run.obs), mean(state.run.obs))
    assert not mean(state.run.obs).requires_grad and mean(state.run.obs).abs().max() <= 1
    one, same, other = (algorithm.policy(state, deterministic=False, seed=s)(state.run.obs) for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    if name == "td3":  # whose noise comes after tanh: see its own tests
        return
    # Undo tanh: the spread around the mean is sigma.
    wide = state.run.obs.double().repeat(4000, 1).to(state.run.obs.dtype)
    noise = torch.atanh(algorithm.policy(state, deterministic=False)(wide).double()) - torch.atanh(mean(wide).double())
    gaussian = mean.actor(mean.actor.split(state.actor), mean.normalize(wide))
    inside = noise.isfinite()
    assert inside.double().mean() > 0.99
    assert (noise / gaussian.logstd.exp())[inside].std().item() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "trajopt"])
def test_observations_may_stay_as_they_are(worlds, name):
    algorithm = build(name, normalize_obs=False)
    state, _ = run(algorithm, algorithm.init(worlds(), 0), 2)
    policy = algorithm.policy(state)
    obs = 1e4 * torch.randn(5, 2)
    assert torch.equal(policy.normalize(obs), obs)


@pytest.mark.parametrize("name", LEARN_THROUGH_GRADIENTS)
def test_environments_it_cannot_learn_in_are_refused(worlds, name):
    env = worlds()
    env.spec = dataclasses.replace(env.spec, differentiable=False)
    with pytest.raises(ValueError, match=f"(?i)'toy' is not differentiable, and {name} learns"):
        build(name).init(env, 0)


@pytest.mark.parametrize("name", NAMES)
def test_threads_of_the_process_are_left_alone(worlds, name):
    before = torch.get_num_threads()
    algorithm = build(name, torch_threads=before + 1)
    algorithm.update(algorithm.init(worlds(), 0))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", NAMES)
def test_a_run_does_not_depend_on_the_threads_of_the_process(worlds, name):
    """Neither its first networks, as wide as in use, nor its updates: an orthogonal matrix does, drawn on several."""
    algorithm = build(name, actor_hidden=(128, 64), critic_hidden=(64, 64), iterations=2)
    before, states = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            first = algorithm.init(worlds(), 3)
            states.append((first, run(algorithm, first, 1)[0]))
    finally:
        torch.set_num_threads(before)
    for first, second in states[1:]:
        assert same_bits(first, states[0][0]) and same_bits(second, states[0][1])


@pytest.mark.parametrize("name", NAMES)
def test_names_and_states(worlds, name):
    algorithm = build(name)
    assert algorithm.name == name
    state = algorithm.init(worlds(), 0)
    assert same_bits(algorithm.from_arrays(state, algorithm.to_arrays(state)), state)
    with pytest.raises(ValueError, match=r"'act[a-z]*' is missing"):
        algorithm.from_arrays(state, {})


@pytest.mark.parametrize(("name", "task"), [pair for pair in list_presets() if pair[1] == "cartpole"])
def test_presets_run_two_updates(name, task):
    preset = load_preset(name, task)
    algorithm = get_algorithm(name).build(preset.config)
    env = diffsim_core.make(task, num_envs=4, threads=1, **preset.task_options)
    state, metrics = run(algorithm, algorithm.init(env, 0), 2)
    known = [m["actor_loss"] for m in metrics if m["actor_loss"] is not None]  # None: not learned from yet
    assert state.run.refused == 0 and known and np.isfinite(known).all()
