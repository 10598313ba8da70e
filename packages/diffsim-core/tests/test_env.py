"""``TaskEnv``: one step and auto-reset for torch and JAX; ``make`` and the registry."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import diffsim_core
from diffsim_core import EnvState, EpisodeRandom, rollout, stop_gradient
from diffsim_core.check import check_env

from .pendulum import Pendulum, PendulumState, make_pendulum

pytestmark = pytest.mark.usefixtures("both_ways")


@pytest.mark.parametrize(("arrays", "dtype"), [("torch", "float32"), ("torch", "float64"), ("jax", "float32")])
def test_keeps_every_promise(arrays, dtype):
    tested = check_env(make_pendulum(16, arrays, dtype=dtype), fewer=make_pendulum(5, arrays, dtype=dtype))
    assert len(tested) == 8


@pytest.mark.gpu
@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_keeps_every_promise_on_a_gpu(arrays):
    env = make_pendulum(16, arrays, device="cuda")
    assert len(check_env(env, fewer=make_pendulum(5, arrays, device="cuda"))) == 8


@pytest.mark.gpu
def test_a_gpu_steps_like_a_cpu_on_whatever_stream_is_current():
    on_cpu, on_gpu = make_pendulum(64), make_pendulum(64, device="cuda")
    (state, obs), (state_gpu, obs_gpu) = on_cpu.reset(0), on_gpu.reset(0)
    torch.testing.assert_close(obs_gpu.cpu(), obs, rtol=1e-6, atol=1e-6)
    with torch.cuda.stream(torch.cuda.Stream()):
        action = torch.full((64, 2), 0.3)
        for _ in range(30):
            state, row = on_cpu.step(state, action)
            state_gpu, row_gpu = on_gpu.step(state_gpu, action.cuda())
        torch.cuda.current_stream().synchronize()
    torch.testing.assert_close(row_gpu.obs.cpu(), row.obs, rtol=1e-4, atol=1e-4)
    assert torch.equal(row_gpu.truncated.cpu(), row.truncated)


def test_torch_and_jax_give_the_same_objective_and_gradient_through_resets():
    """64 worlds, 50 steps of a linear policy, with time limits and early terminations inside the window."""
    weights = 0.7 * np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    on_torch, on_jax = make_pendulum(64, "torch", fall=3.0), make_pendulum(64, "jax", fall=3.0)

    w = torch.tensor(weights, requires_grad=True)
    seen, *_ = rollout(on_torch, lambda obs: torch.tanh(obs @ w), *on_torch.reset(3), 50)
    objective = seen.reward.mean() + seen.final_obs.mean()
    objective.backward()

    @jax.jit
    def run(w):
        seen, *_ = rollout(on_jax, lambda obs: jnp.tanh(obs @ w), *on_jax.reset(3), 50)
        return seen.reward.mean() + seen.final_obs.mean(), seen

    (objective_jax, seen_jax), grad_jax = jax.value_and_grad(run, has_aux=True)(jnp.asarray(weights))
    assert seen.terminated.sum() > 10 and seen.truncated.sum() > 10
    np.testing.assert_array_equal(seen.terminated, seen_jax.terminated)
    np.testing.assert_array_equal(seen.truncated, seen_jax.truncated)
    np.testing.assert_allclose(objective.item(), objective_jax, rtol=1e-6)
    scale = np.abs(grad_jax).max()
    np.testing.assert_allclose(w.grad, grad_jax, rtol=0, atol=1e-6 * scale)


def gradient_of(env, target) -> float:
    """Largest entry of the gradient of ``target(state, transition)`` of a truncated step, over the actions before."""
    state, _ = env.reset(0)
    if env.arrays == "torch":
        action = torch.full((env.num_envs, 2), 0.3, requires_grad=True)
        for _ in range(env.spec.horizon):
            state, transition = env.step(state, action)
        assert transition.truncated.all()
        (grad,) = torch.autograd.grad(target(state, transition).sum(), action)
        return float(grad.abs().max())

    def run(action):
        now = state
        for _ in range(env.spec.horizon):
            now, transition = env.step(now, action)
        return target(now, transition).sum()

    return float(jnp.abs(jax.jit(jax.grad(run))(jnp.full((env.num_envs, 2), 0.3))).max())


@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_nothing_passes_a_reset_and_final_obs_carries_everything(arrays):
    env = make_pendulum(6, arrays, horizon=5)
    assert gradient_of(env, lambda state, row: row.final_obs) > 0.01
    assert gradient_of(env, lambda state, row: row.reward) > 0.01
    assert gradient_of(env, lambda state, row: row.obs) == 0
    assert gradient_of(env, lambda state, row: state.physics.q + state.physics.qd + state.task) == 0


def test_terminated_and_truncated_say_why():
    env = make_pendulum(4, horizon=3, fall=5.0)
    state, _ = env.reset(0)
    qd = state.physics.qd.clone()
    qd[:] = 0.0
    qd[1, 0] = 9.0
    state = state._replace(physics=state.physics._replace(qd=qd))
    action = torch.zeros(4, 2)
    state, row = env.step(state, action)
    assert row.terminated.tolist() == [False, True, False, False] and not row.truncated.any()
    assert state.t.tolist() == [1, 0, 1, 1] and state.episode.tolist() == [0, 1, 0, 0]
    assert torch.equal(row.obs[[0, 2, 3]], row.final_obs[[0, 2, 3]]) and not torch.equal(row.obs[1], row.final_obs[1])
    assert abs(10 * row.final_obs[1, 4]) > 5 > abs(10 * row.obs[1, 4])
    for _ in range(2):
        state, row = env.step(state, action)
    assert row.truncated.tolist() == [True, False, True, True] and not row.terminated.any()
    # termination wins where both would hold
    qd = torch.full((4, 2), 9.0)
    late = EnvState(PendulumState(torch.zeros(4, 2), qd), state.task, torch.full_like(state.t, 2), *state[3:])
    _, row = env.step(late, action)
    assert row.terminated.all() and not row.truncated.any()


def test_new_episodes_start_from_their_own_numbers():
    env = make_pendulum(5, horizon=2)
    state, obs = env.reset(7)
    starts = [obs]
    for step in range(6):
        state, row = env.step(state, torch.zeros(5, 2))
        if step % 2:
            starts.append(row.obs)
            random = EpisodeRandom(state.seed, state.episode, dtype="float32", device="cpu")
            (q, qd), _ = env.task.initial(env.xp, random)
            assert torch.equal(state.physics.q, q) and torch.equal(state.physics.qd, qd)
    assert len(torch.cat(starts).unique(dim=0)) == 20


def test_two_halves_make_a_whole():
    """For data-parallel training: world_offset decides the random numbers."""
    whole, first, second = make_pendulum(8), make_pendulum(3), make_pendulum(5, world_offset=3)
    actions = torch.rand(30, 8, 2) * 2 - 1
    states = [env.reset(1)[0] for env in (whole, first, second)]
    for action in actions:
        rows = []
        parts = (action, action[:3].contiguous(), action[3:].contiguous())
        for k, (env, part) in enumerate(zip((whole, first, second), parts, strict=True)):
            states[k], row = env.step(states[k], part)
            rows.append(row)
        for name in ("reward", "obs", "final_obs", "truncated"):
            together = getattr(rows[0], name)
            assert torch.equal(together, torch.cat([getattr(row, name) for row in rows[1:]]))
    assert states[0].episode.min() > 0


def test_clipping_has_one_derivative_in_both_libraries():
    action = np.zeros((4, 2), dtype=np.float32)
    action[:, 0] = [-1.0, 1.0, 1.5, -0.5]
    leaf = torch.tensor(action, requires_grad=True)
    on_torch, on_jax = make_pendulum(4), make_pendulum(4, "jax")
    on_torch.step(on_torch.reset(0)[0], leaf)[1].reward.sum().backward()
    state, _ = on_jax.reset(0)
    grad_jax = jax.jit(jax.grad(lambda a: on_jax.step(state, a)[1].reward.sum()))(jnp.asarray(action))
    grads = [leaf.grad.numpy(), np.asarray(grad_jax)]
    assert grads[0][2, 0] == 0 and (grads[0][[0, 1, 3], 0] != 0).all()
    np.testing.assert_allclose(*grads, rtol=1e-5, atol=1e-7)


def test_actions_given_as_slices_are_accepted():
    env = make_pendulum(4)
    state, _ = env.reset(0)
    wide = torch.rand(4, 5)
    a, b = env.step(state, wide[:, 1:3]), env.step(state, wide[:, 1:3].clone())
    assert torch.equal(a[1].reward, b[1].reward)


def test_without_looking_first_the_step_is_the_same():
    """On CUDA the reset is always computed, to save waiting; both ways must agree."""
    looking, blind = make_pendulum(6, horizon=4), make_pendulum(6, horizon=4)
    blind._look = False
    one, two = looking.reset(0)[0], blind.reset(0)[0]
    for action in torch.rand(9, 6, 2):
        (one, row), (two, other) = looking.step(one, action), blind.step(two, action)
        for a, b in zip([*one.physics, *row[:6]], [*two.physics, *other[:6]], strict=True):
            assert torch.equal(a, b)


def test_spec_and_metrics():
    env = make_pendulum(3)
    assert (env.spec.name, env.spec.num_obs, env.spec.num_actions, env.spec.horizon) == ("pendulum", 8, 2, 20)
    assert isinstance(env, diffsim_core.Env)
    state, row = env.step(env.reset(0)[0], torch.zeros(3, 2))
    assert torch.equal(row.metrics["speed"], state.physics.qd[:, 0].abs())


class WrongShape(Pendulum):
    num_obs = 9


class WrongStart(Pendulum):
    def initial(self, xp, random):
        (q, qd), task = super().initial(xp, random)
        return (q, qd[:, :1]), task


def test_errors():
    env = make_pendulum(3)
    state, _ = env.reset(0)
    with pytest.raises(ValueError, match=r"action has shape \(2, 2\), expected \(3, 2\)"):
        env.step(state, torch.zeros(2, 2))
    with pytest.raises(TypeError, match=r"action is a jax array.*made for torch"):
        env.step(state, jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="seed must be an integer from 0"):
        env.reset(-1)
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        make_pendulum(0)
    with pytest.raises(ValueError, match="world_offset must not be negative"):
        make_pendulum(3, world_offset=-1)
    with pytest.raises(ValueError, match="'torch' or 'jax', got 'numpy'"):
        make_pendulum(3, "numpy")
    with pytest.raises(ValueError, match="jax_enable_x64"):
        make_pendulum(3, "jax", dtype="float64")
    with pytest.raises(ValueError, match="dtype='float64', but the dynamics of task 'pendulum' was made for 'float32'"):
        diffsim_core.TaskEnv(Pendulum(), 3, arrays="torch", dtype="float64")
    for task, message in ((WrongShape(), r"observe returned shape \(3, 8\).*expected \(3, 9\)"),
                          (WrongStart(), r"initial returned qd of shape \(3, 1\).*expected \(3, 2\)")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            diffsim_core.TaskEnv(task, 3, arrays="torch").reset(0)


def test_a_window_is_cut_by_stop_gradient():
    env = make_pendulum(3)
    action = torch.full((3, 2), 0.2, requires_grad=True)
    state, _ = env.step(env.reset(0)[0], action)
    cut, _ = env.step(stop_gradient(state), action.detach())
    assert state.physics.q.requires_grad and not cut.physics.q.requires_grad


def factory(*, num_envs, device, dtype, horizon=20, fall=14.0):
    return Pendulum(device=device, dtype=dtype, horizon=horizon, fall=fall)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr("diffsim_core._registry._REGISTERED", {})
    diffsim_core.register_task("pendulum", factory)


def test_make_a_registered_task(registered):
    assert {"ant", "cartpole", "pendulum"} <= set(diffsim_core.list_tasks())
    env = diffsim_core.make("pendulum", num_envs=3, dtype="float64", horizon=7)
    assert env.num_envs == 3 and env.spec.horizon == 7 and env.reset(0)[1].dtype == torch.float64
    assert isinstance(diffsim_core.make("pendulum", 2, "jax").reset(0)[1], jax.Array)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "pendulun"}, "unknown task 'pendulun'; did you mean 'pendulum'"),
        ({"name": "zzz"}, r"unknown task 'zzz'\. Known: .*ant, cartpole, .*pendulum, .*walker2d"),
        ({"name": "pendulum", "horison": 3}, "unknown option of task 'pendulum': 'horison'; did you mean 'horizon'"),
        ({"name": "pendulum", "dtype": "float16"}, "dtype must be 'float32' or 'float64', got 'float16'"),
        ({"name": "pendulum", "num_envs": 0}, "num_envs of make is 0; it takes an integer from 1"),
        ({"name": "pendulum", "arrays": "tf"}, "arrays must be 'torch' or 'jax', got 'tf'"),
        ({"name": "pendulum", "device": "gpu"}, "device='gpu'"),
    ],
)
def test_make_refuses_with_the_nearest_names(registered, arguments, message):
    with pytest.raises(ValueError, match=message):
        diffsim_core.make(**arguments)


def test_installed_packages_bring_tasks(monkeypatch):
    """An entry point is a name and "module:function"; nothing is imported until the task is made."""
    entry = EntryPoint("installed", "nowhere.to.be.found:make_task", "diffsim.tasks")
    monkeypatch.setattr("diffsim_core._registry.entry_points", lambda group: [entry] if group == entry.group else [])
    assert "installed" in diffsim_core.list_tasks()
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        diffsim_core.make("installed")


def test_register_refuses_taken_names_and_strange_strings(registered):
    diffsim_core.register_task("pendulum", factory)
    with pytest.raises(ValueError, match="task 'ant' is already registered"):
        diffsim_core.register_task("ant", factory)
    with pytest.raises(ValueError, match="must be 'module:function'"):
        diffsim_core.register_task("new", "module.function")


def test_a_task_belongs_to_a_family(registered, monkeypatch):
    """Named by ``register_task``, else by the name: a part before a colon, or what precedes a number at the end."""
    monkeypatch.setattr("diffsim_core._registry._DECLARED_FAMILIES", {})
    names = {"pace_car_10": "pace_car", "ackley_64": "ackley", "gym:Hopper-v5": "gym", "gym:Env_2": "gym", "_7": "_7"}
    names |= {name: name for name in ("ant", "humanoid_mtu", "newton_ant", "ant2", "pendulum_2_b")}
    assert {name: diffsim_core.task_family(name) for name in names} == names
    diffsim_core.register_task("arm_left", factory, family="arm")
    diffsim_core.register_task("arm_7", factory, family="arm_7")
    assert [diffsim_core.task_family(name) for name in ("arm_left", "arm_7")] == ["arm", "arm_7"]
