"""SHAC once more, slowly: torch modules, loops over worlds, no estimator library. Written to be compared with."""

from __future__ import annotations

import itertools

import torch
from torch import nn


def network(sizes):
    layers = []
    for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(n_in, n_out))
        if k < len(sizes) - 2:
            layers += [nn.ELU(), nn.LayerNorm(n_out)]
    return nn.Sequential(*layers).double()


class NaiveSHAC:
    """Started from the parameters, worlds and random numbers of a ``SHACState``."""

    def __init__(self, config, state):
        c = self.config = config
        num_obs, num_actions = state.env.spec.num_obs, state.env.spec.num_actions
        self.actor = network((num_obs, *c.actor_hidden, num_actions))
        self.critic = network((num_obs, *c.critic_hidden, 1))
        self.target = network((num_obs, *c.critic_hidden, 1))
        self.logstd = nn.Parameter(state.actor[-num_actions:].clone())
        nn.utils.vector_to_parameters(state.actor[:-num_actions], self.actor.parameters())
        nn.utils.vector_to_parameters(state.critic, self.critic.parameters())
        nn.utils.vector_to_parameters(state.target, self.target.parameters())
        self.actor_params = [*self.actor.parameters(), self.logstd]
        self.actor_adam = torch.optim.Adam(self.actor_params, lr=c.actor_lr, betas=c.betas)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), lr=c.critic_lr, betas=c.betas)
        self.env, self.env_state, self.obs = state.env, state.run.env_state, state.run.obs
        self.generator = torch.Generator()
        self.generator.set_state(state.run.rng)
        self.mean, self.var, self.count = torch.zeros(num_obs), torch.ones(num_obs), 1e-4
        self.mean, self.var = self.mean.double(), self.var.double()
        self.iteration = 0

    def update(self):
        c, env = self.config, self.env
        horizon, n = c.horizon, env.num_envs
        mean, var = self.mean.clone(), self.var.clone()

        def normalise(obs):
            return (obs - mean) / torch.sqrt(var + 1e-5)

        eps = torch.randn(horizon, n, env.spec.num_actions, generator=self.generator, dtype=torch.float64)
        state, obs = self.env_state, self.obs
        seen, rewards, values, terminated, done = [], [], [], [], []
        loss = 0.0
        collected = [0.0] * n
        discount = [1.0] * n
        for t in range(horizon):
            seen.append(obs.detach())
            action = torch.tanh(self.actor(normalise(obs)) + eps[t] * self.logstd.exp())
            state, step = env.step(state, action)
            value = self.target(normalise(step.final_obs))[:, 0]
            for i in range(n):
                collected[i] = collected[i] + discount[i] * step.reward[i]
                discount[i] *= c.gamma
                if step.terminated[i] or step.truncated[i] or t == horizon - 1:
                    follows = 0.0 if step.terminated[i] else value[i]
                    loss = loss - (collected[i] + discount[i] * follows)
                    collected[i], discount[i] = 0.0, 1.0
            rewards.append(step.reward.detach())
            values.append(value.detach())
            terminated.append(step.terminated)
            done.append(step.terminated | step.truncated)
            obs = step.obs
            self.count_obs(seen[-1])
        loss = loss / (horizon * n)
        self.step(loss, self.actor_params, self.actor_adam, c.actor_lr)

        targets = torch.zeros(horizon, n, dtype=torch.float64)
        for i in range(n):
            for t in range(horizon):
                targets[t, i] = self.lambda_return(rewards, values, terminated, done, t, i)
        x, y = normalise(torch.cat(seen)), targets.flatten()
        rows = len(y) // c.critic_minibatches
        for _ in range(c.critic_iterations):
            if c.critic_shuffle:
                order = torch.randperm(len(y), generator=self.generator)
                x, y = x[order], y[order]
            for k in range(c.critic_minibatches):
                part = slice(k * rows, (k + 1) * rows)
                error = ((self.critic(x[part])[:, 0] - y[part]) ** 2).mean()
                self.step(error, list(self.critic.parameters()), self.critic_adam, c.critic_lr)
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                slow.copy_(c.target_alpha * slow + (1 - c.target_alpha) * fast)
        self.env_state, self.obs = state._replace(physics=type(state.physics)(*map(torch.detach, state.physics))), obs
        self.obs = self.obs.detach()
        self.iteration += 1

    def step(self, loss, params, adam, lr):
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, self.config.max_grad_norm)
        for group in adam.param_groups:
            group["lr"] = lr + (self.config.lr_end - lr) * self.iteration / self.config.iterations
        adam.step()

    def lambda_return(self, rewards, values, terminated, done, t, i):
        """Eq. 7: k-step returns, averaged; the longest the segment allows takes the weight that is left."""
        c, total, k_step, k = self.config, 0.0, 0.0, 0
        while True:
            k_step = k_step + c.gamma**k * rewards[t + k][i]
            value = 0.0 if terminated[t + k][i] else values[t + k][i]
            k += 1
            whole = k_step + c.gamma**k * value
            if done[t + k - 1][i] or t + k == c.horizon:
                return total + c.lam ** (k - 1) * whole
            total = total + (1 - c.lam) * c.lam ** (k - 1) * whole

    def count_obs(self, batch):
        """Statistics one step at a time."""
        n, mean = len(batch), batch.mean(0)
        total = self.count + n
        delta = mean - self.mean
        m2 = self.var * self.count + ((batch - mean) ** 2).sum(0) + delta**2 * self.count * n / total
        self.mean, self.var, self.count = self.mean + delta * n / total, m2 / total, total
