"""Updates as one graph: on a tape in place of a GPU, which holds the capture's numbers as a CUDA graph does."""

from __future__ import annotations

import dataclasses
import functools
import gc
import re
import warnings
import weakref

import pytest
import torch

import diffsim_core
from diffrl_algos import get_algorithm
from diffrl_algos.torch import _graphed, _learner
from diffrl_algos.torch._account import Clock, settings
from diffrl_algos.torch._graphed import WARM_UP, Graphed
from diffrl_algos.torch._host_reads import HostReads
from diffsim_core import tree_map
from diffsim_core._traced import _fused

from .as_on_gpu import as_on_gpu
from .tape import Tape

SMALL = {"horizon": 4, "actor_hidden": (8,), "critic_hidden": (8,), "critic_iterations": 2, "critic_minibatches": 2}
AS_ON_CUDA = {"critic_fit": "torch", "policy_step": "torch"}
"""What auto means there."""


@pytest.fixture
def on_tape(monkeypatch):
    """Updates with ``cuda_graph`` are recorded on tapes, on a CPU."""
    monkeypatch.setattr(_graphed, "CudaGraph", lambda device: Tape())
    for module in (_graphed, _learner):
        monkeypatch.setattr(module, "require_cuda", lambda device: None)


def build(name="shac", **fields):
    entry = get_algorithm(name)
    return entry.build(entry.config_class()(**{**SMALL, **AS_ON_CUDA, **fields}))


def worlds(task="hopper", **options):
    return diffsim_core.make(task, num_envs=4, **options)


def updates(algorithm, env, count, state=None):
    """States and metrics of some updates, in worlds that are not looked at, as on a GPU."""
    found = []
    with as_on_gpu(env):
        state = algorithm.init(env, 0) if state is None else state
        for _ in range(count):
            state, metrics = algorithm.update(state)
            found.append((state, {key: value for key, value in metrics.items() if not key.endswith("_s")}))
    return found


def assert_same(algorithm, one, other):
    for (a, of_a), (b, of_b) in zip(one, other, strict=True):
        left, right = algorithm.to_arrays(a), algorithm.to_arrays(b)
        assert left.keys() == right.keys()
        for name, array in left.items():
            assert array.dtype == right[name].dtype and array.tobytes() == right[name].tobytes(), name
        assert {**of_a, "divergences": None} == {**of_b, "divergences": None}


CASES = [
    ("shac", "hopper", {}),
    ("shac", "ant", {"weight_decay": 0.01, "divergence_price": 1.0, "obs_clip": 5.0}),
    ("shac", "cartpole", {"lr_schedule": "constant", "normalize_obs": False, "critic_shuffle": False}),
    ("shac", "hopper", {"schedule_steps": 60}),
    ("sapo", "hopper", {}),
    ("agpo", "hopper", {}),
]


@pytest.mark.parametrize(("name", "task", "fields"), CASES)
def test_the_bits_are_those_of_updates_without_a_graph(name, task, fields, on_tape):
    """With schedules of learning rates that fall, and new draws in each update."""
    plain = build(name, iterations=8, **fields)
    graph = build(name, iterations=8, **fields, cuda_graph=True)
    env = worlds(task)
    with warnings.catch_warnings(action="error"):
        found = updates(graph, env, 7)
    assert graph.graphs[env].replays
    expected = updates(plain, worlds(task), 7)
    assert_same(plain, expected, found)
    rates = [metrics["actor_lr"] for _, metrics in found]
    assert len({*rates}) == {"constant": 1}.get(fields.get("lr_schedule"), 5 if "schedule_steps" in fields else 7)


def test_steps_in_one_operation_are_captured_too(on_tape, monkeypatch):
    """By the source that CUDA gets."""
    monkeypatch.setattr(_fused, "Compiled", functools.partial(_fused.Compiled, on_cuda=True))
    graph, env = build(cuda_graph=True), worlds(fused=True)
    with warnings.catch_warnings(action="error"):
        found = updates(graph, env, 6)
    assert graph.graphs[env].replays and env.fused
    assert_same(graph, updates(build(), worlds(fused=True), 6), found)


