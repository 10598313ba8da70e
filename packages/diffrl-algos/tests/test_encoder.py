"""Point clouds: encoders against torch's modules, SAPO with its own or a shared one, and who refuses them."""

from __future__ import annotations

import dataclasses
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim_core
from diffrl_algos import Budget, SAPOConfig, evaluate, export_run, get_algorithm, list_algorithms, train
from diffrl_algos._session import evaluate_run, resume_run, start_run
from diffrl_algos._spec import RunSpec
from diffrl_algos.torch import SAPO, TrajOpt
from diffrl_algos.torch._adam import Adam, Optimizer
from diffrl_algos.torch._critic import Critic, fit_critic, passes
from diffrl_algos.torch._encoder import EncodedMLP, Encoder
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._observations import FlatEnv, Layout, flat
from diffrl_algos.torch._state import from_arrays, to_arrays
from diffsim_core.check import check_env

from .toy import PointTask

SMALL = {
    "iterations": 10,
    "horizon": 8,
    "actor_hidden": (8,),
    "critic_hidden": (8,),
    "critic_iterations": 2,
    "encoder_points": (6, 8),
    "encoder_latent": 5,
    "encoder_vector": 4,
}
LAYOUT = Layout((("a", 2), ("b", 3)), (("p", 4, 3), ("q", 2, 5)))


def beacon(num_envs=6, **options):
    return diffsim_core.make("beacon", num_envs=num_envs, **options)


def run(algorithm, state, updates):
    for _ in range(updates):
        state, metrics = algorithm.update(state)
    return state, metrics


def same_bits(a, b):
    a, b = to_arrays(a), to_arrays(b)
    return a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)


def test_the_tests_own_environment_keeps_every_promise():
    assert len(check_env(beacon(8), fewer=beacon(3))) == 8


def test_a_layout_has_vectors_first_and_nothing_is_lost():
    spec = dataclasses.replace(beacon().spec, obs_shapes={"p": (4, 3), "a": (2,), "q": (2, 5), "b": (3,)}, num_obs=27)
    layout = Layout.of(spec)
    assert layout == LAYOUT and layout.vector == 5 and layout.size == 27
    g = torch.Generator().manual_seed(0)
    obs = {name: torch.randn(7, *shape, generator=g) for name, shape in spec.obs_shapes.items()}
    x = layout.flatten(obs)
    vector, (p, q) = layout.split(x)
    assert torch.equal(vector, torch.cat([obs["a"], obs["b"]], dim=1))
    assert torch.equal(p, obs["p"]) and torch.equal(q, obs["q"])
    assert layout.flatten(x) is x


def test_images_have_no_encoder():
    spec = dataclasses.replace(beacon().spec, obs_shapes={"camera": (8, 8, 3)})
    with pytest.raises(ValueError, match=r"'beacon' observes 'camera' of shape \[8, 8, 3\], which has no encoder"):
        Layout.of(spec)
    env = types.SimpleNamespace(spec=spec, num_envs=2)
    with pytest.raises(ValueError, match="images are not supported"):
        SAPO().init(env, 0)


def layer(params):
    linear, norm = torch.nn.Linear(*params[0].T.shape), torch.nn.LayerNorm(len(params[1]))
    module = torch.nn.Sequential(linear, norm, torch.nn.SiLU()).double()
    torch.nn.utils.vector_to_parameters(torch.cat([part.flatten() for part in params]), module.parameters())
    return module


def slow(encoder, params, x):
    """Every point by itself, with torch's modules."""
    layers = [layer(params[k : k + 4]) for k in range(0, len(params), 4)]
    vector, clouds = encoder.layout.split(x)
    parts = []
    if encoder.layout.vector:
        parts.append(layers.pop(0)(vector))
    for cloud in clouds:
        chain = torch.nn.Sequential(*(layers.pop(0) for _ in encoder.points))
        seen = torch.stack([chain(cloud[..., k, :]) for k in range(cloud.shape[-2])])
        parts.append(layers.pop(0)(seen.mean(0) if encoder.pool == "avg" else seen.max(0).values))
    assert not layers
    return torch.cat(parts, dim=-1)


