"""A window as one node of the graph, against the same window with nodes for every step."""

from __future__ import annotations

import gc

import pytest
import torch

import diffsim_core
import diffsim_traffic as diffsim_traffic
from diffrl_algos.torch import _native_window, _window
from diffrl_algos.torch._credit_graph import CreditGraph
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._normalize import Normalizer
from diffrl_algos.torch._policy import GaussianActor
from diffsim_core import TaskEnv, _shelf
from diffsim_core._tree import tree_leaves

from .test_family import LEARN_THROUGH_GRADIENTS, build, run, same_bits

STEPS = 10
WORLDS = {
    "ends of every kind, and divergence": ("toy", {"limit": 0.9, "horizon": 4, "breaks": 0.7}),
    "memory": ("ant", {"episode_length": 6, "threads": 1}),
    "constants that vary": ("pace_car_1", {"episode_length": 6, "threads": 1}),
}
OTHERWISE = {"ahac", "pe", "pods", "trajopt"}
"""Algorithms with hooks between steps, with worlds that they wrap, and those that roll out no network."""
BLOCKS = 1e30
"""A weight whose gradients the gate blocks."""


class Run:
    """Where a window begins, for worlds and a policy with random parameters."""

    def __init__(self, task, options, *, spread=False, clip=None, fused=True, num_envs=5, dtype="float32"):
        self.env = diffsim_core.make(task, num_envs=num_envs, fused=fused, dtype=dtype, **options)
        self.env_state, self.obs = self.env.reset(3)
        spec, g = self.env.spec, torch.Generator().manual_seed(1)
        outputs = spec.num_actions * (2 if spread else 1)
        self.actor = GaussianActor(MLP((spec.num_obs, 17, outputs), "elu", True), spread, (-2.0, 0.5))
        self.flat = self.actor.init(g, logstd=-0.5, gain=1.0).to(self.obs).requires_grad_()
        self.eps = torch.randn((STEPS, num_envs, spec.num_actions), generator=g).to(self.obs)
        one = torch.ones_like(self.obs[0])
        self.normalizer = Normalizer(0.1 * one, 0.5 * one, None if clip is None else clip * one)

    def explore(self, **options):
        options = {"policy_step": "native", "push": True, **options}
        return _window.explore(self.actor, self.flat, self.normalizer, self, self.eps, **options)  # pyright: ignore[reportArgumentType]


def numbers(window):
    """Everything in a window that is an array, by name."""
    return dict(tree_leaves(window._asdict()))


def made_of(window):
    """What has a derivative: outputs of the worlds and of the policy, and the state after the window."""
    return {name: x for name, x in numbers(window).items() if x.requires_grad and name not in ("push", "lost")}


@pytest.fixture
def one_node(monkeypatch):
    """Counts windows that are one node; called with False, there are none."""
    original, taken = _native_window.roll_out, []

    def set_(allowed):
        def roll_out(*arguments):
            found = original(*arguments) if allowed else None
            taken.append(found is not None)
            return found

        monkeypatch.setattr(_native_window, "roll_out", roll_out)
        taken.clear()
        return taken

    return set_


def pulled(start, window, weights):
    total = sum((weights[name] * x).sum() for name, x in made_of(window).items() if name in weights)
    return torch.autograd.grad(total, [start.flat, window.push, window.lost], allow_unused=True, retain_graph=True)


