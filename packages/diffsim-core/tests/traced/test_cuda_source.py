"""Steps in one operation on CUDA: the source compiles for a GPU, and run on a CPU it gives the task's own numbers."""

from __future__ import annotations

import warnings

import pytest
import torch
import warp as wp

import diffsim_core
from diffsim_core._traced import FusedStep, differentiated
from diffsim_core.check import check_env

from . import test_operations, test_tasks
from .for_cuda import for_cuda
from .tasks import observing

FUNCTIONS = ("before", "after", "renew_done", "after_vjp", "before_vjp")


def compiled(env):
    """What an environment's steps were compiled to; it must have them in one operation."""
    with warnings.catch_warnings(action="error"):
        state, _ = env.reset(0)
        env.step(state, torch.zeros(env.num_envs, env.spec.num_actions, dtype=getattr(torch, env.dtype)))
    assert env.fused
    return env._fused._node.compiled


def cubin(module, folder, arch):
    wp.compile_aot_module(module, device=None, arch=arch, module_dir=str(folder), use_ptx=False, strip_hash=True)
    (file,) = folder.glob("*.cubin")
    return file.read_bytes()


@pytest.mark.parametrize(("task", "dtype", "arch"), [("ant", "float32", 90), ("cartpole", "float64", 80)])
def test_compiles_to_a_cubin(tmp_path, monkeypatch, task, dtype, arch):
    for_cuda(monkeypatch)
    code = cubin(compiled(diffsim_core.make(task, num_envs=3, dtype=dtype, fused=True)).module(), tmp_path, arch)
    assert code.startswith(b"\x7fELF")
    assert all(f"{name}_cuda_kernel_forward".encode() in code for name in FUNCTIONS)


def test_every_operation_compiles_to_a_cubin(tmp_path, monkeypatch):
    for_cuda(monkeypatch)
    env = observing(lambda xp, x: x, dtype="float32", columns=test_operations.COLUMNS)
    assert b"after_vjp_cuda_kernel_forward" in cubin(compiled(env).module(), tmp_path, 90)


@pytest.mark.parametrize("task", ["cartpole", "ant", "hopper", "ackley"])
def test_the_source_gives_the_numbers_of_the_task(monkeypatch, task):
    """To 1e-10, at ordinary and hostile states, with resets and worlds that are lost."""
    for_cuda(monkeypatch)
    env = diffsim_core.make(task, num_envs=test_tasks.N, dtype="float64", fused=True)
    assert compiled(env).on_cuda
    test_tasks.test_steps_and_gradients_agree(env)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operations_are_those_of_pytorch(monkeypatch, dtype):
    for_cuda(monkeypatch)
    test_operations.test_values_and_derivatives_are_those_of_pytorch(dtype)


def test_windows_and_promises_hold(monkeypatch):
    for_cuda(monkeypatch)
    test_tasks.test_a_window_of_steps_with_resets_has_the_gradient_of_separate_steps()
    check_env(diffsim_core.make("hopper", num_envs=16, fused=True), fewer=diffsim_core.make("hopper", num_envs=5))


def test_the_number_of_operations_does_not_depend_on_what_ends(monkeypatch):
    """As a graph needs it: every step begins episodes, and keeps them where a world is done."""
    for_cuda(monkeypatch)
    env = diffsim_core.make("hopper", num_envs=4, fused=True)
    compiled(env)
    state, _ = env.reset(0)
    action = torch.zeros(4, 3)
    after, row = env.step(state, action)
    assert not (row.terminated | row.truncated).any()
    assert row.obs is not row.final_obs and torch.equal(row.obs, row.final_obs)
    late = state._replace(t=torch.tensor([0, 999, 0, 999], dtype=torch.int32))
    again, over = env.step(late, action)
    assert over.truncated.tolist() == [False, True, False, True] and again.episode.tolist() == [0, 1, 0, 1]
    assert again.t.tolist() == [1, 0, 1, 0]
    assert torch.equal(again.physics.q[0], after.physics.q[0]) and not torch.equal(
        again.physics.q[1], after.physics.q[1]
    )


@pytest.mark.gpu
@pytest.mark.parametrize("task", ["cartpole", "ant"])
def test_on_a_gpu_steps_and_gradients_are_those_of_a_cpu(task):
    found = []
    for device in ("cpu", "cuda"):
        env = diffsim_core.make(task, num_envs=67, dtype="float64", device=device, fused=True)
        generator = torch.Generator().manual_seed(0)
        state, _ = env.reset(0)
        action = 2 * torch.rand(67, env.spec.num_actions, generator=generator, dtype=torch.float64) - 1
        state = state._replace(t=torch.where(torch.arange(67) % 3 == 0, env.spec.horizon - 1, 0).int().to(device))
        env.step(state, action.to(device))
        assert env.fused and isinstance(env._fused, FusedStep)
        step = differentiated(env.step, state, action.to(device))
        found.append({name: x.cpu() for name, x in {**step.values, **step.gradients}.items()})
    for name, one in found[0].items():
        torch.testing.assert_close(found[1][name], one, rtol=1e-8, atol=1e-8, msg=lambda text, name=name: name + text)
