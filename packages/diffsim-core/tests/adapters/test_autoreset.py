"""The three modes of Gymnasium's autoreset, both ways, on an environment that counts its steps."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
gymnasium = pytest.importorskip("gymnasium")

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv  # noqa: E402

from diffsim_core import adapters, make, rollout  # noqa: E402
from diffsim_core.adapters import FromGymnasium, GymnasiumEnv, GymnasiumVectorEnv  # noqa: E402

from ..pendulum import make_pendulum  # noqa: E402

N, LIMIT = 3, 6
MODES = list(AutoresetMode)
Box = gymnasium.spaces.Box


class Counter(gymnasium.Env):
    """Shows the step of its episode, the number of its episode and the last action; the reward is the step.

    World k terminates after 3 + k steps; from 6 steps on it is truncated instead. ``taken`` counts steps.
    """

    action_space = Box(-1.0, 1.0, (1,))
    observation_space = Box(-np.inf, np.inf, (3,))

    def __init__(self, length):
        self.length, self.episode, self.taken = length, -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.k, self.episode, self.given = 0, self.episode + 1, 0.0
        return self._obs(), {}

    def step(self, action):
        self.k, self.taken, self.given = self.k + 1, self.taken + 1, action[0]
        ended = self.k == self.length
        return self._obs(), float(self.k), ended and self.length < LIMIT, ended and self.length >= LIMIT, {}

    def _obs(self):
        return np.array([self.k, self.episode, self.given], np.float32)


def counters(mode, kind=SyncVectorEnv, lengths=(3, 4, 6), **options):
    return kind([lambda length=length: Counter(length) for length in lengths], autoreset_mode=mode, **options)


class Native(VectorEnv):
    """The same without Gymnasium's vectors: one array for all worlds, which it changes in place."""

    single_action_space, single_observation_space = Counter.action_space, Counter.observation_space

    def __init__(self, mode, lengths=(3, 4, 6)):
        self.num_envs, self.length = len(lengths), np.array(lengths)
        self.metadata = {"autoreset_mode": mode}
        self.obs, self.taken = np.zeros((self.num_envs, 3)), np.zeros(self.num_envs, int)
        self.obs[:, 1] = -1

    def reset(self, *, seed=None, options=None):
        self.done = np.zeros(self.num_envs, bool)
        self._begin((options or {}).get("reset_mask", ~self.done))
        return self.obs, {}

    def step(self, actions):
        mode = self.metadata["autoreset_mode"]
        stepping = ~self.done
        if mode is AutoresetMode.NEXT_STEP:
            self._begin(~stepping)
        self.obs[stepping, 0] += 1
        self.obs[stepping, 2] = np.asarray(actions)[stepping, 0]
        self.taken += stepping
        done = stepping & (self.obs[:, 0] == self.length)
        self.done = done & (mode is AutoresetMode.NEXT_STEP)
        reward, info = np.where(stepping, self.obs[:, 0], 0.0), {}
        if mode is AutoresetMode.SAME_STEP and done.any():
            info = {"final_obs": self.obs.copy(), "_final_obs": done}
            self._begin(done)
        return self.obs, reward, done & (self.length < LIMIT), done & (self.length >= LIMIT), info

    def _begin(self, where):
        self.obs[where, 0], self.obs[where, 2] = 0.0, 0.0
        self.obs[where, 1] += 1


def steps_of(env, count, seed=0):
    """The transitions of ``count`` steps; actions name step and world."""
    state, obs = env.reset(seed)
    rows = []
    for step in range(count):
        action = (0.01 * step + 0.001 * torch.arange(env.num_envs))[:, None]
        state, row = env.step(state, action)
        rows.append((action, row))
    return obs, rows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vector", [counters, Native])
