"""On a GPU the host must not wait for numbers in the middle of an update: seen here, where reading costs nothing."""

from __future__ import annotations

import contextlib
from collections import Counter

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import get_algorithm
from diffrl_algos.torch import _account
from diffrl_algos.torch._host_reads import HostRead, HostReads
from diffsim_core import tree_map

from .as_on_gpu import as_on_gpu


def learner(name: str, task: str, **fields):
    entry = get_algorithm(name)
    config_class = entry.config_class()
    known = config_class.__dataclass_fields__
    fields = {"critic_fit": "torch", "policy_step": "torch", **fields}  # what auto means on CUDA
    config = config_class(actor_hidden=(8,), **{key: value for key, value in fields.items() if key in known})
    return entry.build(config), diffsim_core.make(task, num_envs=8)


def reads(name: str, horizon: int, minibatches: int) -> Counter[str]:
    """Reads of the second update in addition to that of ``account``, in worlds that are not looked at, as on a GPU."""
    algorithm, env = learner(name, "hopper", horizon=horizon, critic_minibatches=minibatches)
    with as_on_gpu(env):
        state, _ = algorithm.update(algorithm.init(env, 0))
        with HostReads(refuse=False) as mode, one_transfer():
            algorithm.update(state)
    # Not what is done with the numbers that account has brought to the host, nor numbers brought to the device.
    others = ("cpu", "numpy", "tolist", "tensor")
    return Counter({key: count for key, count in mode.found.items() if key not in others})


@contextlib.contextmanager
def one_transfer():
    """Count the one transfer in which ``account`` reads all."""
    read, transfers = _account._read, []
    _account._read = lambda learned: transfers.append(learned) or read(learned)
    try:
        yield
    finally:
        _account._read = read
    assert len(transfers) == 1


@pytest.mark.parametrize(
    ("name", "most"), [("shac", 0), ("sapo", 0), ("apg", 0), ("agpo", 0), ("ppo", 6), ("gippo", 11)]
)
def test_reads_do_not_grow_with_the_window(name, most):
    """Of AHAC they do: its critic is fitted until its loss stands still."""
    few, many = reads(name, 8, 2), reads(name, 16, 8)
    assert many == few and few["_local_scalar_dense"] == few.total() <= most


@pytest.mark.parametrize(
    ("name", "task"),
    [("shac", "cartpole"), ("shac", "hopper"), ("shac", "ant"), ("sapo", "hopper"), ("apg", "hopper"), ("agpo", "ant")],
)
def test_learn_reads_nothing(name, task, monkeypatch):
    """With resets and a diverging world in its windows; what the host must know, ``account`` reads."""
    algorithm, env = learner(name, task, horizon=8, critic_iterations=2)
    original, ran = type(algorithm).learn, []

    def learn(self, state, generator, clock):
        with HostReads("learn"):
            ran.append(original(self, state, generator, clock))
        return ran[-1]

    with as_on_gpu(env):
        state, _ = algorithm.update(algorithm.init(env, 0))
        monkeypatch.setattr(type(algorithm), "learn", learn)
        run = state.run
        far = tree_map(lambda x: x.index_fill(0, torch.tensor([3]), 1e12), run.env_state.physics)
        late = torch.full_like(run.env_state.t, env.spec.horizon - 2)
        env_state = run.env_state._replace(physics=far, t=late)
        _, metrics = algorithm.update(state.replace(run=run._replace(env_state=env_state)))
    assert metrics["diverged"] == 1 and metrics["episodes"] >= 7 and len(ran) == 1


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda x: bool((x > 1).any()), "_local_scalar_dense"),
        (lambda x: 1 if x[0] else 2, "_local_scalar_dense"),
        (lambda x: range(int(x[1])), "_local_scalar_dense"),
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: torch.is_nonzero(x[0]), "_local_scalar_dense"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: x.numpy(), "numpy"),
        (lambda x: np.asarray(x), "__array__"),
        (lambda x: x.cpu(), "cpu"),
        (lambda x: x.to("cpu"), "to"),
        (lambda x: x[x > 1], "index"),
        (lambda x: x.index_put_((x > 0,), x[:2].clone()), "index_put_"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x.masked_select(x > 1), "masked_select"),
        (lambda x: torch.equal(x, x), "equal"),
        (lambda x: torch.unique(x), "_unique2"),
        (lambda x: x.repeat_interleave(x.long()), "repeat_interleave"),
        (lambda x: torch.bincount(x.long()), "bincount"),
        (lambda x: torch.tensor(1.0), "tensor"),
        (lambda x: torch.as_tensor([1.0]), "as_tensor"),
    ],
)
def test_a_read_is_refused_and_named(read, name):
    x = torch.arange(3.0)
    with pytest.raises(HostRead, match=rf"^{name} at test_host_reads\.py:\d+ .* compute with tensors"), HostReads():
        read(x)
    with HostReads(refuse=False) as mode:
        read(x)
    assert mode.found == {name: 1}


def test_in_a_backward_pass_too():
    class Reading(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g * float(g.sum())

    x = torch.ones(3, requires_grad=True)
    with pytest.raises(HostRead, match=r"_local_scalar_dense at test_host_reads\.py"), HostReads("learn"):
        torch.autograd.grad(Reading.apply(x).sum(), x)


def test_what_stays_on_the_device_is_let_pass():
    x, index = torch.arange(3.0), torch.tensor([0, 2])
    with HostReads():
        torch.where(x > 1, x, 0.0)
        x[index], x[0], x.split(1), x.to(torch.float64), x.to(x.device), torch.as_tensor(x)
        x.repeat_interleave(2), torch.full((), 2.0), torch.randperm(5), x.masked_fill(x > 1, 0.0)
        x.repeat_interleave(index.new_ones(3), output_size=3)
        x[x > 1] = 2.0
        x.copy_(x + x.shape[0])
