"""Each library's interface: its own checkers, our worlds bit for bit, ends of episodes, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import adapters, make  # noqa: E402

from ..pendulum import make_pendulum  # noqa: E402

N = 3


def short(**options):
    """Worlds whose episodes end after 7 steps; the pendulum also falls and has metrics."""
    return make("cartpole", **{"num_envs": N, "episode_length": 7, **options})


def actions(steps, num_actions=1, seed=0):
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (steps, N, num_actions)).astype(np.float32)


def truth(env, seed, acts):
    """What the environment itself says."""
    state, obs = env.reset(seed)
    rows = []
    for action in acts:
        state, transition = env.step(state, torch.tensor(action))
        rows.append(transition)
    return obs.numpy(), rows


def test_gymnasiums_checker_has_no_complaint(recwarn):
    gymnasium = pytest.importorskip("gymnasium")
    from gymnasium.utils.env_checker import check_env

    env = adapters.GymnasiumEnv(short(num_envs=1))
    check_env(env, skip_render_check=True)
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    sb3.check_env(env)
    complaints = [str(w.message) for w in recwarn if "gymnasium" in w.filename or "stable_baselines3" in w.filename]
    # An observation has no bounds here, and the environment is in no registry.
    assert not [c for c in complaints if "minimum value" not in c and "maximum value" not in c and "spec" not in c]
    with pytest.raises(ValueError, match=r"num_envs is 3: a gymnasium\.Env is one world"):
        adapters.GymnasiumEnv(short())
    assert isinstance(env, gymnasium.Env)


def test_gymnasium_vector_is_its_own_vector_of_our_single_worlds():
    """Gymnasium's SyncVectorEnv with the same autoreset mode, over single worlds: same numbers and same infos."""
    pytest.importorskip("gymnasium")
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    def single(k):
        return lambda: adapters.GymnasiumEnv(make_pendulum(num_envs=1, world_offset=k, horizon=5))

    theirs = SyncVectorEnv([single(k) for k in range(N)], autoreset_mode=AutoresetMode.SAME_STEP)
    ours = adapters.GymnasiumVectorEnv(make_pendulum(num_envs=N, horizon=5))
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    for name in ("single_observation_space", "single_action_space", "observation_space", "action_space"):
        assert getattr(ours, name) == getattr(theirs, name)
    a, b = ours.reset(seed=4)[0], theirs.reset(seed=[4] * N)[0]
    np.testing.assert_array_equal(a, b)
    ended = 0
    for action in actions(23, 2):
        (*xs, info), (*ys, expected) = ours.step(action), theirs.step(np.clip(action, -1, 1))
        for x, y in zip(xs, ys, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6)
        same_infos(info, expected)
        ended += "final_obs" in info
        assert all(world in ours.observation_space for world in (xs[0],))
    assert ended > 3


def same_infos(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, dict):
            same_infos(value, b[name])
        elif value.dtype == object:
            for x, y in zip(value, b[name], strict=True):
                assert (x is None) == (y is None)
                if x is not None:
                    np.testing.assert_allclose(x, y, rtol=1e-6)
        else:
            np.testing.assert_allclose(value, b[name], rtol=1e-6)


def test_gymnasium_vector_gives_the_environments_bits():
    pytest.importorskip("gymnasium")
    env = adapters.GymnasiumVectorEnv(short())
    acts = actions(20)
    first, rows = truth(short(), 9, acts)
    obs, info = env.reset(seed=9)
    np.testing.assert_array_equal(obs, first)
    assert info == {} and env.observation_space.contains(obs)
    for action, row in zip(acts, rows, strict=True):
        obs, reward, terminated, truncated, info = env.step(action)
        for found, expected in zip(
            (obs, reward, terminated, truncated), (row.obs, row.reward, row.terminated, row.truncated), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        done = (row.terminated | row.truncated).numpy()
        assert ("final_obs" in info) == done.any()
        for world in np.flatnonzero(done):
            np.testing.assert_array_equal(info["final_obs"][world], row.final_obs[world])
    again = env.reset()[0]
    assert not np.array_equal(again, first)
    env.reset(seed=9)
    np.testing.assert_array_equal(env.reset()[0], again)  # the draws follow the seed
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.ones(N, bool)})
    with pytest.raises(ValueError, match=r"action has shape \(2, 1\), expected \(3, 1\)"):
        env.step(np.zeros((2, 1)))
    with pytest.raises(RuntimeError, match="call reset"):
        adapters.GymnasiumVectorEnv(short()).step(acts[0])


def test_a_jax_environment_for_gymnasium():
    pytest.importorskip("jax")
    pytest.importorskip("gymnasium")
    acts = actions(6, 2)
    runs = []
    for arrays in ("torch", "jax"):
        env = adapters.GymnasiumVectorEnv(make_pendulum(num_envs=N, arrays=arrays, horizon=5))
        env.reset(seed=1)
        runs.append(np.concatenate([env.step(action)[0] for action in acts]))
    np.testing.assert_allclose(*runs, rtol=1e-4, atol=1e-4)