def test_resets_and_diverging_worlds_pass_through_a_replay(on_tape):
    def spoilt(state, env):
        run = state.run
        far = tree_map(lambda x: x.index_fill(0, torch.tensor([1]), 1e12), run.env_state.physics)
        late = torch.full_like(run.env_state.t, env.spec.horizon - 2)
        return state.replace(run=run._replace(env_state=run.env_state._replace(physics=far, t=late)))

    found = []
    for graph in (False, True):
        algorithm, env = build(cuda_graph=graph), worlds()
        state = updates(algorithm, env, WARM_UP + 1)[-1][0]
        found.append(updates(algorithm, env, 2, spoilt(state, env)))
    assert_same(algorithm, *found)
    metrics = found[1][0][1]
    assert metrics["diverged"] == 1 and metrics["episodes"] == 3 and len(metrics["divergences"]) == 1


def test_a_replay_is_state_in_state_out(on_tape):
    """States stay as they are, any of them may come next, and equal states give equal bits."""
    algorithm, env = build(cuda_graph=True), worlds()
    found = updates(algorithm, env, WARM_UP + 3)
    kept = [{name: array.copy() for name, array in algorithm.to_arrays(state).items()} for state, _ in found]
    again = updates(algorithm, env, 2, found[WARM_UP][0])
    assert_same(algorithm, found[WARM_UP + 1 :], again)
    for (state, _), arrays in zip(found, kept, strict=True):
        assert all(array.tobytes() == arrays[name].tobytes() for name, array in algorithm.to_arrays(state).items())


def test_counts_its_warm_up_and_is_captured_once(on_tape):
    algorithm, env = build(cuda_graph=True), worlds()
    updates(algorithm, env, WARM_UP + 2)
    calls = algorithm.graphs[env]._graph.calls
    # The rehearsal is beside too; the first replay is compared.
    assert calls == ["beside"] * (WARM_UP + 1) + ["capture"] + ["replay"] * 3


def test_a_graph_goes_with_its_worlds(on_tape):
    algorithm, env, other = build(cuda_graph=True), worlds(), worlds("cartpole")
    updates(algorithm, env, 1), updates(algorithm, other, 1)
    assert len(algorithm.graphs) == 2
    gone = weakref.ref(env)
    del env
    gc.collect()
    assert gone() is None and len(algorithm.graphs) == 1


class Failing(Tape):
    def capture(self, call, generator):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nsecond line")


class Wrong(Tape):
    """Its replays give other numbers."""

    def capture(self, call, generator):
        self.made, values = super().capture(call, generator)
        return self.made, values

    def replay(self):
        super().replay()
        self.made["changes"]["actor"].add_(0.1)


def reading(original):
    def learn(self, state, generator, clock):
        learned = original(self, state, generator, clock)
        if learned.metrics["grad_norm"] > 1e9:
            raise AssertionError
        return learned

    return learn


def of_the_host(original):
    def learn(self, state, generator, clock):
        assert state.run.episodes.finished >= 0
        return original(self, state, generator, clock)

    return learn


@pytest.mark.parametrize(
    ("tape", "change", "why"),
    [
        (Failing, None, r"its capture failed \(RuntimeError: CUDA error: operation not permitted .* capturing\)"),
        (
            Wrong,
            None,
            r"its capture failed \(ValueError: changes\.actor of its first replay is not that of the update w",
        ),
        (Tape, reading, r"its capture failed \(HostRead: _local_scalar_dense at test_graphed\.py:\d+ "),
        (Tape, of_the_host, r"its capture failed \(AttributeError: 'NoneType' object has no attribute 'finished'"),
    ],
)
def test_what_cannot_be_captured_runs_as_without_a_graph(tape, change, why, on_tape, monkeypatch):
    """With one warning, and without losing an update."""
    monkeypatch.setattr(_graphed, "CudaGraph", lambda device: tape())
    algorithm, env = build(cuda_graph=True), worlds()
    if change is not None:
        monkeypatch.setattr(type(algorithm), "learn", change(type(algorithm).learn))
    with pytest.warns(UserWarning) as told:
        found = updates(algorithm, env, WARM_UP + 3)
    assert len(told) == 1 and told[0].filename == __file__
    assert re.match("SHAC.learn runs without a CUDA graph, because " + why, str(told[0].message))
    assert not algorithm.graphs[env].works
    monkeypatch.undo()
    assert_same(algorithm, updates(build(), worlds(), WARM_UP + 3), found)