@pytest.mark.parametrize("which", ["all", "final_obs", "last", "policy", "blocked"])
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("worlds", WORLDS)
def test_it_has_the_bits_of_a_graph_of_steps(worlds, spread, which, one_node):
    """All numbers, and the gradients of any weighted sum of them, of parameters, push and ``lost``; and those again."""
    windows, grads = [], []
    for allowed in (False, True):
        taken = one_node(allowed)
        start = Run(*WORLDS[worlds], spread=spread, clip=0.6)
        window = start.explore()
        assert taken == [allowed] and start.env.fused
        g = torch.Generator().manual_seed(2)
        weights = {name: torch.randn(x.shape, generator=g) for name, x in sorted(made_of(window).items())}
        kept = {
            "all": lambda name: True,
            "final_obs": lambda name: name == "trajectory.final_obs",
            "last": lambda name: name.startswith(("env_state", "obs")),
            "policy": lambda name: name in ("u", "policy.mean", "trajectory.action"),
            "blocked": lambda name: name == "trajectory.reward",
        }[which]
        weights = {name: x for name, x in weights.items() if kept(name)}
        if which == "blocked":
            weights["trajectory.reward"][STEPS // 2, 1] = BLOCKS
        windows.append(window)
        grads.append(pulled(start, window, weights))
        again = pulled(start, window, weights)
        assert all(x is y is None or torch.equal(x, y) for x, y in zip(grads[-1], again, strict=True))
    steps, one = map(numbers, windows)
    assert steps.keys() == one.keys() and made_of(windows[0]).keys() == made_of(windows[1]).keys()
    for name, x in steps.items():
        assert torch.equal(x, one[name]) or (x.isnan() == one[name].isnan()).all(), name
    assert windows[0].trajectory.done.any() and float(grads[0][0].norm()) > 0
    assert bool(windows[0].trajectory.diverged.any()) == (worlds in [*WORLDS][:1])
    if which == "blocked":
        assert 0 < grads[0][2].sum() < grads[0][2].numel()
    for x, y in zip(*grads, strict=True):
        assert (x is None and (y is None or not y.any())) or torch.equal(x, y)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("spread", [False, True])
def test_actions_have_the_same_gradients_where_the_policy_does_not_learn_from_them(spread, allowed, one_node):
    """Without gradients of the parameters, as one node and as a graph of steps; some are blocked."""
    taken, found = one_node(allowed), []
    for learns in (True, False):
        start = Run("ant", {"episode_length": 6, "threads": 1}, spread=spread)
        start.flat = start.flat.detach().requires_grad_(learns)
        window = start.explore()
        weights = torch.ones_like(window.trajectory.reward)
        weights[STEPS // 2, 1] = BLOCKS
        total = (window.trajectory.reward * weights).sum() + window.policy.logstd.sum()
        found.append(torch.autograd.grad(total, [window.push, window.lost]))
    assert taken == [allowed] * 2
    assert all(map(torch.equal, *found))
    assert found[0][0].abs().max() > 0 and found[0][1].any()


@pytest.mark.parametrize(("worlds", "rule"), [*((worlds, None) for worlds in WORLDS), (next(iter(WORLDS)), torch.tanh)])
def test_links_pass_what_a_graph_of_steps_passes(worlds, rule, one_node):
    """Closed, and opened by factors of which some are zero, with a step whose gradient overflows."""
    grads = []
    for allowed in (False, True):
        taken = one_node(allowed)
        start, g = Run(*WORLDS[worlds]), torch.Generator().manual_seed(5)
        links = CreditGraph(STEPS, start.eps[0], rule)
        window = start.explore(links=links)
        assert taken == [allowed]
        reward, final_obs = window.trajectory.reward, window.trajectory.final_obs
        weights = [torch.randn(x.shape, generator=g) for x in (reward, final_obs)]
        weights[0][STEPS - 2, 1] = torch.inf
        total = (weights[0] * reward).sum() + (weights[1] * final_obs).sum()
        (first,) = torch.autograd.grad(total, links.action_push, retain_graph=True)
        links.open(torch.rand(reward.shape, generator=g).sub(0.3).clamp(min=0.0))
        opened = torch.autograd.grad(total, [start.flat, window.push, window.lost, links.action_push])
        grads.append([first, *opened])
    for x, y in zip(*grads, strict=True):
        assert torch.equal(x.nan_to_num(7.0), y.nan_to_num(7.0))
    first, flat, push, _, action_push = grads[0]
    assert all(x.isfinite().any() and x.nan_to_num().any() for x in (first, flat, push, action_push))


@pytest.mark.parametrize("name", LEARN_THROUGH_GRADIENTS)
def test_every_algorithm_has_the_same_bits(name, worlds, one_node):
    ends = []
    for allowed in (False, True):
        taken = one_node(allowed)
        algorithm = build(name, policy_step="native", critic_fit="native")
        ends.append(run(algorithm, algorithm.init(worlds(fused=True), 5), 3)[0])
        assert any(taken) == (allowed and name not in OTHERWISE)
    assert same_bits(*ends)


def test_the_gradient_is_that_of_central_differences():
    """In double precision, along random directions."""
    start = Run("toy", {"limit": 50.0, "horizon": 4}, dtype="float64")
    weights = torch.randn((STEPS, 5), generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def value():
        return (start.explore().trajectory.reward * weights).sum()

    (grad,) = torch.autograd.grad(value(), start.flat)
    for seed in range(5):
        along = torch.randn(start.flat.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                start.flat += sign * 1e-5 * along
                ends.append(float(value()))
                start.flat -= sign * 1e-5 * along
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(grad @ along), rel=1e-6)


def test_where_it_cannot_be_one_node_it_is_not(one_node):
    """Separate steps, wrapped worlds, hooks, torch's policy, and a state that has a graph of its own."""

    class Wrapped:
        def __init__(self, env):
            self.env = env

        def __getattr__(self, name):
            return getattr(self.env, name)

    taken = one_node(True)
    start = Run("toy", {})
    start.explore(between=lambda step, state, obs: (state, obs))
    start.explore(policy_step="torch")
    assert taken == []
    start.explore(env=Wrapped(start.env))
    with torch.no_grad():
        start.explore(push=False)
    Run("toy", {}, fused=False).explore()
    physics = start.env_state.physics
    start.env_state = start.env_state._replace(physics=physics._replace(x=physics.x.clone().requires_grad_()))
    start.explore()
    assert taken == [False] * 4


def test_a_task_that_changes_within_a_window_is_taken_again_by_separate_steps(one_node):
    """As if it had been separate from the first step on."""

    class Changing(type(diffsim_core.make("toy", num_envs=1).task)):
        left, weight = STEPS // 2, 1.0

        def reward(self, xp, physics, action, next_physics, next_obs, task):
            return self.weight * next_obs[:, 0]

    taken = one_node(True)
    grads = []
    for change in (True, False):
        start = Run("toy", {})
        start.env = TaskEnv(Changing("float32", 2.0, 20, 1e6), 5, arrays="torch", fused=change)
        step, count = start.env._check_action, []

        def check(action, env=start.env, step=step, count=count):
            count.append(1)
            if len(count) == STEPS // 2:
                env.task.weight = 2.0
            step(action)

        if change:
            start.explore()
            assert taken == [True]
            start.env._check_action = check
        else:
            start.env.task.weight = 2.0
        window = start.explore()
        assert taken[-1] is False and not start.env.fused
        grads.append(torch.autograd.grad(window.trajectory.reward.sum(), start.flat)[0])
    torch.testing.assert_close(*grads)


def test_a_second_derivative_is_refused():
    start = Run("toy", {})
    window = start.explore()
    (grad,) = torch.autograd.grad(window.trajectory.reward.sum(), window.push, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        grad.square().sum().backward()


def test_windows_that_are_held_at_once_share_nothing():
    """What a window keeps in room that it borrowed is its own until it is gone."""
    start = Run("toy", {"limit": 50.0, "horizon": 4})
    before = tuple(x.clone() for x in numbers(start.explore()).values())
    window = start.explore()
    values, weights = numbers(window), {"trajectory.reward": torch.ones(STEPS, 5)}
    expected = pulled(start, window, weights)
    with torch.no_grad():
        start.obs, start.flat = start.obs + 1.0, start.flat + 0.1
    start.flat.requires_grad_()
    others = [start.explore() for _ in range(2)]
    found = torch.autograd.grad(window.trajectory.reward.sum(), [window.push, window.lost])
    assert all(map(torch.equal, expected[1:], found))
    assert all(map(torch.equal, before, values.values()))
    assert all(map(torch.equal, *(numbers(other).values() for other in others)))
    assert not torch.equal(others[0].u, window.u)


def test_what_a_window_hands_out_is_not_what_its_way_back_reads():
    """Whoever changes numbers of a trajectory, of its last state or of the policy leaves the gradients as they are."""
    start = Run("ant", {"episode_length": 6, "threads": 1}, clip=0.6)
    window = start.explore()
    weights = {name: torch.ones_like(x) for name, x in made_of(window).items()}
    expected = pulled(start, window, weights)
    ours = {"push", "lost", "eps"}  # which the way back reads
    for name, x in numbers(window).items():
        if name not in ours and not name.startswith(("trajectory.divergences", "policy.logstd")):
            x.detach().zero_()
    assert all(map(torch.equal, expected, pulled(start, window, weights)))


def test_nothing_is_held_once_the_window_is_gone(monkeypatch):
    """Without waiting for the collector of cycles: a window's tape is hundreds of megabytes."""
    held = []

    class Counted(_shelf.Borrowed):
        def __init__(self, tensor, free):
            super().__init__(tensor, free)
            held.append(id(self))

        def __del__(self):
            held.remove(id(self))
            super().__del__()

    monkeypatch.setattr(_shelf, "Borrowed", Counted)
    start = Run("toy", {})
    gc.disable()
    try:
        window = start.explore()
        torch.autograd.grad(window.trajectory.reward.sum(), start.flat)
        assert len(held) == STEPS + 1  # of the simulator's steps, and of the policy's network
        del window
        assert not held
    finally:
        gc.enable()
