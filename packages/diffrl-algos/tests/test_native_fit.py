"""Fits of critics by compiled code, against torch's operations."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import diffsim_core
from diffrl_algos import Budget, PPOConfig, SHACConfig
from diffrl_algos._spec import RunSpec
from diffrl_algos.torch import _beside, _choice, _native_fit
from diffrl_algos.torch._adam import Adam, Optimizer
from diffrl_algos.torch._critic import Critic
from diffrl_algos.torch._fit import begin_fit, fits_natively, step_
from diffrl_algos.torch._mlp import MLP

from .exact import WIDTHS, compiled_is_no_less_accurate, errors, extended, gradient, needs_extended
from .test_family import NAMES, build, learns_the_same, networks, run, same_bits

FITTED = [name for name in NAMES if hasattr(build(name).config, "critic_fit")]
"""Algorithms that fit critics."""
ACTIVATIONS = ("elu", "silu", "relu", "tanh")


@dataclasses.dataclass(frozen=True)
class Case:
    """Networks, data and settings of a fit."""

    sizes: tuple[int, ...] = (5, 17, 9, 1)
    activation: str = "elu"
    layer_norm: bool = True
    count: int = 1
    rows: int = 50
    passes: int = 2
    minibatches: int = 3
    shuffle: bool = True
    decay: float = 0.01
    max_norm: float = 1.0
    steps: int = 0
    """Taken before."""
    seed: int = 0

    @property
    def critic(self):
        return Critic(MLP(self.sizes, self.activation, self.layer_norm), self.count)

    def data(self, dtype=torch.float64):
        """Parameters, moments, inputs and targets; in float32 they are the rounded ones of float64."""
        g = torch.Generator().manual_seed(self.seed)
        flat = self.critic.init(g, gain=1.0)
        flat, m, v, x, y = (
            torch.as_tensor(part, dtype=torch.float32)
            for part in (
                flat + 0.1 * torch.randn(len(flat), generator=g),
                0.1 * torch.randn(len(flat), generator=g),
                0.1 * torch.rand(len(flat), generator=g),
                torch.randn(self.rows, self.sizes[0], generator=g),
                3.0 * torch.randn(self.rows, generator=g),
            )
        )
        adam = Adam(m, v, self.steps) if self.steps else Adam.init(flat)
        return flat.to(dtype), Adam(adam.m.to(dtype), adam.v.to(dtype), adam.step), x.to(dtype), y.to(dtype)

    def fit(self, how, data, *, elsewhere=False):
        config = SHACConfig(
            critic_fit=how,
            critic_iterations=self.passes,
            critic_minibatches=self.minibatches,
            critic_shuffle=self.shuffle,
        )
        optimizer = Optimizer((0.7, 0.95), self.max_norm, self.decay)
        generator = torch.Generator().manual_seed(self.seed)
        options = {"config": config, "optimizer": optimizer, "lr": 0.01, "generator": generator}
        fitted, adam, loss = begin_fit(self.critic, *data, **options, elsewhere=elsewhere)()
        return {"parameters": fitted, "m": adam.m, "v": adam.v, "loss": loss}, adam.step, generator.get_state()


hidden = st.lists(st.integers(1, 70), max_size=3)
cases = st.builds(
    Case,
    sizes=st.builds(lambda inputs, hidden: (inputs, *hidden, 1), st.integers(1, 40), hidden),
    activation=st.sampled_from(ACTIVATIONS),
    layer_norm=st.booleans(),
    count=st.integers(1, 3),
    rows=st.integers(1, 200),
    passes=st.integers(1, 3),
    minibatches=st.integers(1, 6),
    shuffle=st.booleans(),
    decay=st.sampled_from([0.0, 0.1]),
    max_norm=st.sampled_from([0.1, 1e3]),
    steps=st.sampled_from([0, 7]),
    seed=st.integers(0, 2**31),
)


def is_well_posed(hidden, activation, layer_norm, steps):
    """Whether fits of such networks in double precision can be compared to 1e-10.

    Normalised over two features, outputs are +-1 but for the epsilon, whatever goes in. The gradient before it is what
    is left of terms that may be 10^5 times as large, with as many times their rounding, and Adam's steps bring it to
    size. Torch's error is as large as that of compiled code. Over three features one direction is left, and it may be
    small by chance. With ReLU the same happens in any row where no unit or one acts, which wide layers rarely have.
    Over one feature the gradient is zero but for rounding, which is lost in moments that are not.

    ``test_gradients_are_as_accurate_as_torchs`` has all of these.
    """
    least = 16 if activation == "relu" else 4
    return not layer_norm or all(width >= least or (width == 1 and steps) for width in hidden)


@given(cases)
@settings(max_examples=100, deadline=None)
@example(Case(sizes=(3, 1)))
@example(Case(sizes=(37, 64, 64, 1), rows=512, minibatches=1))
@example(Case(sizes=(1, 1, 1, 1, 1), rows=1, steps=7))
@example(Case(sizes=(5, 131, 4, 1), activation="silu", count=2, rows=133))
def test_in_double_precision_it_is_torchs_fit(case):
    """Parameters, moments and loss to 1e-10, the number of steps and the state of the generator exactly."""
    assume(is_well_posed(case.sizes[1:-1], case.activation, case.layer_norm, case.steps))
    data = case.data()
    before = [part.clone() for part in (data[0], data[1].m, data[1].v, *data[2:])]
    expected, *counters = case.fit("torch", data)
    found, *ours = case.fit("native", data)
    for name, part in expected.items():
        torch.testing.assert_close(found[name], part, rtol=1e-10, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}")
    assert ours[0] == counters[0] and torch.equal(ours[1], counters[1])
    assert all(map(torch.equal, before, (data[0], data[1].m, data[1].v, *data[2:]))), "arguments stay as they are"


@needs_extended
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_as_accurate_as_torchs(activation):
    """In double precision, relative to the terms whose sums they are, where little or nothing of these is left."""
    found = {"torch": [], "native": []}
    for seed in range(12 * len(WIDTHS)):
        sizes = (1 + seed % 7, *WIDTHS[seed % len(WIDTHS)], 1)
        # One step from moments of zero without clipping: the first moment is 0.3 of the gradient.
        case = Case(sizes=sizes, activation=activation, rows=1 + seed % 80, passes=1, minibatches=1, max_norm=1e9)
        data = flat, _, x, y = dataclasses.replace(case, seed=seed).data()
        mlp, target = case.critic.mlp, extended(y)[:, None]
        exact = gradient(mlp, flat, x, lambda out, target=target: (out - target) * 2 / len(out))
        for how, each in found.items():
            each.extend(errors(mlp, case.fit(how, data)[0]["m"] / 0.3, exact))
    compiled_is_no_less_accurate(found)


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_single_precision_is_no_less_accurate_than_torchs(activation, layer_norm):
    """The median error of one step over many networks and data, against double precision; the gradients are m."""
    errors = {"torch": [], "native": []}
    for seed in range(24):
        sizes = ((37, 64, 64, 1), (20, 48, 1), (60, 100, 50, 25, 1))[seed % 3]
        case = Case(
            sizes=sizes, activation=activation, layer_norm=layer_norm, rows=512, minibatches=1, passes=1, seed=seed
        )
        exact, *_ = case.fit("torch", case.data())
        for how, found in errors.items():
            result, *_ = case.fit(how, case.data(torch.float32))
            found.append([_distance(result[name], exact[name]) for name in ("m", "v", "loss")])
    torch_, native = (np.median(errors[how], axis=0) for how in ("torch", "native"))
    assert (native[:2] <= torch_[:2]).all() and (native < 1e-6).all(), (torch_, native)


def _distance(a, b):
    return float((a.double() - b).norm() / b.norm())


@given(cases, st.integers(0, 15))
@settings(max_examples=15, deadline=None)
def test_bits_depend_on_nothing_around(case, offset):
    """Not on where arrays lie, on what was computed before, or on what other threads do."""
    data = case.data(torch.float32)
    expected, *_ = case.fit("native", data)
    flat, adam, x, y = data
    moved = (moved_by(flat, offset), Adam(moved_by(adam.m, offset), moved_by(adam.v, offset), adam.step))
    found = [case.fit("native", (*moved, moved_by(x, offset), moved_by(y, offset)))[0]]
    spoiled = case.fit("native", (flat, adam, x * torch.nan, y))[0]
    assert not torch.isfinite(spoiled["parameters"]).all()
    found.append(case.fit("native", data)[0])
    found.append(case.fit("native", data, elsewhere=True)[0])
    found += in_threads(lambda: case.fit("native", data)[0])
    assert len(found) == 6
    assert all(torch.equal(part, other[name]) for other in found for name, part in expected.items())


def in_threads(call):
    """The results of three threads that call it at the same time."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(call())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def moved_by(part, offset):
    """The same numbers, ``offset`` numbers later in a new buffer."""
    buffer = part.new_full((part.numel() + 16,), torch.nan)
    buffer[offset : offset + part.numel()] = part.flatten()
    return buffer[offset : offset + part.numel()].view(part.shape)


