"""Brax's environments as ours: their numbers, the semantics of the protocol, and what is refused. The bridge to torch
has its tests in ``test_jax_torch.py``."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
brax = pytest.importorskip("brax")

import jax.numpy as jnp  # noqa: E402
from brax import envs  # noqa: E402

from diffsim_core import collect_divergences, make, replay, rollout, stop_gradient, to_numpy  # noqa: E402
from diffsim_core.adapters import FromBrax  # noqa: E402
from diffsim_core.check import check_env, check_gradients, check_task  # noqa: E402

from .brax_worlds import EXPLODES, STIFF, Toy, episode_key  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Brax System")  # of environments that the tests make themselves

N, SEED, LIMIT = 4, 2**31 - 5, 9
BOTH = pytest.mark.parametrize("arrays", ["torch", "jax"])
CALM = 0.85
"""Actions below this do not make a toy explode."""


def toy(arrays="torch", worlds=N, episode_length=LIMIT, **given):
    return FromBrax(Toy(), worlds, arrays=arrays, episode_length=episode_length, name="toy", **given)


def drawn(steps, worlds=N, num_actions=2):
    return np.random.default_rng(1).uniform(-CALM, CALM, (steps, worlds, num_actions)).astype(np.float32)


def array(env, values):
    return torch.as_tensor(values) if env.arrays == "torch" else jnp.asarray(values)


def run(env, acts, state=None):
    """Every transition as NumPy arrays, and the last state."""
    state = env.reset(SEED)[0] if state is None else state
    rows = []
    for action in acts:
        state, row = env.step(state, array(env, action))
        rows.append(
            {name: np.asarray(value) for name, value in row._asdict().items() if name not in ("metrics", "valid")}
        )
        rows[-1] |= {name: np.asarray(value) for name, value in row.metrics.items()}
    return rows, state


def by_hand(functions, limit, acts, seed, world):
    """One world through Brax's own ``reset`` and ``step``, in the order of the protocol."""
    reset, step = functions
    episode, t = 0, 0
    state = reset(episode_key(seed, world, 0))
    for action in acts:
        state, t = step(state, action), t + 1
        row = {"reward": state.reward, "final_obs": state.obs, **state.metrics}
        row["terminated"] = bool(state.done)
        row["truncated"] = t == limit and not row["terminated"]
        if row["terminated"] or row["truncated"]:
            episode, t = episode + 1, 0
            state = reset(episode_key(seed, world, episode))
        yield {**row, "obs": state.obs, "diverged": False}


# Numbers -------------------------------------------------------------------------------------------------------------


@BOTH
def test_numbers_are_those_of_the_environment_step_by_step(arrays):
    acts = drawn(40)
    rows, state = run(toy(arrays), acts)
    ended = {"terminated": 0, "truncated": 0}
    own = jax.jit(Toy().reset), jax.jit(Toy().step)
    for world in range(N):
        for row, expected in zip(rows, by_hand(own, LIMIT, acts[:, world], SEED, world), strict=True):
            for name, value in expected.items():
                np.testing.assert_allclose(row[name][world], value, rtol=2e-6, atol=2e-7, err_msg=name)
            for name in ended:
                ended[name] += expected[name]
    assert min(ended.values()) >= 2 and int(to_numpy(state.episode).sum()) == sum(ended.values())


@pytest.mark.parametrize("name", ["inverted_pendulum"])
def test_numbers_are_braxs_own(name):
    limit = 4
    env = make(f"brax:{name}?backend=spring", num_envs=2, episode_length=limit)
    acts = drawn(6, 2, 1)
    rows, _ = run(env, acts)
    own = envs.get_environment(name, backend="spring")
    functions = jax.jit(own.reset), jax.jit(own.step)
    for world in range(2):
        for row, expected in zip(rows, by_hand(functions, limit, acts[:, world], SEED, world), strict=True):
            for key, value in expected.items():
                np.testing.assert_allclose(row[key][world], value, rtol=1e-4, atol=1e-5, err_msg=key)
    assert (env.spec.num_obs, env.spec.num_actions, env.spec.horizon) == (own.observation_size, 1, limit)
    assert env.spec.dt == pytest.approx(float(own.dt)) and env.spec.differentiable
    state, _ = env.reset(0)
    assert env.unpack(state).pipeline_state.q.shape == (2, own.sys.q_size())
    assert not [module for module in sys.modules if module.startswith("brax.training.agents")]


def test_gradients_equal_central_differences_in_float64():
    with jax.enable_x64(True):
        report = check_gradients(toy("jax", 8, dtype="float64"), steps=3)
    assert report.max_rel_error < 1e-7 and report.worlds == 8


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["spring", "generalized"])
def test_gradients_of_brax_equal_central_differences_in_float64(backend):
    report = check_gradients(make("brax:inverted_double_pendulum", 2, backend=backend, dtype="float64"))
    assert report.max_rel_error < 1e-6 and report.worlds == 2


@pytest.mark.slow
def test_every_check_passes():
    report = check_task(partial(FromBrax, Toy(), name="toy"), num_envs=4, horizon=4)
    assert not report.violations and report.deterministic and report.gradients.max_rel_error < 1e-7