@given(
    st.sampled_from([LAYOUT, Layout((), (("p", 3, 3),)), Layout((("a", 2),), (("p", 1, 2),))]),
    st.sampled_from(["avg", "max"]),
    st.lists(st.integers(1, 6), max_size=3).map(tuple),
    st.integers(0, 2**31),
)
@settings(max_examples=12, deadline=None)
def test_encoders_equal_torchs_modules(layout, pool, points, seed):
    g = torch.Generator().manual_seed(seed)
    encoder = Encoder(layout, vector=4, points=points, latent=3, pool=pool)
    params = encoder.split(torch.randn(encoder.num_params, generator=g, dtype=torch.float64))
    x = torch.randn(2, 5, layout.size, generator=g, dtype=torch.float64)
    found = encoder(params, x)
    assert found.shape == (2, 5, encoder.width)
    torch.testing.assert_close(found, slow(encoder, params, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_the_order_of_points_does_not_matter(pool):
    g = torch.Generator().manual_seed(1)
    encoder = Encoder(LAYOUT, pool=pool)
    params = encoder.split(encoder.init(g))
    obs = {"a": (2,), "b": (3,), "p": (4, 3), "q": (2, 5)}
    obs = {name: torch.randn(6, *shape, generator=g) for name, shape in obs.items()}
    shuffled = {**obs, "p": obs["p"][:, torch.tensor([2, 0, 3, 1])]}
    one, other = (encoder(params, LAYOUT.flatten(part)) for part in (obs, shuffled))
    torch.testing.assert_close(one, other)
    moved = {**obs, "p": obs["p"] + 1.0}
    assert not torch.allclose(one, encoder(params, LAYOUT.flatten(moved)))


def test_the_encoder_of_the_paper():
    """DP3's sizes for 250 points beside 20 numbers: 64 and 128 numbers come out."""
    encoder = Encoder(Layout((("state", 20),), (("points", 250, 3),)))
    assert encoder.width == 192
    assert [s for s in encoder.shapes if len(s) == 2] == [(128, 20), (64, 3), (128, 64), (256, 128), (64, 256)]
    flat_params = encoder.init(torch.Generator().manual_seed(0))
    for weight, bias, scale, shift in zip(*(encoder.split(flat_params)[k::4] for k in range(4)), strict=True):
        small = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
        torch.testing.assert_close(small, torch.eye(len(small)), rtol=0, atol=1e-5)
        assert not bias.any() and (scale == 1).all() and not shift.any()


def test_critics_with_encoders_are_fitted_like_torchs():
    """Adam with one norm clipped over encoders and networks of both critics."""
    config = SAPOConfig(critic_iterations=2, critic_minibatches=3, critic_shuffle=False)
    optimizer = Optimizer((0.7, 0.95), 0.1, weight_decay=0.1)
    critic = Critic(EncodedMLP(Encoder(LAYOUT, 4, (5,), 3), MLP((10, 6, 1), "silu")), 2)
    g = torch.Generator().manual_seed(3)
    start = critic.init(g, gain=1.0).double()
    x, y = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((12, 27), (12,)))
    order = torch.stack([*passes(config, 12, g, x.device)])
    fitted, _, loss = fit_critic(
        critic, start, Adam.init(start), x, y, config=config, optimizer=optimizer, lr=0.01, order=order
    )
    params = start.clone().requires_grad_()
    theirs = torch.optim.AdamW([params], lr=0.01, betas=(0.7, 0.95), weight_decay=0.1)
    for _ in range(2):
        errors = []
        for rows in torch.arange(12).split(4):
            error = critic(params, x[rows]) - y[rows]
            theirs.zero_grad()
            error.square().mean(1).sum().backward()
            torch.nn.utils.clip_grad_norm_([params], 0.1)
            theirs.step()
            errors.append(error.detach().flatten())
    torch.testing.assert_close(fitted, params.detach(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(loss, torch.cat(errors).square().mean(), rtol=1e-9, atol=1e-10)


class Split(PointTask):
    """The toy task, whose two numbers are a mapping of two vectors."""

    obs_shapes = {"x": (1,), "v": (1,)}  # noqa: RUF012

    def observe(self, xp, physics, task):
        return {"x": physics.x, "v": physics.v}

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        return super().reward(xp, physics, action, next_physics, xp.concat([*next_obs.values()], axis=1), task)

    def metrics(self, xp, physics, action, next_physics, next_obs, task):
        return {"distance": xp.abs(next_obs["x"][:, 0])}


def test_vectors_by_name_are_one_vector(worlds):
    """The same run as without names, up to the order in which gradients are summed; no encoder."""
    algorithm = SAPO(SAPOConfig(**SMALL))
    named = diffsim_core.TaskEnv(Split("float32", 0.9, 5, 1e6), 6, arrays="torch")
    one, _ = run(algorithm, algorithm.init(worlds(), 3), 3)
    other, _ = run(algorithm, algorithm.init(named, 3), 3)
    torch.testing.assert_close(to_arrays(one), to_arrays(other), rtol=1e-5, atol=1e-6)
    obs = named.reset(1)[1]
    policy = algorithm.policy(other)
    assert torch.equal(policy(obs), policy(torch.cat([obs["x"], obs["v"]], dim=1)))


@pytest.mark.parametrize("share", [False, True])
def test_six_updates_are_three_and_three(share):
    algorithm = SAPO(SAPOConfig(**SMALL, share_encoder=share))
    whole, _ = run(algorithm, algorithm.init(beacon(), 5), 6)
    half, _ = run(algorithm, algorithm.init(beacon(), 5), 3)
    restored = from_arrays(algorithm.init(beacon(), 5), to_arrays(half))
    assert same_bits(whole, run(algorithm, restored, 3)[0])


def test_statistics_are_of_the_vector_alone():
    algorithm = SAPO(SAPOConfig(**SMALL))
    state, _ = run(algorithm, algorithm.init(beacon(64), 0), 3)
    assert state.run.obs.shape == (64, 26) and state.run.stats.mean.shape == (2,)
    far = 1e3 * torch.randn(5, 26, generator=torch.Generator().manual_seed(0))
    x = algorithm.policy(state).normalize(far)
    assert x.shape == far.shape and torch.equal(x[:, 2:], far[:, 2:]) and (x[:, :2] != far[:, :2]).all()
    clipped = SAPO(SAPOConfig(**SMALL, obs_clip=4.0)).policy(state).normalize(far)
    assert torch.equal(clipped[:, :2], x[:, :2].clamp(-4.0, 4.0)) and torch.equal(clipped[:, 2:], far[:, 2:])
    plain = SAPO(SAPOConfig(**SMALL, normalize_obs=False))
    assert torch.equal(plain.policy(state).normalize(far), far)


@pytest.mark.parametrize("share", [False, True])
def test_encoders_learn_and_are_clipped_with_the_rest(share):
    """Adam's first moments are the clipped gradients: of length 0.05 over encoder and network together."""
    once = {"critic_iterations": 1, "critic_minibatches": 1}
    algorithm = SAPO(SAPOConfig(**{**SMALL, **once}, share_encoder=share, max_grad_norm=0.05))
    start = algorithm.init(beacon(), 0)
    state, metrics = algorithm.update(start)
    size = Encoder(start.env.layout, 4, (6, 8), 5).num_params
    parts = [(state.actor, start.actor, state.actor_adam)]
    if share:
        assert start.critic.numel() == 2 * MLP((9, 8, 1)).num_params
    else:
        parts.append((state.critic, start.critic, state.critic_adam))
    assert metrics["grad_norm"] > 0.05
    for after, before, adam in parts:
        clipped = adam.m / 0.3
        assert clipped.norm().item() == pytest.approx(0.05, rel=1e-3)
        assert clipped[:size].norm() > 0 and clipped[size:].norm() > 0
        assert not torch.equal(after[:size], before[:size])


@pytest.mark.parametrize("share", [False, True])
def test_values_for_viewers_are_the_critics(share):
    algorithm = SAPO(SAPOConfig(**SMALL, share_encoder=share))
    state, _ = run(algorithm, algorithm.init(beacon(), 0), 2)
    value, (_, obs) = algorithm.value(state), beacon().reset(4)
    found = value(obs)
    assert found.shape == (6,) and torch.equal(found, value(state.env.layout.flatten(obs)))
    moved = {**obs, "points": obs["points"] + 1.0}
    assert not torch.allclose(found, value(moved))


def test_a_shared_encoder_is_the_actors_and_learns_nothing_from_values():
    algorithm = SAPO(SAPOConfig(**SMALL, share_encoder=True))
    state = algorithm.init(beacon(), 0)
    actor, x = state.actor.clone().requires_grad_(), state.run.obs.clone()
    assert not algorithm._features(state.env, actor, x).requires_grad
    seen = algorithm._features(state.env, actor, x.requires_grad_())
    (grad,) = torch.autograd.grad(seen.sum(), x)
    assert seen.shape == (6, 9) and grad[:, 2:].any()
    assert algorithm.critic(state.env)(state.critic, seen).shape == (2, 6)
    moved = state.actor.clone()
    moved[:10] += 1.0
    assert not torch.allclose(algorithm._features(state.env, moved, x), seen)


@pytest.mark.parametrize("change", [{"encoder_pool": "max"}, {"share_encoder": True}, {"encoder_points": (6,)}])
def test_every_choice_matters(change):
    one, other = (SAPO(SAPOConfig(**{**SMALL, **more})) for more in ({}, change))
    a, _ = run(one, one.init(beacon(), 0), 2)
    b, _ = run(other, other.init(beacon(), 0), 2)
    assert a.actor.shape != b.actor.shape or not torch.equal(a.actor, b.actor)


@pytest.mark.parametrize("name", [entry.name for entry in list_algorithms() if entry.arrays == "torch"])
def test_algorithms_without_an_encoder_say_so(name):
    if name in ("sapo", "trajopt"):
        return
    entry = get_algorithm(name)
    with pytest.raises(ValueError, match=r"(?i)'beacon' observes points \[8, 3\].*has no encoder.*use sapo"):
        entry.build(entry.config_class()()).init(beacon(), 0)


def test_actions_by_step_need_no_encoder():
    algorithm = TrajOpt()
    state = train(algorithm, beacon(4), Budget(iterations=2)).state
    assert evaluate(beacon(4), algorithm.policy(state), episodes=4, seed=1).lengths.tolist() == [30] * 4


def test_an_environment_around_another_is_still_that(worlds):
    env = beacon()
    assert flat(worlds()) is not None and not isinstance(flat(worlds()), FlatEnv)
    seen = flat(env)
    assert isinstance(seen, FlatEnv) and seen.num_envs == 6 and seen.task is env.task
    assert seen.spec.num_obs == 26 and not seen.spec.obs_shapes
    state, obs = seen.reset(0)
    _, step = seen.step(state, torch.zeros(6, 1))
    assert obs.shape == (6, 26) and step.obs is step.final_obs


@pytest.mark.parametrize("wrong", [{"encoder_latent": 0}, {"encoder_vector": 0}, {"encoder_points": (4, 0)}])
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} (of \w+ )?is"):
        SAPOConfig(**wrong)


def test_runs_are_saved_and_resumed(tmp_path):
    spec = RunSpec(
        algorithm="sapo",
        task="beacon",
        config=SAPOConfig(**SMALL),
        num_envs=4,
        budget=Budget(iterations=4),
        task_options={},
        eval_episodes=4,
    )
    start_run(spec, tmp_path / "run", stop_after=2)
    summary = resume_run(tmp_path / "run")
    assert summary["status"] == "finished" and summary["iterations"] == 4
    assert evaluate_run(tmp_path / "run")["return_mean"] == summary["return_mean"]
    found = export_run(tmp_path / "run", tmp_path / "policy.pt2", form="torch")
    assert found["obs_arrays"] == [["state", [2]], ["points", [8, 3]]] and found["num_obs"] == 26


@pytest.mark.parametrize("share", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_learns_to_go_where_only_the_points_show(share):
    """More than anybody could get who does not see the goal, 30 steps of at most 2/3; one who does gets 25."""
    config = SAPOConfig(
        iterations=50,
        horizon=16,
        actor_hidden=(32,),
        critic_hidden=(32,),
        encoder_points=(16, 16),
        encoder_latent=8,
        encoder_vector=16,
        share_encoder=share,
        actor_lr=2e-2,
        critic_lr=5e-3,
        critic_iterations=4,
        temperature_init=0.1,
    )
    algorithm = SAPO(config)
    state = train(algorithm, beacon(32), seed=0).state
    found = evaluate(beacon(128), algorithm.policy(state), episodes=128, seed=99)
    blind = evaluate(
        beacon(128), lambda obs: -2.0 * obs["state"][:, :1] - 1.5 * obs["state"][:, 1:], episodes=128, seed=99
    )
    assert found.return_mean > 23.0 > 20.0 > blind.return_mean - 2 * blind.return_std / 128**0.5