@given(
    cases,
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(["x", "y", "parameters", "m", "v"]),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e30]),
    st.integers(0, 10**6),
)
@settings(max_examples=80, deadline=None)
@example(Case(sizes=(1, 1, 1), count=1, rows=1, minibatches=1, shuffle=False), torch.float32, "x", 1e30, 0)
@example(Case(sizes=(1, 2, 1), count=1, rows=1, minibatches=1, shuffle=False), torch.float32, "x", 1e30, 0)
def test_what_is_not_finite_spreads_as_in_torch(case, dtype, where, value, place):
    """One such number: afterwards the same numbers are finite."""
    flat, adam, x, y = case.data(dtype)
    arrays = {"x": x, "y": y, "parameters": flat, "m": adam.m, "v": adam.v}
    arrays[where].view(-1)[place % arrays[where].numel()] = value
    expected, found = (case.fit(how, (flat, adam, x, y))[0] for how in ("torch", "native"))
    # Normalised, a number whose square overflows is 0 to compiled code; to torch it may be NaN.
    overflows = case.layer_norm and len(case.sizes) > 2 and value == 1e30 and dtype == torch.float32
    for name, part in expected.items():
        finite, ours = torch.isfinite(part), torch.isfinite(found[name])
        assert (ours >= finite).all() if overflows else torch.equal(finite, ours), name


