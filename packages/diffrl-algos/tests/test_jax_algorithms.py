"""Algorithms in JAX against those in torch: networks, fits, objectives, gradients and metrics, in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from diffrl_algos._outliers import outlier_rule
from diffrl_algos.torch import _adam as torch_adam
from diffrl_algos.torch import _critic as torch_critic
from diffrl_algos.torch import _mlp as torch_mlp
from diffrl_algos.torch import _normalize as torch_normalize

pytest.importorskip("flax")

from diffrl_algos.jax import _adam, _fit, _mlp, _native_fit, _networks, _normalize
from diffrl_algos.jax._gate import ruled
from diffrl_algos.jax._reuse import Rows

from .jax_twins import arguments, compiled, config_of, kind, noise, same, torch_update, twins, x64


@pytest.fixture(autouse=True)
def float64():
    with x64(True):
        yield


@pytest.mark.parametrize("activation", ["elu", "silu", "relu", "tanh"])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_a_network_and_its_gradient_are_torchs(activation, layer_norm):
    theirs = torch_mlp.MLP((3, 7, 5, 2), activation, layer_norm)
    ours = _mlp.MLP((3, 7, 5, 2), activation, layer_norm)
    rng = np.random.default_rng(0)
    flat, x, g = rng.normal(size=theirs.num_params), rng.normal(size=(11, 3)), rng.normal(size=(11, 2))
    assert ours.num_params == theirs.num_params
    leaf = torch.tensor(flat, requires_grad=True)
    out = theirs(theirs.split(leaf), torch.tensor(x))
    (by_torch,) = torch.autograd.grad((out * torch.tensor(g)).sum(), leaf)
    value, back = jax.vjp(lambda flat: ours(flat, jnp.asarray(x)), jnp.asarray(flat))
    same(out, value)
    same(by_torch, back(jnp.asarray(g))[0])
    np.testing.assert_array_equal(ours.flat(ours.tree(jnp.asarray(flat))), flat)


@pytest.mark.parametrize("gain", [None, 1.5])
def test_first_weights_are_of_the_rule(gain):
    mlp = _mlp.MLP((40, 300, 20), "elu", True)
    params = mlp.tree(mlp.init(jax.random.key(1), gain=gain))["params"]
    weight, bias = params["dense_0"]["kernel"], params["dense_0"]["bias"]
    if gain is None:
        bound = 40**-0.5
        for part in (weight, bias):
            assert 0.95 * bound < float(jnp.abs(part).max()) <= bound
        assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.03)
    else:
        np.testing.assert_allclose(weight @ weight.T, gain**2 * np.eye(40), atol=1e-5)
        assert not bias.any()
    assert (params["norm_0"]["scale"] == 1).all() and not params["norm_0"]["bias"].any()


@pytest.mark.parametrize("fit", [_fit.fit_critic, _native_fit.fit_natively])
@pytest.mark.parametrize(("count", "weight_decay", "rows"), [(1, 0.0, 24), (2, 0.01, 23)])
def test_a_fit_is_torchs(fit, count, weight_decay, rows):
    config = config_of("shac", critic_iterations=3, critic_minibatches=4, critic_shuffle=True)
    theirs = torch_critic.Critic(torch_mlp.MLP((3, 6, 1), "silu"), count)
    ours = _networks.Critic(_mlp.MLP((3, 6, 1), "silu"), count)
    rng = np.random.default_rng(3)
    flat, x, y = (rng.normal(size=shape) for shape in (count * theirs.mlp.num_params, (rows, 3), rows))
    generator = torch.Generator().manual_seed(0)
    order = torch.stack([*torch_critic.passes(config, rows, generator, torch.device("cpu"))])
    given = [torch.tensor(part) for part in (flat, x, y)]
    optimizer = torch_adam.Optimizer((0.7, 0.95), 0.5, weight_decay)
    options = {"config": config, "lr": 0.01}
    adam = torch_adam.Adam.init(given[0])
    fitted = torch_critic.fit_critic(theirs, given[0], adam, *given[1:], optimizer=optimizer, order=order, **options)
    flat, x, y = (jnp.asarray(part) for part in (flat, x, y))
    optimizer = _adam.Optimizer((0.7, 0.95), 0.5, weight_decay)
    run = compiled(lambda flat, *rest: fit(ours, flat, _adam.Adam.init(flat), *rest, optimizer=optimizer, **options))
    got = run(flat, x, y, jnp.asarray(order.numpy()))
    same(fitted[0], got[0])
    same(fitted[1].m, got[1].m)
    same(fitted[1].v, got[1].v)
    same(fitted[2], got[2])
    assert int(got[1].step) == fitted[1].step


def test_orders_are_permutations_drawn_anew():
    order = np.asarray(_fit.orders(jax.random.key(0), 400, 5))
    assert (np.sort(order, axis=1) == np.arange(5)).all()
    # Each row is in each place a fifth of the time: 80 of 400, with a standard deviation of 8.
    counts = np.stack([(order == row).sum(0) for row in range(5)])
    assert np.abs(counts - 80).max() < 40
    np.testing.assert_array_equal(_fit.orders(jax.random.key(0), 3, 4, shuffle=False), np.tile(np.arange(4), (3, 1)))


def test_statistics_are_torchs():
    theirs, ours = torch_normalize.RunningStats.init(3, torch.device("cpu")), _normalize.RunningStats.init(3)
    rng = np.random.default_rng(5)
    for rows in (7, 50, 3):
        x = 4.0 + rng.normal(size=(rows, 3)) * [1.0, 1e-3, 20.0]
        theirs, ours = theirs.update(torch.tensor(x)), ours.update(jnp.asarray(x))
    for one, other in zip(theirs, ours, strict=True):
        same(one, other)
    for clip in (None, 0.4):
        x = 4.0 + rng.normal(size=(9, 3))
        one = theirs.normalizer(torch.float64, std_min=0.01, clip=clip)(torch.tensor(x))
        same(one, ours.normalizer(jnp.float64, std_min=0.01, clip=clip)(jnp.asarray(x)))


def test_statistics_in_float32_keep_their_digits():
    """After hundreds of millions of rows a window still counts with its share."""
    with x64(False):
        stats = _normalize.RunningStats(jnp.full(1, 3.0), jnp.full(1, 2.0), jnp.asarray(5e8))
        after = jax.jit(lambda s, x: s.update(x))(stats, jnp.full((2048, 1), 4.0))
        share = 2048 / (5e8 + 2048)
        assert float(after.var[0]) == pytest.approx(2.0 * (1 - share) + share, rel=1e-6)
        assert after.mean.dtype == jnp.float32


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


CASES = [
    ("apg", {}),
    slow("shac", {}),
    ("shac", {"state_dependent_std": True, "obs_clip": 0.5, "divergence_price": 2.0}),
    slow("sapo", {}),
    ("sapo", {"normalize_return": True, "normalize_entropy": False, "actor_value": "min", "target_value": "mean"}),
    slow("sapo", {"actor_entropy": False, "soft_value": False, "state_dependent_std": False}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_objective_and_gradient_are_torchs(name, options):
    pair = twins(name, worlds={"breaks": 0.8} if "divergence_price" in options else {}, **options)
    _, metrics, gradient = torch_update(pair)
    (loss, _), (grad, lost) = compiled(pair.algorithm.gradient, static_argnums=0)(*arguments(pair, noise(pair)))
    same(metrics["actor_loss"], loss)
    same(gradient, grad)
    assert np.abs(gradient).max() > 1e-3 and not lost.any()


AGPO_CASES = [
    {},
    {"truncation": "restart", "threshold": 0.3, "kl_coef": 0.3},
    {"truncation": "bootstrap", "threshold": 0.3, "variance": "vector"},
    {"truncation": "drop", "threshold": 0.3, "ratio": "tolerant", "tolerance": 0.5, "entropy_floor": 0.2},
    {"ratio": "fixed", "fixed_ratio": 0.6, "num_critics": 1},
    {"ratio": "fixed", "outliers": "max_norm", "outlier_norm": 0.1},
    {"ratio": "fixed", "outliers": "quantile", "outlier_quantiles": (0.2, 0.7)},
]


AGPO_CASES = [slow(AGPO_CASES[0]), AGPO_CASES[1], *map(slow, AGPO_CASES[2:])]


@pytest.mark.parametrize("options", AGPO_CASES)
def test_agpos_ratios_credit_objective_and_gradient_are_torchs(options):
    pair = twins("agpo", entropy_coef=0.05, **options)
    _, metrics, gradient = torch_update(pair)
    (loss, judged), (grad, _) = compiled(pair.algorithm.gradient, static_argnums=0)(*arguments(pair, noise(pair, 2)))
    same(metrics["actor_loss"], loss)
    same(gradient, grad)
    same(metrics["alpha_mean"], judged.alpha.mean())
    same(metrics["beta_mean"], judged.credit.beta.mean())
    same(metrics["kl"], judged.kl)
    if options.get("ratio") != "fixed":
        assert 0.0 < metrics["alpha_mean"] < 1.0


AOBG_CASES = [
    {"slack": 0.05, "divergence_price": 2.0, "state_dependent_std": True},
    slow({"independent": True, "discount_advantages": True, "normalize_value": True}),
    slow({"tolerance": 8.0, "bound": 0.1, "logstd_init": 0.0}),
]


@pytest.mark.parametrize("options", AOBG_CASES)
def test_aobgs_weight_objective_and_gradient_are_torchs(options):
    pair = twins("aobg", worlds={"breaks": 0.8} if "divergence_price" in options else {}, **options)
    _, metrics, gradient = torch_update(pair)
    (loss, found), (grad, lost) = compiled(pair.algorithm.gradient, static_argnums=0)(*arguments(pair, noise(pair)))
    same(metrics["actor_loss"], loss)
    same(gradient, grad)
    same(metrics["alpha"], found.mixed.alpha)
    same(metrics["bias"], found.mixed.bias)
    same(metrics["first_variance"], found.mixed.variance_first)
    same(metrics["zeroth_variance"], found.mixed.variance_zeroth)
    assert 0.0 < metrics["alpha"] < 1.0 and not lost.any()


PER_STEP_CASES = [
    ("ddcg", {"outliers": 2.0, "nonfinite": "mask", "state_dependent_std": True, "divergence_price": 2.0}),
    slow("ddcg", {"scope": "step", "test": "second", "slack": 0.1, "variance": "trace"}),
    slow("ivwh", {"discount_advantages": False, "normalize_value": True}),
    slow("ivwh", {"fixed_weight": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), PER_STEP_CASES)
def test_mixtures_of_every_step_are_torchs(name, options):
    pair = twins(name, worlds={"breaks": 0.8} if "divergence_price" in options else {}, **options)
    _, metrics, gradient = torch_update(pair)
    (loss, found), (grad, lost) = compiled(pair.algorithm.gradient, static_argnums=0)(*arguments(pair, noise(pair)))
    same(metrics["actor_loss"], loss)
    same(gradient, grad)
    for key, value in pair.algorithm.figures(found.mixed).items():
        same(metrics[key], value)
    assert 0.0 < metrics["alpha_mean"] < 1.0 and not lost.any() and np.abs(gradient).max() > 1e-3
    assert (metrics["switched"] > 0.0) == (options.get("scope") == "step")


@pytest.mark.parametrize("outliers", ["max_norm", "quantile"])
def test_rules_for_outliers_are_torchs(outliers):
    """Of gradients with one that is not finite, which both leave alone."""
    config = config_of("agpo", ratio="fixed", outliers=outliers, outlier_norm=20.0, outlier_quantiles=(0.2, 0.7))
    g = np.random.default_rng(2).normal(size=(9, 3))
    g[4, 1] = np.nan
    by_torch = outlier_rule(config, 16, torch.where)(torch.tensor(g)).numpy()
    action = jnp.zeros((9, 3))
    _, back = jax.vjp(jax.jit(lambda a: ruled(outlier_rule(config, 16, jnp.where), a)), action)
    same(by_torch, back(jnp.asarray(g))[0])
    changed = (by_torch != g).all(1)
    assert np.isnan(by_torch[4, 1]) and 0 < changed.sum() < 8


@pytest.mark.parametrize("name", [slow("shac"), "sapo", "agpo", slow("aobg"), "rpo", slow("ivwh"), slow("ddcg")])
def test_a_whole_update_is_torchs(name, monkeypatch):
    """Critics, targets, temperature and all: from the same noise, with minibatches in order."""
    pair = twins(name, max_grad_norm=0.5, lam=0.9)
    learned, metrics, _ = torch_update(pair)
    eps = noise(pair, *([2] if name == "agpo" else []))
    monkeypatch.setattr(type(pair.algorithm), "noise", lambda *_: jnp.asarray(eps))
    state = pair.state
    done = jnp.zeros(())
    step = compiled(lambda worlds, nets: pair.algorithm.learn(state.env, nets, worlds, jax.random.key(0), done)[1:])
    changes, _, ours = step(state.worlds, state.nets)
    for field in ("actor", "critic", "target", "log_temperature", "previous"):
        if field in learned.changes:
            same(learned.changes[field], changes[field])
    for key in metrics.keys() & ours.keys():
        same(metrics[key], ours[key])


@pytest.mark.slow
def test_the_gradient_of_rpos_first_epoch_is_shacs():
    """From one window: the one by actions and on by rows, the other through the policy."""
    shared = {"activation": "elu", "state_dependent_std": True, "kl_coef": 0.0, "entropy_coef": 0.0, "num_critics": 1}
    pair = twins("rpo", **shared)
    rpo, state, given = pair.algorithm, pair.state, arguments(pair, noise(pair))
    (objective, (window, _)), (by_action, _) = compiled(rpo.gradient, static_argnums=0)(*given)
    shac = kind("shac")(config_of("shac", **{key: shared[key] for key in ("activation", "state_dependent_std")}))
    (loss, _), (wanted, _) = compiled(shac.gradient, static_argnums=0)(*given)
    same(-objective, loss)
    rows = Rows.of(state.worlds.normalizer(rpo.config)(window.trajectory.obs), window, by_action)
    actor, share = rpo.actor(state.env), jnp.full(len(rows.x), 1.0 / len(rows.x))
    same(wanted, jax.grad(lambda flat: rows.loss(rpo.config, actor(flat, rows.x), share))(state.nets.actor))


def test_ppos_advantages_and_epochs_are_torchs():
    pair = twins("ppo", max_grad_norm=0.5, actor_minibatches=3, entropy_coef=0.1)
    theirs, before = pair.torch_algorithm, pair.torch_state
    generator = before.run.generator()
    with torch.no_grad():
        _, window, values = theirs.collect(before, generator)
        parts = (values.x, window.u, window.policy.log_prob(window.u), values.standardised())
        rows = [part.flatten(0, 1) for part in parts]
    order = torch.randperm(len(rows[0]), generator=torch.Generator().manual_seed(7)).numpy()
    module = __import__("diffrl_algos.torch.algorithms.ppo", fromlist=["_Batch"])
    flat, generator = before.actor.clone(), torch.Generator().manual_seed(7)
    actor = theirs.actor(before.env)
    adam, figures = theirs.epoch(actor, flat, before.actor_adam.clone(), module._Batch(*rows), 0.01, generator)

    ours, state = pair.algorithm, pair.state
    eps = jnp.asarray(noise(pair))

    def collect(worlds, nets):
        window = ours.explore(state.env, worlds, nets.actor, eps)
        return window, ours.advantages(state.env, nets, worlds, window)

    window, found = compiled(collect)(state.worlds, state.nets)
    same(values.x, found.x)
    same(values.target_value, found.target_value)
    same(values.standardised(), found.standardised())
    batch = type(ours).batch_of(found.x, window, found.standardised())
    of_jax = ours.actor(state.env)
    got = ours.epoch(of_jax, state.nets.actor, state.nets.actor_adam, batch, jnp.asarray(order), jnp.asarray(0.01))
    same(flat, got[0])
    same(adam.m, got[1].m)
    for key in ("actor_loss", "clipped", "grad_norm"):
        same(figures[key], got[2][key])