def test_a_task_that_changes_is_noticed(on_tape):
    algorithm, env = build(cuda_graph=True), worlds()
    state = updates(algorithm, env, WARM_UP + 1)[-1][0]
    env.task.rest_height = env.task.rest_height + 0.25
    with pytest.warns(UserWarning, match="because attribute 'rest_height' has changed since its capture"):
        found = updates(algorithm, env, 2, state)
    assert_same(algorithm, updates(build(), env, 2, state), found)


def test_other_shapes_are_refused(on_tape):
    algorithm, env = build(cuda_graph=True), worlds()
    state = updates(algorithm, env, WARM_UP)[-1][0]
    fewer = state.replace(actor=state.actor[:1])
    with pytest.raises(ValueError, match=r"actor is torch.float32\[1\], but the graph of SHAC.learn was captured with"):
        updates(algorithm, env, 1, fewer)


def test_a_cpu_is_refused():
    algorithm = build(cuda_graph=True)
    with pytest.raises(
        ValueError, match="cuda_graph is true, but the device is cpu; use --device cuda, or cuda_graph=f"
    ):
        algorithm.init(worlds(), 0)
    state = build().init(worlds(), 0)
    with pytest.raises(ValueError, match="cuda_graph is true, but the device is cpu"):
        algorithm.update(state)
    assert algorithm.policy(algorithm.template(worlds()))(state.run.obs).shape == (4, 3)  # to act needs no graph


def test_several_processes_are_refused(monkeypatch, on_tape):
    monkeypatch.setattr(_learner, "size", lambda: 2)
    with pytest.raises(ValueError, match="cuda_graph is true, but this run has 2 processes; use cuda_graph=false"):
        build(cuda_graph=True).init(worlds(), 0)


def test_the_tape_holds_numbers_of_the_host_as_they_were():
    """So the tests above would see a learning rate that the graph holds."""
    algorithm, env = build(iterations=8), worlds()
    rates = iter([0.5, 0.25, 0.125, 0.1, 0.05])

    def learn(state, generator, clock):
        learned = algorithm.learn(state, generator, clock)
        metrics = {**learned.metrics, "rate": state.run.obs.new_full((), rate)}
        return dataclasses.replace(learned, metrics=metrics)

    graph = Graphed(learn, "learn", Tape(), warm_up=1)
    rate = next(rates)
    with as_on_gpu(env), settings(algorithm.config):
        state = algorithm.init(env, 0)
        for _ in range(3):
            learned, _ = graph(state, Clock())
            rate = next(rates)
    assert graph.replays and learned.metrics["rate"] == 0.5


@pytest.mark.gpu
@pytest.mark.parametrize("task", ["hopper", "ant"])
@pytest.mark.parametrize("fused", [False, True])
def test_on_a_gpu_a_graph_gives_the_updates_without_one(task, fused):
    found = []
    for graph in (False, True):
        algorithm = build(cuda_graph=graph, iterations=20)
        env = diffsim_core.make(task, num_envs=64, device="cuda", fused=fused)
        state = algorithm.init(env, 0)
        with warnings.catch_warnings(action="error"):
            for _ in range(WARM_UP + 3):
                state, metrics = algorithm.update(state)
        found.append((algorithm.to_arrays(state), metrics))
        assert not graph or algorithm.graphs[env].replays
    for name, array in found[0][0].items():
        one, other = (torch.from_numpy(x).double() for x in (array, found[1][0][name]))
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3, msg=lambda text, name=name: name + text)
    assert found[0][1]["actor_lr"] == pytest.approx(found[1][1]["actor_lr"])


@pytest.mark.gpu
def test_on_a_gpu_learn_reads_nothing():
    algorithm, env = build(), diffsim_core.make("ant", num_envs=64, device="cuda")
    state, _ = algorithm.update(algorithm.init(env, 0))
    with settings(algorithm.config), HostReads("learn"):
        algorithm.learn(state, state.run.generator(), Clock())