def test_one_step_is_a_fit_of_one_pass():
    case = Case(passes=1, minibatches=1, shuffle=False, count=2)
    flat, adam, x, y = case.data()
    expected, steps, _ = case.fit("torch", (flat, adam, x, y))
    moments, loss = step_(case.critic, flat, adam, x, y, optimizer=Optimizer((0.7, 0.95), 1.0, 0.01), lr=0.01)
    found = {"parameters": flat, "m": adam.m, "v": adam.v, "loss": loss}
    assert moments.m is adam.m and moments.step == steps
    for name, part in expected.items():
        torch.testing.assert_close(found[name], part, rtol=1e-10, atol=1e-10)


def test_arrays_that_do_not_fit_are_refused():
    case = Case()
    flat, adam, x, y = case.data()
    optimizer = Optimizer((0.7, 0.95), 1.0)
    with pytest.raises(ValueError, match=r"x is torch.float64\[50, 4\]; expected torch.float64\[50, 5\]"):
        step_(case.critic, flat, adam, x[:, :4], y, optimizer=optimizer, lr=0.01)
    with pytest.raises(ValueError, match=r"y is torch\.float32"):
        step_(case.critic, flat, adam, x, y.float(), optimizer=optimizer, lr=0.01)
    with pytest.raises(ValueError, match="parameters is"):
        step_(case.critic, flat[:-1], adam, x, y, optimizer=optimizer, lr=0.01)
    with pytest.raises(ValueError, match=r"m is .*contiguous"):
        apart = dataclasses.replace(case).data()[1].m.repeat_interleave(2)[::2]
        step_(case.critic, flat, adam._replace(m=apart), x, y, optimizer=optimizer, lr=0.01)


@pytest.mark.parametrize("name", FITTED)
def test_every_algorithm_learns_as_with_torch(worlds, name):
    learns_the_same(worlds, name, "critic_fit", 1e-8)


@pytest.mark.parametrize("name", FITTED)
def test_every_algorithm_is_the_same_beside_and_resumed(worlds, name, monkeypatch):
    """Same bits with the fit on another core and on this one, and of four updates and two and two."""
    algorithm = build(name, critic_fit="native")
    began = []
    start = _beside.threading.Thread.start
    monkeypatch.setattr(_beside.threading.Thread, "start", lambda self: (began.append(self.name), start(self))[1])

    def on_cores(cores, updates):
        monkeypatch.setenv("DIFFSIM_NUM_THREADS", str(cores))
        return run(algorithm, algorithm.init(worlds(), 5), updates)[0]

    alone = on_cores(1, 4)
    assert "diffrl-beside" not in began
    assert same_bits(alone, on_cores(2, 4))
    beside = began.count("diffrl-beside")
    assert beside == (0 if name in ("ppo", "sac", "td3") else 4)
    half = on_cores(2, 2)
    restored = algorithm.from_arrays(algorithm.init(worlds(), 6), algorithm.to_arrays(half))
    assert same_bits(alone, run(algorithm, restored, 2)[0])