def test_episodes_of_a_vector_environment_are_whole(vector, mode):
    guest = vector(mode)
    env = FromGymnasium(lambda: guest, N, max_episode_steps=LIMIT)
    first, rows = steps_of(env, 20)
    assert first[:, 0].tolist() == [0, 0, 0] and env.spec.num_obs == 3 and env.spec.horizon == LIMIT
    begun = int(first[0, 1])
    taken = np.zeros(N, int)
    for world, length in enumerate((3, 4, 6)):
        k, episode, held, seen = 0, begun, False, first[world]
        for action, row in rows:
            reward, terminated, truncated, valid = (
                part[world].item() for part in (row.reward, row.terminated, row.truncated, row.valid)
            )
            final_obs, obs = row.final_obs[world], row.obs[world]
            assert not row.diverged[world]
            if held:  # this step only begins the episode
                assert (reward, terminated, truncated, valid) == (0.0, False, True, False)
                assert torch.equal(final_obs, seen)
                k, episode, held = 0, episode + 1, False
                assert obs.tolist() == [0, episode, 0]
            else:
                k, taken[world] = k + 1, taken[world] + 1
                done = k == length
                assert (reward, valid) == (float(k), True)
                assert (terminated, truncated) == (done and length < LIMIT, done and length >= LIMIT)
                torch.testing.assert_close(final_obs, torch.tensor([k, episode, action[world].item()]))
                held = done and mode is AutoresetMode.NEXT_STEP
                if done and not held:
                    k, episode = 0, episode + 1
                    assert obs.tolist() == [0, episode, 0]
                else:
                    assert torch.equal(obs, final_obs)
            seen = obs
    guests = guest.taken if vector is Native else [one.taken for one in guest.envs]
    assert list(guests) == taken.tolist()
    assert taken.tolist() == ([15, 16, 18] if mode is AutoresetMode.NEXT_STEP else [20, 20, 20])


@pytest.mark.parametrize("mode", MODES)
def test_windows_leave_out_steps_that_were_not_taken(mode):
    env = FromGymnasium(lambda: counters(mode), N, max_episode_steps=LIMIT)
    window, _, _ = rollout(env, lambda obs: torch.zeros(N, 1), *env.reset(0), 20)
    ends = window.terminated | (window.truncated & window.valid)
    assert ends.sum(0).tolist() == ([5, 4, 3] if mode is AutoresetMode.NEXT_STEP else [6, 5, 3])
    assert not window.reward[~window.valid].any() and window.reward[window.valid].min() == 1.0
    assert (~window.valid).sum().item() == (5 + 4 + 2 if mode is AutoresetMode.NEXT_STEP else 0)


def test_processes_of_a_vector_give_the_same():
    mode = AutoresetMode.NEXT_STEP
    mine, theirs = (
        FromGymnasium(lambda kind=kind, rest=rest: counters(mode, kind, **rest), N, max_episode_steps=LIMIT)
        for kind, rest in ((SyncVectorEnv, {}), (AsyncVectorEnv, {"context": "spawn"}))
    )
    for (_, a), (_, b) in zip(steps_of(mine, 9)[1], steps_of(theirs, 9)[1], strict=True):
        for x, y in zip(a[:6], b[:6], strict=True):
            assert torch.equal(x, y)
    theirs.close()


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_our_worlds_come_back_bit_for_bit(mode):
    """Through ``GymnasiumVectorEnv`` and ``FromGymnasium``."""
    own = make_pendulum(num_envs=N, horizon=5)
    guest = GymnasiumVectorEnv(make_pendulum(num_envs=N, horizon=5), autoreset_mode=mode)
    env = FromGymnasium(lambda: guest, N, max_episode_steps=5)
    state, _ = env.reset(3)
    mine, obs = own.reset(adapters._from_gymnasium.episode_seed(3, 0, 0))
    np.testing.assert_array_equal(state.physics.obs, obs)
    acts = np.random.default_rng(0).uniform(-1.0, 1.0, (40, N, 2)).astype(np.float32)
    episodes = {world: [] for world in range(N)}
    for action in torch.tensor(acts):
        state, row = env.step(state, action)
        for world in np.flatnonzero(row.valid):
            episodes[world].append((action[world], *(part[world] for part in (row.reward, row.final_obs))))
    # Each world of ours with exactly the actions that were taken.
    count = min(map(len, episodes.values()))
    assert count >= 33
    for k in range(count):
        mine, row = own.step(mine, torch.stack([episodes[world][k][0] for world in range(N)]))
        for world in range(N):
            _, reward, final_obs = episodes[world][k]
            assert torch.equal(final_obs, row.final_obs[world])
            assert torch.equal(reward, row.reward[world])