@pytest.mark.parametrize("arrays", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_the_promises_of_every_environment(arrays):
    assert check_env(toy(arrays, 6), fewer=toy(arrays, 3))


# Episodes ------------------------------------------------------------------------------------------------------------


@BOTH
def test_worlds_depend_neither_on_their_number_nor_on_others(arrays):
    acts = drawn(30, 6)
    whole, _ = run(toy(arrays, 6), acts)
    part, _ = run(toy(arrays, 2, world_offset=3), acts[:, 3:5])
    for one, other in zip(whole, part, strict=True):
        for name, value in other.items():
            np.testing.assert_array_equal(one[name][3:5], value, err_msg=name)
    again, _ = run(toy(arrays, 6), acts)
    assert all(
        one[name].tobytes() == other[name].tobytes() for one, other in zip(whole, again, strict=True) for name in one
    )


def test_episodes_begin_differently():
    env = toy("torch", 3, episode_length=1)
    state, obs = env.reset(0)
    starts = [obs, *(row["obs"] for row in run(env, drawn(3, 3), state)[0]), env.reset(1)[1], env.reset(2**40)[1]]
    flat = np.concatenate([np.asarray(start)[:, 0] for start in starts])
    assert len(np.unique(flat)) == len(flat)


def test_a_reset_is_computed_only_where_some_world_is_done():
    counted = []

    def count():
        jax.debug.callback(lambda: counted.append(1))

    env = FromBrax(Toy(far=9.0, on_reset=count), 3, arrays="jax", episode_length=5)
    state, obs = env.reset(0)
    acts = jnp.zeros((3, 2))

    @jax.jit
    def window(state, obs):
        return rollout(env, lambda _: acts, state, obs, 12)[0].done

    counted.clear()
    done = window(state, obs)
    jax.effects_barrier()
    assert len(counted) == int(done.any(axis=1).sum()) == 2  # the callback is the same for every world


@BOTH
def test_no_gradient_passes_through_a_reset(arrays):
    env = toy(arrays, 3, episode_length=1)
    state, _ = env.reset(0)
    library = env._backend

    def after(action):
        last, row = env.step(state, action)
        return row.obs.sum() + last.physics.numbers.sum()

    def reached(action):
        return env.step(state, action)[1].final_obs.sum()

    action = array(env, drawn(1, 3)[0])
    assert not np.asarray(library.value_and_grad(after, action)[1]).any()
    assert np.asarray(library.value_and_grad(reached, action)[1]).all()


# Divergence ----------------------------------------------------------------------------------------------------------


@BOTH
def test_a_diverged_world_costs_one_world(arrays):
    env = toy(arrays, 5, episode_length=50)
    acts = drawn(6, 5)
    wild = acts.copy()
    wild[2, 1, 0] = EXPLODES + 0.05
    calm_rows, _ = run(env, acts)
    rows, state = run(env, wild)
    others = [0, 2, 3, 4]
    for one, other in zip(calm_rows, rows, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name][others], other[name][others], err_msg=name)
    bad = rows[2]
    np.testing.assert_array_equal(bad["diverged"], np.arange(5) == 1)
    assert bad["truncated"][1] and not bad["terminated"][1]
    assert bad["reward"][1] == bad["speed"][1] == 0
    np.testing.assert_array_equal(bad["final_obs"][1], rows[1]["obs"][1])
    assert np.isfinite(rows[3]["obs"]).all() and to_numpy(state.episode)[1] >= 1


def gradients(env, acts):
    """``[T, N, na]`` of the sum of rewards of a window."""
    state, _ = env.reset(SEED)

    def loss(acts):
        if env.arrays == "jax":
            steps = jnp.arange(len(acts))

            def body(state, t):
                state, row = env.step(state, acts[t])
                return state, row.reward

            return jax.lax.scan(body, state, steps)[1].sum()
        now, total = state, 0.0
        for action in acts:
            now, row = env.step(now, action)
            total = total + row.reward.sum()
        return total

    return np.asarray(env._backend.value_and_grad(loss, array(env, acts))[1])


def test_torch_and_jax_have_the_same_gradients_through_resets_and_divergences():
    acts = drawn(12)
    acts[3, 1, 0] = EXPLODES + 0.05
    ours, theirs = (gradients(toy(arrays, episode_length=5), acts) for arrays in ("torch", "jax"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert np.isfinite(ours).all() and not ours[3, 1].any() and ours[2, 1].any() and ours[:, 0].all()


@BOTH
def test_a_gradient_that_is_not_finite_stays_in_its_world(arrays):
    env, acts = toy(arrays, episode_length=50), drawn(4)
    calm = gradients(env, acts)
    acts[2, 1, 1] = STIFF
    found = gradients(env, acts)
    assert np.isfinite(found).all() and not found[2, 1].any()
    np.testing.assert_array_equal(found[:, [0, 2, 3]], calm[:, [0, 2, 3]])


@BOTH
def test_a_wrong_loss_is_not_hidden(arrays):
    env = toy(arrays)
    state, _ = env.reset(0)

    def loss(action):
        return (env.step(state, action)[1].reward * float("nan")).sum()

    assert np.isnan(np.asarray(env._backend.value_and_grad(loss, array(env, drawn(1)[0]))[1])).all()


@BOTH
def test_divergences_can_be_replayed(arrays):
    env = toy(arrays)
    state, obs = env.reset(0)
    wild = drawn(1)[0]
    wild[2, 0] = 1.0
    trajectory, _, _ = rollout(env, lambda _: array(env, wild), *stop_gradient((state, obs)), 3)
    (found,) = collect_divergences(env, trajectory)
    assert found.world == 2
    assert replay(env, [found]).all()