@pytest.mark.parametrize("name", FITTED)
def test_native_is_used_where_it_is_asked_for(worlds, name, monkeypatch):
    """``auto``, the default, is native here; ``torch`` is not."""
    calls = []
    original = _native_fit.fit_natively_
    monkeypatch.setattr(_native_fit, "fit_natively_", lambda *a, **k: calls.append(a[0]) or original(*a, **k))
    used = {}
    for how in ("torch", "native", "auto"):
        algorithm = build(name, critic_fit=how)
        run(algorithm, algorithm.init(worlds(), 1), 2)
        used[how] = len(calls)
        calls.clear()
    assert used["torch"] == 0 and used["native"] == used["auto"] >= 2
    assert build(name).config.critic_fit == "auto"


def test_an_error_in_the_other_thread_reaches_the_caller(worlds, monkeypatch):
    def fail(*args, **kwargs):
        raise FloatingPointError(threading.current_thread().name)

    monkeypatch.setenv("DIFFSIM_NUM_THREADS", "2")
    monkeypatch.setattr(_native_fit, "fit_natively_", fail)
    for name in ("shac", "ahac"):
        algorithm = build(name, critic_fit="native")
        with pytest.raises(FloatingPointError, match="diffrl-beside"):
            algorithm.update(algorithm.init(worlds(), 0))


def test_on_one_core_the_call_is_the_callers(monkeypatch):
    monkeypatch.setenv("DIFFSIM_NUM_THREADS", "1")
    assert _beside.beside(threading.current_thread)() is threading.current_thread()
    monkeypatch.setenv("DIFFSIM_NUM_THREADS", "2")
    assert _beside.beside(threading.current_thread)() is not threading.current_thread()


def test_what_compiled_code_cannot_fit_is_refused_or_left_to_torch(monkeypatch):
    """``native`` says why, ``auto`` takes torch's operations; a shared encoder leaves plain critics."""
    states = {}
    for how in ("torch", "auto", "native"):
        algorithm = build("sapo", critic_fit=how, encoder_points=(8,), encoder_latent=4, encoder_vector=4)
        if how == "native":
            with pytest.raises(ValueError, match="critic_fit is native, but the network has an encoder; use critic_"):
                algorithm.init(diffsim_core.make("beacon", num_envs=6), 0)
            continue
        states[how], _ = run(algorithm, algorithm.init(diffsim_core.make("beacon", num_envs=6), 0), 2)
    assert same_bits(states["torch"], states["auto"])
    critic, cpu, cuda = Critic(MLP((3, 4, 1))), torch.device("cpu"), torch.device("cuda:1")
    native, auto = (SHACConfig(critic_fit=how) for how in ("native", "auto"))
    with pytest.raises(ValueError, match="the device is cuda:1"):
        fits_natively(native, critic, cuda)
    assert not fits_natively(auto, critic, cuda) and fits_natively(auto, critic, cpu)
    monkeypatch.setattr(_choice, "size", lambda: 2)
    with pytest.raises(ValueError, match="this run has 2 processes"):
        fits_natively(native, critic, cpu)
    assert not fits_natively(auto, critic, cpu)


def test_critics_behind_the_actors_encoder():
    """Their inputs wait for the actor's step; in double precision they learn as with torch."""
    states = {}
    for how in ("torch", "native"):
        algorithm = build("sapo", critic_fit=how, share_encoder=True, encoder_points=(8,), encoder_latent=4)
        env = diffsim_core.make("beacon", num_envs=6, dtype="float64")
        states[how], _ = run(algorithm, algorithm.init(env, 0), 2)
    for part, value in networks(states["torch"]).items():
        torch.testing.assert_close(networks(states["native"])[part], value, rtol=1e-8, atol=1e-8)


def test_a_run_from_before_the_choice_goes_on_with_torch():
    spec = RunSpec(algorithm="ppo", task="toy", config=PPOConfig(), num_envs=4, budget=Budget(iterations=1))
    assert RunSpec.from_json(spec.to_json()) == spec
    described = spec.to_json()
    for name in ("critic_fit", "policy_step", "policy_fit"):
        assert described["config"].pop(name) == "auto"
    older = RunSpec.from_json(described).config
    assert older.critic_fit == older.policy_step == older.policy_fit == "torch"