def test_a_state_that_is_not_the_last_begins_anew_in_all_worlds():
    for mode in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        env = FromGymnasium(lambda mode=mode: counters(mode), N, max_episode_steps=LIMIT)
        start, _ = env.reset(0)
        zero = torch.zeros(N, 1)
        second, _ = env.step(env.step(start, zero)[0], zero)
        env.step(second, zero)
        after, row = env.step(second, zero)
        assert row.truncated.all() and not row.valid.any() and not row.reward.any() and not row.terminated.any()
        assert torch.equal(row.final_obs, second.physics.obs) and row.obs[:, 0].tolist() == [0] * N
        assert after.t.tolist() == [0] * N and after.episode.tolist() == [1] * N
        _, row = env.step(after, zero)
        assert row.valid.all() and row.obs[:, 0].tolist() == [1] * N
        # The first state names its episodes: a step is taken.
        _, row = env.step(start, zero)
        assert row.valid.all() and row.final_obs[:, 0].tolist() == [1] * N


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_a_diverged_world_of_a_vector_is_contained(mode):
    env = FromGymnasium(lambda: counters(mode), N, max_episode_steps=LIMIT)
    state, obs = env.reset(0)
    state, row = env.step(state, torch.tensor([[0.0], [torch.nan], [0.0]]))
    assert row.diverged.tolist() == [False, True, False] == row.truncated.tolist()
    assert row.valid.tolist() == [True, False, True] and row.reward.tolist() == [1, 0, 1]
    assert torch.equal(row.final_obs[1], obs[1]) and torch.isfinite(row.obs).all()
    state, row = env.step(state, torch.zeros(N, 1))
    assert row.valid.all() and row.final_obs[:, 0].tolist() == [2, 2, 2] and state.t.tolist() == [2, 1, 2]


class Silent(Native):
    """Does not tell the last observation."""

    def step(self, actions):
        return *super().step(actions)[:4], {}


def with_spaces(**spaces):
    guest = Native(AutoresetMode.SAME_STEP)
    for name, space in spaces.items():
        setattr(guest, f"single_{name}_space", space)
    return guest


def play(env, steps=5):
    steps_of(env, steps)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: FromGymnasium(lambda: Native(None), N, max_episode_steps=LIMIT),
            "autoreset_mode=None in its metadata",
        ),
        (
            lambda: FromGymnasium(lambda: counters(MODES[0]), 2, max_episode_steps=LIMIT),
            "a vector of 3 worlds, but num_envs is 2",
        ),
        (lambda: FromGymnasium(lambda: counters(MODES[0]), N), "time limit of None steps; pass max_episode_steps"),
        (
            lambda: play(FromGymnasium(lambda: Silent(AutoresetMode.SAME_STEP), N, max_episode_steps=LIMIT)),
            "world 0 has ended, but the vector environment's info has no final_obs",
        ),
        (
            lambda: play(FromGymnasium(lambda: counters(AutoresetMode.NEXT_STEP), N, max_episode_steps=4)),
            "world 2 of .* goes on after 4 steps",
        ),
        (
            lambda: FromGymnasium(
                lambda: with_spaces(observation=gymnasium.spaces.Dict(a=Box(0, 1, (2,)))), N, max_episode_steps=4
            ),
            "no array of numbers; wrap it with gymnasium.wrappers.vector.FlattenObservation",
        ),
        (
            lambda: FromGymnasium(lambda: with_spaces(action=gymnasium.spaces.Discrete(2)), N, max_episode_steps=4),
            r"acts in Discrete\(2\)",
        ),
        (
            lambda: FromGymnasium(
                lambda: with_spaces(observation=Box(0, 255, (8, 8, 3), np.uint8)), N, max_episode_steps=4
            ),
            "observes images",
        ),
    ],
)
def test_vectors_that_do_not_fit_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def short(mode, **options):
    return GymnasiumVectorEnv(make("cartpole", num_envs=N, episode_length=4, **options), autoreset_mode=mode)