def test_sb3_gives_the_environments_bits():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.vec_env import VecMonitor

    env = adapters.SB3VecEnv(short())
    acts = actions(20)
    first, rows = truth(short(), 9, acts)
    env.seed(9)
    np.testing.assert_array_equal(env.reset(), first)
    for action, row in zip(acts, rows, strict=True):
        obs, reward, done, infos = env.step(action)
        np.testing.assert_array_equal(obs, row.obs)
        np.testing.assert_array_equal(reward, row.reward)
        np.testing.assert_array_equal(done, row.terminated | row.truncated)
        assert obs.dtype == reward.dtype == np.float32
        for world in range(N):
            assert ("terminal_observation" in infos[world]) == done[world]
            if done[world]:
                np.testing.assert_array_equal(infos[world]["terminal_observation"], row.final_obs[world])
                assert infos[world]["TimeLimit.truncated"] == bool(row.truncated[world])
    monitored = VecMonitor(adapters.SB3VecEnv(short(), seed=9))
    monitored.reset()
    found = [info["episode"] for action in acts[:7] for info in monitored.step(action)[3] if "episode" in info]
    np.testing.assert_allclose([e["r"] for e in found], sum(row.reward for row in rows[:7]), rtol=1e-5)
    assert [e["l"] for e in found] == [7] * N
    assert env.get_attr("num_envs") == [N] * N and env.env_is_wrapped(object) == [False] * N
    with pytest.raises(AttributeError, match="cannot be set on single worlds"):
        env.set_attr("horizon", 3)
    with pytest.raises(AttributeError, match="cannot be called on single worlds"):
        env.env_method("reset")


def test_skrl_gives_the_environments_bits():
    pytest.importorskip("skrl")
    env = adapters.SkrlEnv(short(), seed=9)
    acts = actions(20)
    first, rows = truth(short(), 9, acts)
    np.testing.assert_array_equal(env.reset()[0], first)
    assert (env.num_envs, env.num_agents, env.device) == (N, 1, torch.device("cpu"))
    assert env.observation_space.shape == (5,) and env.action_space.shape == (1,) and env.state() is None
    for action, row in zip(acts, rows, strict=True):
        obs, reward, terminated, truncated, info = env.step(torch.tensor(action, requires_grad=True))
        np.testing.assert_array_equal(obs, row.obs)
        for found, expected in ((reward, row.reward), (terminated, row.terminated), (truncated, row.truncated)):
            assert found.shape == (N, 1)
            np.testing.assert_array_equal(found[:, 0], expected)
        np.testing.assert_array_equal(info["final_obs"], row.final_obs)
        assert not (obs.requires_grad or reward.requires_grad)


def test_rsl_rl_gives_the_environments_bits():
    pytest.importorskip("rsl_rl")
    env = adapters.RslRlVecEnv(short(), seed=9, reward_scale=0.5)
    acts = actions(20)
    first, rows = truth(short(), 9, acts)
    np.testing.assert_array_equal(env.get_observations()["policy"], first)
    assert (env.num_envs, env.num_actions, env.max_episode_length) == (N, 1, 7)
    with torch.inference_mode():
        for action, row in zip(acts, rows, strict=True):
            obs, reward, done, extras = env.step(torch.tensor(action))
            np.testing.assert_array_equal(obs["policy"], row.obs)
            np.testing.assert_array_equal(reward, 0.5 * row.reward)
            np.testing.assert_array_equal(done.bool(), row.terminated | row.truncated)
            np.testing.assert_array_equal(extras["time_outs"], row.truncated)
            np.testing.assert_array_equal(extras["final_obs"], row.final_obs)
    # Runners spread the ends of the first episodes.
    env.reset()
    env.episode_length_buf = torch.tensor([0, 3, 6])
    assert env.episode_length_buf.tolist() == [0, 3, 6] and env.episode_length_buf.dtype == torch.int32
    ends = [torch.nonzero(env.step(torch.tensor(action))[2])[:, 0].tolist() for action in acts[:7]]
    assert ends == [[2], [], [], [1], [], [], [0]]
    logged = adapters.RslRlVecEnv(make_pendulum(num_envs=N))
    assert "/speed" in logged.step(torch.zeros(N, 2))[3]["log"]


