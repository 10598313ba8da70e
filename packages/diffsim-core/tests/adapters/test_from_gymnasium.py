"""Environments of Gymnasium as ours: their numbers, episodes named by seed, world and number, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
gymnasium = pytest.importorskip("gymnasium")

from diffsim_core import collect_divergences, is_task, make, replay, rollout  # noqa: E402
from diffsim_core.adapters import FromGymnasium, GymnasiumEnv  # noqa: E402
from diffsim_core.adapters._from_gymnasium import episode_seed  # noqa: E402

from ..pendulum import make_pendulum  # noqa: E402

N, SEED = 3, 5
Box = gymnasium.spaces.Box


def actions(steps, num_actions=1, seed=0, worlds=N):
    drawn = np.random.default_rng(seed).uniform(-1, 1, (steps, worlds, num_actions))
    return torch.tensor(drawn, dtype=torch.float32)


def run(env, acts, state=None):
    """The transitions and the last state."""
    state = env.reset(SEED)[0] if state is None else state
    rows = []
    for action in acts:
        state, row = env.step(state, action)
        rows.append(row)
    return rows, state


def same(a, b, worlds=slice(None)):
    for name in ("reward", "terminated", "truncated", "final_obs", "obs", "diverged"):
        torch.testing.assert_close(getattr(a, name)[worlds], getattr(b, name)[worlds], rtol=0, atol=0, msg=name)


class Toy(gymnasium.Env):
    """Shows the step, the first draw of its episode and the action it was given; ``shown`` may change that."""

    action_space = Box(np.array([[-1.0, 10.0]], np.float32), np.array([[3.0, 20.0]], np.float32))

    def __init__(self, shown=lambda env: None, space=None):
        self.observation_space = Box(-np.inf, np.inf, (4,)) if space is None else space
        self.shown = shown

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.k, self.draw, self.given = 0, self.np_random.random(), np.zeros((1, 2))
        return self._obs(), {}

    def step(self, action):
        self.k, self.given = self.k + 1, action
        return self._obs(), float(self.k), self.k == 5, False, {}

    def _obs(self):
        special = self.shown(self)
        return np.array([self.k, self.draw, *self.given[0]], np.float32) if special is None else special


@pytest.mark.parametrize(
    ("one", "num_actions", "limit"),
    [
        (partial(make, "cartpole", num_envs=1, episode_length=7), 1, 7),
        (partial(make_pendulum, num_envs=1, horizon=5), 2, 5),
    ],
)
def test_our_worlds_come_back_from_gymnasium_bit_for_bit(one, num_actions, limit):
    guest = FromGymnasium(lambda: GymnasiumEnv(one()), N, max_episode_steps=limit)
    acts = actions(20, num_actions)
    rows, _ = run(guest, acts)
    obs = guest.reset(SEED)[1]
    for world in range(N):
        own, episode = one(), 0
        state, seen = own.reset(episode_seed(SEED, world, 0))
        np.testing.assert_array_equal(obs[world], seen[0])
        for action, row in zip(acts, rows, strict=True):
            state, expected = own.step(state, action[world : world + 1])
            for name in ("reward", "terminated", "truncated", "final_obs"):
                np.testing.assert_array_equal(getattr(row, name)[world], getattr(expected, name)[0])
            seen = expected.obs
            if expected.terminated[0] | expected.truncated[0]:
                episode += 1
                state, seen = own.reset(episode_seed(SEED, world, episode))
            np.testing.assert_array_equal(row.obs[world], seen[0])
        assert episode >= 20 // limit


@pytest.mark.parametrize(
    ("name", "steps", "bound"), [("Pendulum-v1", 205, 2.0), pytest.param("InvertedPendulum-v5", 30, 3.0, id="mujoco")]
)
def test_numbers_are_gymnasiums_own(name, steps, bound):
    env = make(f"gym:{name}", num_envs=N)
    acts = actions(steps)
    rows, _ = run(env, acts)
    theirs, episode = gymnasium.make(name), 0
    assert (env.spec.horizon, env.spec.name) == (theirs.spec.max_episode_steps, f"gym:{name}")
    assert env.spec.dt == pytest.approx(theirs.unwrapped.dt) and not env.spec.differentiable
    theirs.reset(seed=episode_seed(SEED, 1, 0))
    for action, row in zip(acts, rows, strict=True):
        obs, reward, terminated, truncated, _ = theirs.step(bound * action[1].numpy())
        np.testing.assert_array_equal(row.final_obs[1], obs.astype(np.float32))
        assert row.reward[1] == np.float32(reward)
        assert (bool(row.terminated[1]), bool(row.truncated[1])) == (terminated, truncated)
        if terminated or truncated:
            episode += 1
            obs, _ = theirs.reset(seed=episode_seed(SEED, 1, episode))
        np.testing.assert_array_equal(row.obs[1], obs.astype(np.float32))
    assert episode > 0


def test_processes_give_the_same_bits():
    acts = actions(12)
    mine, theirs = (
        make("gym:Pendulum-v1", num_envs=N, max_episode_steps=5, vectorization_mode=mode) for mode in ("sync", "async")
    )
    for a, b in zip(run(mine, acts)[0], run(theirs, acts)[0], strict=True):
        same(a, b)
    theirs.close()


def test_actions_are_mapped_onto_the_bounds():
    env = FromGymnasium(Toy, N, max_episode_steps=9)
    acts = torch.tensor([[[-1.0, -1.0], [1.0, 1.0], [0.5, -0.5]], [[-7.0, 0.0], [7.0, 0.0], [0.0, 0.0]]])
    (row, later), _ = run(env, acts)
    assert row.final_obs[:, 2:].tolist() == [[-1, 10], [3, 20], [2, 12.5]]
    assert later.final_obs[:, 2:].tolist() == [[-1, 15], [3, 15], [1, 15]]
    assert env.spec.control_range == ((-1.0, 3.0), (10.0, 20.0))
    with pytest.raises(ValueError, match=r"action has shape \(3, 1\), expected \(3, 2\)"):
        env.step(env.reset(0)[0], torch.zeros(3, 1))
    with pytest.raises(TypeError, match="expected a torch"):
        env.step(env.reset(0)[0], np.zeros((3, 2)))


def test_worlds_and_episodes_have_seeds_of_their_own():
    acts = actions(12, 2, worlds=4)
    whole, _ = run(FromGymnasium(Toy, 4, max_episode_steps=9), acts)
    part, _ = run(FromGymnasium(Toy, 2, max_episode_steps=9, world_offset=2), acts[:, 2:])
    for a, b in zip(whole, part, strict=True):
        for x, y in zip(a[:6], b[:6], strict=True):
            np.testing.assert_array_equal(x[2:], y)
    draws = np.stack([row.final_obs[:, 1] for row in whole])
    assert len(np.unique(draws)) == 3 * 4  # 12 steps are three episodes of up to five
    assert whole[4].terminated.all() and not whole[4].truncated.any()
    again, _ = run(FromGymnasium(Toy, 4, max_episode_steps=9), acts)
    same(whole[-1], again[-1])


def test_a_time_limit_truncates():
    rows, state = run(FromGymnasium(Toy, N, max_episode_steps=5), actions(4, 2))
    assert not any(row.truncated.any() for row in rows)
    limited, after = run(FromGymnasium(Toy, N, max_episode_steps=4), actions(4, 2))
    assert limited[-1].truncated.all() and not limited[-1].terminated.any()
    assert state.t.tolist() == [4] * N and after.t.tolist() == [0] * N and after.episode.tolist() == [1] * N


@pytest.mark.parametrize("how", ["observation", "reward", "action"])
def test_one_diverged_world_is_contained(how):
    """World 0 leaves the finite range in its third step."""

    class Bad(Toy):
        def step(self, action):
            obs, reward, *rest = super().step(action)
            if abs(self.draw - first) < 1e-9 and self.k == 3:
                obs, reward = (obs * np.inf, reward) if how == "observation" else (obs, np.nan)
            return obs, reward, *rest

    healthy = FromGymnasium(Toy, N, max_episode_steps=9)
    first = float(np.random.default_rng(episode_seed(SEED, 0, 0)).random())
    acts = actions(6, 2)
    expected, _ = run(healthy, acts)
    bad = FromGymnasium(Toy if how == "action" else Bad, N, max_episode_steps=9)
    given = acts.clone()
    if how == "action":
        given[2, 0, 1] = torch.nan
    rows, state = run(bad, given)
    for row, other in zip(rows, expected, strict=True):
        same(row, other, slice(1, None))
        assert all(torch.isfinite(part).all() for part in (row.reward, row.final_obs, row.obs))
    row = rows[2]
    assert row.diverged.tolist() == row.truncated.tolist() == [True, False, False]
    assert not row.terminated[0] and row.reward[0] == 0 and state.episode.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(row.final_obs[0], rows[1].obs[0])
    assert row.obs[0, 0] == 0 and state.t.tolist() == [3, 1, 1]

    left = iter(given)
    window, _, _ = rollout(bad, lambda obs: next(left), *bad.reset(SEED), 6)
    (found,) = collect_divergences(bad, window)
    assert (found.world, found.t, found.episode) == (0, 2, 0)
    assert replay(bad, [found]).tolist() == [False]  # its state is not known


def test_a_state_that_is_not_the_last_begins_anew():
    acts = actions(6, 2)
    env = FromGymnasium(Toy, N, max_episode_steps=9)
    first, obs = env.reset(SEED)
    rows, third = run(env, acts[:3], first)
    run(env, acts[3:], third)
    # A first state names its episode: the same bits.
    for a, b in zip(run(env, acts[:3], first)[0], rows, strict=True):
        same(a, b)
    # A later one names no state of the guest, here or in another process.
    run(env, acts[3:], third)
    for other in (env, FromGymnasium(Toy, N, max_episode_steps=9)):
        state, row = other.step(third, acts[3])
        assert row.truncated.all() and not row.terminated.any() and not row.diverged.any()
        np.testing.assert_array_equal(row.reward, np.zeros(N))
        np.testing.assert_array_equal(row.final_obs, third.physics.obs)
        assert state.episode.tolist() == [1] * N and state.t.tolist() == [0] * N
        draws = [np.random.default_rng(episode_seed(SEED, k, 1)).random() for k in range(N)]
        np.testing.assert_allclose(row.obs[:, 1], draws, rtol=1e-6)
        state, row = other.step(state, acts[4])
        assert row.obs[:, 0].tolist() == [1] * N and state.t.tolist() == [1] * N
    # Worlds that are where the state says go on; the others begin anew.
    mixed, now = run(env, acts[:2], first)
    stale = now._replace(t=torch.tensor([2, 2, 1], dtype=torch.int32))
    state, row = env.step(stale, acts[2])
    same(row, rows[2], slice(0, 2))
    assert row.truncated.tolist() == [False, False, True] and state.t.tolist() == [3, 3, 0]
    assert mixed[0].obs.shape == obs.shape


SPACES = gymnasium.spaces


HALVES = np.array([0.5, -0.5], np.float32)


@pytest.mark.parametrize(
    ("space", "shown", "expected"),
    [
        (SPACES.Dict(a=SPACES.Discrete(3), b=Box(-1, 1, (2,))), {"a": 1, "b": HALVES}, [0, 1, 0, 0.5, -0.5]),
        (Box(-1, 1, (2, 2)), np.array([[1, 2], [3, 4]], np.float32), [1, 2, 3, 4]),
        (SPACES.MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
    ],
)
def test_observations_of_several_parts_are_laid_one_after_another(space, shown, expected):
    env = FromGymnasium(lambda: Toy(lambda _: shown, space), 2, max_episode_steps=9)
    assert env.spec.num_obs == len(expected)
    assert env.reset(0)[1].tolist() == [expected] * 2


def acting(space):
    class Acting(Toy):
        action_space = space

    return Acting


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: make("gym:Hoper-v5"), "'Hoper-v5' cannot be made: .*Did you mean: `Hopper`"),
        (lambda: make("gym:Pendulum-v1", gravity=1), "unknown option of environment 'Pendulum-v1': 'gravity'"),
        (lambda: make("gym:nowhere:Pendulum-v1"), "No module named 'nowhere'"),
        (lambda: make("gim:Pendulum-v1"), "unknown task 'gim:Pendulum-v1'"),
        (lambda: make("gym:CartPole-v1"), r"'gym:CartPole-v1' acts in Discrete\(2\); choose one that acts in a Box"),
        (lambda: make("gym:Pendulum-v1", arrays="jax"), "arrays='jax'.*use arrays='torch'"),
        (lambda: make("gym:Pendulum-v1", randomize={"mass": (1, 2)}), "randomize works with rigid-body tasks only"),
        (lambda: make("gym:Pendulum-v1", num_envs=0), "num_envs of make is 0; it takes an integer from 1"),
        (lambda: make("gym:Pendulum-v1", dtype="float16"), "dtype must be"),
        (
            lambda: make("gym:Pendulum-v1", vectorization_mode="tread"),
            "vectorization_mode of environment 'Pendulum-v1' is 'tread'; it takes sync or async",
        ),
        (lambda: FromGymnasium(Toy), "'Toy' has a time limit of None steps; pass max_episode_steps"),
        (lambda: FromGymnasium(Toy, max_episode_steps=0), "time limit of 0 steps"),
        (lambda: FromGymnasium(Toy, speed=3), "options speed need an environment given by its id"),
        (lambda: FromGymnasium(acting(Box(-np.inf, np.inf, (2,))), max_episode_steps=5), "cannot be mapped"),
        (lambda: FromGymnasium(partial(Toy, space=Box(0, 255, (8, 8, 3), np.uint8)), max_episode_steps=5), "images"),
        (
            lambda: FromGymnasium(partial(Toy, space=SPACES.Sequence(Box(0, 1, (2,)))), max_episode_steps=5),
            "no fixed list of numbers",
        ),
        (
            lambda: FromGymnasium(partial(Toy, lambda _: np.full(4, np.nan)), max_episode_steps=5).reset(0),
            "first observations of environment 'Toy' are not finite",
        ),
        (lambda: make("gym:Pendulum-v1").reset(-1), "seed must be an integer from 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_names_of_families_are_tasks():
    assert is_task("gym:Anything-v0") and is_task("ant")
    assert not is_task("gym:") and not is_task("gym") and not is_task("jim:Pendulum-v1")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_processes_leave_signals_to_the_main_one_and_end_with_it():
    """A terminal and batch systems signal the whole group: as the processes start, and in a step."""
    script = (
        "import os, signal, sys, torch\n"
        "from diffsim_core import make\n"
        "if __name__ == '__main__':\n"
        "    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)\n"
        "    for number in ending: signal.signal(number, lambda *_: None)\n"
        "    import multiprocessing.context as c\n"
        "    start = c.SpawnProcess.start\n"
        "    def started(self): start(self); [os.killpg(0, number) for number in ending]\n"
        "    c.SpawnProcess.start = started\n"
        "    env = make('gym:Pendulum-v1', num_envs=1, vectorization_mode='async')\n"
        "    state, _ = env.reset(0)\n"
        "    for _ in range(3):\n"
        "        for number in ending: os.killpg(0, number)\n"
        "        state, _ = env.step(state, torch.zeros(1, 1))\n"
        "    print(*(p.pid for p in env._guests.worlds.processes), flush=True)\n"
        "    if sys.argv[1] == 'killed': os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for end, code in (("killed", -signal.SIGKILL), ("exit", 0)):
        command = [sys.executable, "-c", script, end]
        done = subprocess.run(command, capture_output=True, text=True, start_new_session=True, timeout=300)
        assert done.returncode == code, done.stderr
        for pid in done.stdout.split():
            deadline = time.monotonic() + 60
            while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_is_gone_is_named():
    env = make("gym:Pendulum-v1", num_envs=2, vectorization_mode="async")
    state, _ = env.reset(SEED)
    env._guests.worlds.processes[1].kill()
    env._guests.worlds.processes[1].join()
    with pytest.raises(ConnectionError, match=r"processes of worlds 1 \(exit code -9\) have ended"):
        for _ in range(2):
            state, _ = env.step(state, torch.zeros(2, 1))
    env.close()