@pytest.mark.parametrize("arrays", ["torch", "jax"])
@pytest.mark.parametrize("mode", MODES)
def test_our_vector_is_gymnasiums_vector_of_our_single_worlds(mode, arrays):
    """Gymnasium's SyncVectorEnv with the same mode over single worlds: same numbers and same infos."""
    pytest.importorskip(arrays)

    def single(k):
        return lambda: GymnasiumEnv(make_pendulum(num_envs=1, world_offset=k, horizon=5, arrays=arrays))

    theirs = SyncVectorEnv([single(k) for k in range(N)], autoreset_mode=mode)
    ours = GymnasiumVectorEnv(make_pendulum(num_envs=N, horizon=5, arrays=arrays), autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is ours.autoreset_mode is mode
    np.testing.assert_array_equal(ours.reset(seed=4)[0], theirs.reset(seed=[4] * N)[0])
    resets, ends = 0, np.zeros(N, int)
    for action in np.random.default_rng(0).uniform(-1.0, 1.0, (23, N, 2)).astype(np.float32):
        (*xs, info), (*ys, expected) = ours.step(action), theirs.step(action)
        for x, y in zip(xs, ys, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
        assert info.keys() == expected.keys()
        for name in info.keys() - {"final_obs", "final_info"}:
            np.testing.assert_allclose(info[name], expected[name], rtol=1e-5, atol=1e-6)
        done = xs[2] | xs[3]
        ends += done
        if done.any() and mode is AutoresetMode.DISABLED:
            resets += 1
            a, b = (env.reset(options={"reset_mask": done.copy()})[0] for env in (ours, theirs))
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert (ends >= 3).all() and (resets > 0) == (mode is AutoresetMode.DISABLED)


def test_held_worlds_do_not_depend_on_their_action_and_hold_no_price():
    """Actions of a world that only begins an episode are ignored, NaN too, and it can neither diverge nor pay."""
    runs = []
    for ignored in (0.0, np.nan):
        env = short(AutoresetMode.NEXT_STEP)
        env.reset(seed=1)
        rows = []
        for k in range(10):
            rows.append(env.step(np.full((N, 1), ignored if k == 4 else 0.3)))
        runs.append(rows)
    for (*a, infos), (*b, others) in zip(*runs, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
        assert infos.keys() == others.keys()
    assert runs[1][3][3].all() and not runs[1][4][1].any() and not runs[1][4][3].any() and runs[1][4][4] == {}
    assert all(np.isfinite(obs).all() for obs, *_ in runs[1])


def test_disabled_worlds_wait_for_their_reset():
    env = short(AutoresetMode.DISABLED)
    env.reset(seed=1)
    for _ in range(4):
        last, _, _, truncated, _ = env.step(np.zeros((N, 1)))
    assert truncated.all()
    with pytest.raises(
        RuntimeError, match=r"worlds 0, 1, 2 have ended; call reset with options=\{'reset_mask': mask\}"
    ):
        env.step(np.zeros((N, 1)))
    part = np.array([True, False, True])
    obs, _ = env.reset(options={"reset_mask": part})
    assert (obs[part] != last[part]).any(axis=1).all()
    np.testing.assert_array_equal(obs[1], last[1])
    with pytest.raises(RuntimeError, match="worlds 1 have ended"):
        env.step(np.zeros((N, 1)))
    with pytest.raises(ValueError, match="selects world 0, which is in the middle of an episode"):
        env.reset(options={"reset_mask": np.ones(N, dtype=bool)})
    with pytest.raises(ValueError, match=r"reset_mask has shape \(2,\), dtype bool"):
        env.reset(options={"reset_mask": np.ones(2, dtype=bool)})
    with pytest.raises(ValueError, match="cannot have a seed"):
        env.reset(seed=1, options={"reset_mask": ~part})
    env.reset(options={"reset_mask": ~part})
    env.step(np.zeros((N, 1)))
    with pytest.raises(ValueError, match="leave it out, or make the environment with autoreset_mode"):
        short(AutoresetMode.NEXT_STEP).reset(options={"reset_mask": part})
    with pytest.raises(ValueError, match="is not a valid AutoresetMode"):
        short("NextSteps")
    assert short("NextStep").autoreset_mode is AutoresetMode.NEXT_STEP
