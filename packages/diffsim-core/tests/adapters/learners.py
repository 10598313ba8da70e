"""PPO of other libraries, trained through their adapters.

Each takes the environment, updates, seed and the first deviation of actions, and returns ``act(obs [N, no])``.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from diffsim_core import Env, adapters

HORIZON = 32
Act = Callable[[Any], Any]


def stable_baselines3(env: Env, updates: int, seed: int, std: float) -> Act:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    worlds = VecNormalize(adapters.SB3VecEnv(env, seed=seed, spread=True), gamma=0.99)
    options = {"n_steps": HORIZON, "batch_size": 512, "n_epochs": 5, "target_kl": 0.02, "seed": seed, "device": "cpu"}
    first = {"log_std_init": math.log(std)}
    agent = PPO("MlpPolicy", worlds, learning_rate=lambda left: 1e-3 * left, policy_kwargs=first, **options)
    agent.learn(updates * env.num_envs * HORIZON)

    def act(obs):
        action, _ = agent.predict(worlds.normalize_obs(obs.numpy()), deterministic=True)
        return torch.as_tensor(action)

    return act


def skrl(env: Env, updates: int, seed: int, std: float) -> Act:
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.memories.torch import RandomMemory
    from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
    from skrl.resources.preprocessors.torch import RunningStandardScaler
    from skrl.resources.schedulers.torch import KLAdaptiveLR
    from skrl.trainers.torch import SequentialTrainer
    from skrl.utils import set_seed

    set_seed(seed)
    num_obs, num_actions = env.spec.num_obs, env.spec.num_actions

    def network(outputs):
        layers = [torch.nn.Linear(num_obs, 64), torch.nn.ELU(), torch.nn.Linear(64, 64), torch.nn.ELU()]
        return torch.nn.Sequential(*layers, torch.nn.Linear(64, outputs))

    class FromWhatWasReached(PPO):
        """Bootstraps at time limits with the value of the last state instead of the next episode's first."""

        def record_transition(self, *, next_observations, infos, **rest):
            super().record_transition(next_observations=infos["final_obs"], infos=infos, **rest)

    class Policy(GaussianMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            GaussianMixin.__init__(self, clip_actions=False)
            self.net = network(num_actions)
            self.log_std = torch.nn.Parameter(math.log(std) * torch.ones(num_actions))

        def compute(self, inputs, role=""):
            return self.net(inputs["observations"]), {"log_std": self.log_std}

    class Value(DeterministicMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            DeterministicMixin.__init__(self)
            self.net = network(1)

        def compute(self, inputs, role=""):
            return self.net(inputs["observations"]), {}

    worlds = adapters.SkrlEnv(env, seed=seed, spread=True)
    spaces = {"observation_space": worlds.observation_space, "action_space": worlds.action_space, "device": "cpu"}
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
    with tempfile.TemporaryDirectory() as folder:
        cfg.experiment.directory, cfg.experiment.write_interval = folder, 0
        agent = FromWhatWasReached(
            models={"policy": Policy(**spaces), "value": Value(**spaces)},
            memory=RandomMemory(memory_size=HORIZON, num_envs=env.num_envs, device="cpu"),
            cfg=cfg,
            observation_space=worlds.observation_space,
            action_space=worlds.action_space,
            device="cpu",
        )
        settings = {"timesteps": updates * HORIZON, "disable_progressbar": True}
        SequentialTrainer(env=worlds, agents=agent, cfg=settings).train()
    agent.enable_training_mode(False)

    def act(obs):
        with torch.no_grad():
            return agent.act(obs, None, timestep=10**6, timesteps=10**6)[1]["mean_actions"]

    return act


def rsl_rl(env: Env, updates: int, seed: int, std: float) -> Act:
    from rsl_rl.runners import OnPolicyRunner

    torch.manual_seed(seed)
    worlds = adapters.RslRlVecEnv(env, seed=seed, reward_scale=0.01)
    network = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "elu", "obs_normalization": True}
    cfg = {
        "num_steps_per_env": HORIZON,
        "save_interval": math.inf,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": {**network, "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": std}},
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
    runner.learn(updates, init_at_random_ep_len=True)
    policy = runner.get_inference_policy()

    def act(obs):
        with torch.inference_mode():
            return policy(worlds._groups(obs)).clone()

    return act


LIBRARIES: dict[str, Callable[[Env, int, int, float], Act]] = {
    "stable_baselines3": stable_baselines3,
    "skrl": skrl,
    "rsl_rl": rsl_rl,
}
