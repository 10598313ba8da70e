"""PPO of each library solves cartpole through its adapter: the pole swings up and stays there."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from diffsim_core import adapters, make  # noqa: E402

SOLVED = -1000.0
"""Mean return of an episode; a pole that hangs gets less than -2000, one held up from the start on about -500."""
WORLDS, HORIZON = 64, 32


def score(act) -> float:
    """Mean return of 64 whole episodes under ``act(obs [64, 5]) -> [64, 1]``, in worlds of their own."""
    env = make("cartpole", num_envs=64)
    state, obs = env.reset(77)
    total = torch.zeros(64)
    for _ in range(env.spec.horizon):
        state, transition = env.step(state, act(obs).float().clamp(-1, 1))
        total += transition.reward
        obs = transition.obs
    found = float(total.mean())
    print(f"mean return {found:.1f}")  # shown by pytest -rP
    return found


def test_the_threshold_is_a_feat():
    assert score(lambda obs: torch.zeros(64, 1)) < 2 * SOLVED
    generator = torch.Generator().manual_seed(0)
    assert score(lambda obs: 2 * torch.rand(64, 1, generator=generator) - 1) < 1.5 * SOLVED


@pytest.mark.slow
def test_stable_baselines3_solves_cartpole():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    worlds = VecNormalize(adapters.SB3VecEnv(make("cartpole", num_envs=WORLDS), seed=1, spread=True), gamma=0.99)
    options = {"n_steps": HORIZON, "batch_size": 512, "n_epochs": 5, "target_kl": 0.02, "seed": 1, "device": "cpu"}
    agent = PPO("MlpPolicy", worlds, learning_rate=lambda left: 1e-3 * left, **options)
    agent.learn(300 * WORLDS * HORIZON)

    def act(obs):
        action, _ = agent.predict(worlds.normalize_obs(obs.numpy()), deterministic=True)
        return torch.as_tensor(action)

    assert score(act) > SOLVED


@pytest.mark.slow
def test_skrl_solves_cartpole(tmp_path):
    pytest.importorskip("skrl")
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.memories.torch import RandomMemory
    from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
    from skrl.resources.preprocessors.torch import RunningStandardScaler
    from skrl.resources.schedulers.torch import KLAdaptiveLR
    from skrl.trainers.torch import SequentialTrainer
    from skrl.utils import set_seed

    set_seed(1)

    def network(inputs, outputs):
        layers = [torch.nn.Linear(inputs, 64), torch.nn.ELU(), torch.nn.Linear(64, 64), torch.nn.ELU()]
        return torch.nn.Sequential(*layers, torch.nn.Linear(64, outputs))

    class FromWhatWasReached(PPO):
        """Bootstraps at time limits with the value of the last state instead of the next episode's first."""

        def record_transition(self, *, next_observations, infos, **rest):
            super().record_transition(next_observations=infos["final_obs"], infos=infos, **rest)

    class Policy(GaussianMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            GaussianMixin.__init__(self, clip_actions=False)
            self.net = network(5, 1)
            self.log_std = torch.nn.Parameter(torch.zeros(1))

        def compute(self, inputs, role=""):
            return self.net(inputs["observations"]), {"log_std": self.log_std}

    class Value(DeterministicMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            DeterministicMixin.__init__(self)
            self.net = network(5, 1)

        def compute(self, inputs, role=""):
            return self.net(inputs["observations"]), {}

    worlds = adapters.SkrlEnv(make("cartpole", num_envs=WORLDS), seed=1, spread=True)
    spaces = {"observation_space": worlds.observation_space, "action_space": worlds.action_space, "device": "cpu"}
    models = {"policy": Policy(**spaces), "value": Value(**spaces)}
    cfg = PPO_CFG(
        rollouts=HORIZON,
        learning_epochs=5,
        mini_batches=4,
        learning_rate=5e-4,
        learning_rate_scheduler=KLAdaptiveLR,
        learning_rate_scheduler_kwargs={"kl_threshold": 0.008},
        observation_preprocessor=RunningStandardScaler,
        observation_preprocessor_kwargs={"size": worlds.observation_space, "device": "cpu"},
        value_preprocessor=RunningStandardScaler,
        value_preprocessor_kwargs={"size": 1, "device": "cpu"},
        rewards_shaper=lambda rewards, *_: 0.01 * rewards,
        time_limit_bootstrap=True,
        value_loss_scale=0.5,
        grad_norm_clip=1.0,
    )
    cfg.experiment.directory, cfg.experiment.write_interval = str(tmp_path), 0
    agent = FromWhatWasReached(
        models=models,
        memory=RandomMemory(memory_size=HORIZON, num_envs=WORLDS, device="cpu"),
        cfg=cfg,
        observation_space=worlds.observation_space,
        action_space=worlds.action_space,
        device="cpu",
    )
    trainer = SequentialTrainer(env=worlds, agents=agent, cfg={"timesteps": 300 * HORIZON, "disable_progressbar": True})
    trainer.train()
    agent.enable_training_mode(False)

    def act(obs):
        with torch.no_grad():
            return agent.act(obs, None, timestep=10**6, timesteps=10**6)[1]["mean_actions"]

    assert score(act) > SOLVED


@pytest.mark.slow
def test_rsl_rl_solves_cartpole():
    pytest.importorskip("rsl_rl")
    from rsl_rl.runners import OnPolicyRunner

    torch.manual_seed(1)
    worlds = adapters.RslRlVecEnv(make("cartpole", num_envs=WORLDS), seed=1, reward_scale=0.01)
    network = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "elu", "obs_normalization": True}
    cfg = {
        "num_steps_per_env": HORIZON,
        "save_interval": math.inf,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": {**network, "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}},
        "critic": network,
        "algorithm": {
            "class_name": "PPO",
            "num_learning_epochs": 5,
            "num_mini_batches": 4,
            "learning_rate": 1e-3,
            "entropy_coef": 0.0,
            "schedule": "adaptive",
            "desired_kl": 0.01,
            "rnd_cfg": None,
            "symmetry_cfg": None,
        },
        "multi_gpu": None,
    }
    runner = OnPolicyRunner(worlds, cfg, log_dir=None, device="cpu")
    runner.learn(300, init_at_random_ep_len=True)
    policy = runner.get_inference_policy()

    def act(obs):
        with torch.inference_mode():
            return policy(worlds._groups(obs)).clone()

    assert score(act) > SOLVED