def test_spread_worlds_end_at_times_of_their_own():
    pytest.importorskip("stable_baselines3")
    env = adapters.SB3VecEnv(make("cartpole", num_envs=40, episode_length=8), seed=3, spread=True)
    env.reset()
    ends = np.array([env.step(np.zeros((40, 1)))[2] for _ in range(16)])
    first = ends.argmax(axis=0)
    assert set(first) == set(range(8))  # all parts of an episode are there
    np.testing.assert_array_equal(ends[first, np.arange(40)], True)
    np.testing.assert_array_equal(ends[first + 8, np.arange(40)], True)  # whole episodes from then on
    assert (ends.sum(axis=0) == 2).all()


@pytest.mark.parametrize(("name", "library"), [("SkrlEnv", "skrl"), ("RslRlVecEnv", "rsl_rl")])
def test_torch_libraries_want_torch(name, library):
    pytest.importorskip("jax")
    pytest.importorskip(library)
    with pytest.raises(TypeError, match=f"{library} needs torch tensors, and this environment gives jax arrays"):
        getattr(adapters, name)(short(arrays="jax"))


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("GymnasiumVectorEnv", "gymnasium", "gymnasium"),
        ("FromGymnasium", "gymnasium", "gymnasium"),
        ("SB3VecEnv", "stable_baselines3", "sb3"),
        ("SkrlEnv", "skrl", "skrl"),
        ("RslRlVecEnv", "rsl_rl", "rsl_rl"),
    ],
)
def test_a_missing_library_names_its_extra(name, module, extra, monkeypatch):
    for known in [m for m in sys.modules if m.partition(".")[0] == module or m.startswith("diffsim_core.adapters._")]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{name} needs {module}.*pip install 'diffsim-core\[{extra}\]'"):
        getattr(adapters, name)


def test_names():
    assert {"GymnasiumVectorEnv", "SkrlEnv"} <= set(dir(adapters))
    with pytest.raises(AttributeError, match="no attribute 'Gym'"):
        adapters.Gym  # noqa: B018


def returns_of_skrl(tmp_path, *, bootstrap=True):
    """Returns ``[T, N]`` that skrl's PPO learns from, and those that are right; episodes end by their time limit."""
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.memories.torch import RandomMemory
    from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
    from skrl.trainers.torch import SequentialTrainer

    gamma, lam, steps = 0.9, 0.8, 20
    ended = []

    class FromWhatWasReached(PPO):
        def record_transition(self, *, next_observations, infos, rewards, truncated, **rest):
            ended.append((infos["final_obs"].clone(), truncated.clone(), rewards.clone()))
            super().record_transition(
                next_observations=infos["final_obs"], infos=infos, rewards=rewards, truncated=truncated, **rest
            )

    class Policy(GaussianMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            GaussianMixin.__init__(self)
            self.net, self.log_std = torch.nn.Linear(5, 1), torch.nn.Parameter(torch.zeros(1))

        def compute(self, inputs, role=""):
            return self.net(inputs["observations"]), {"log_std": self.log_std}

    class Value(DeterministicMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            DeterministicMixin.__init__(self)
            self.net = torch.nn.Linear(5, 1)

        def compute(self, inputs, role=""):
            return self.net(inputs["observations"]), {}

    worlds = adapters.SkrlEnv(short(), seed=1)
    spaces = {"observation_space": worlds.observation_space, "action_space": worlds.action_space, "device": "cpu"}
    models = {"policy": Policy(**spaces), "value": Value(**spaces)}
    cfg = PPO_CFG(
        rollouts=steps,
        learning_epochs=1,
        mini_batches=1,
        learning_rate=0.0,
        discount_factor=gamma,
        **{"gae_lambda" if hasattr(PPO_CFG, "gae_lambda") else "lambda_": lam},
        time_limit_bootstrap=bootstrap,
    )
    cfg.experiment.directory, cfg.experiment.write_interval = str(tmp_path), 0
    memory = RandomMemory(memory_size=steps, num_envs=N, device="cpu")
    agent = FromWhatWasReached(models=models, memory=memory, cfg=cfg, **spaces)
    trainer = SequentialTrainer(env=worlds, agents=agent, cfg={"timesteps": steps, "disable_progressbar": True})
    trainer.train()
    found = memory.get_tensor_by_name("returns").clone()
    with torch.no_grad():
        values = models["value"].net(memory.get_tensor_by_name("observations"))
        expected, advantage = torch.zeros_like(values), torch.zeros(N, 1)
        for t in reversed(range(steps)):
            final_obs, truncated, reward = ended[t]
            delta = reward + gamma * models["value"].net(final_obs) - values[t]
            advantage = delta + gamma * lam * torch.where(truncated, 0.0, advantage)
            expected[t] = values[t] + advantage
    assert sum(truncated.any().item() for _, truncated, _ in ended) == 2
    return found, expected


def test_skrls_returns_end_with_the_episode(tmp_path):
    """As the docs say: the option and the observation that the step led to."""
    pytest.importorskip("skrl")
    torch.testing.assert_close(*returns_of_skrl(tmp_path), rtol=1e-4, atol=1e-4)
