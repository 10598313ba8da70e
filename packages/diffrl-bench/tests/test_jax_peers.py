"""Simulators in JAX next to ours: the timed work is the named work, and their gradients are JAX's."""

from __future__ import annotations

import numpy as np
import pytest

from diffrl_bench._jax_peers import JaxWindow, brax_window
from diffrl_bench._sim import SimBench, bench_sim, jax_figures
from diffrl_bench._stopwatch import Clock, Lap, Stopwatch

jax = pytest.importorskip("jax")
jnp = jax.numpy


def spring(state, control):
    """A mass on a spring with a counter in its state, which no gradient goes through."""
    position, velocity, count = state
    velocity = velocity + 0.1 * (control[0] - jnp.sin(position)) * jnp.where(count > 1, 2.0, 1.0)
    return position + 0.1 * velocity, velocity, count + 1


def test_a_window_is_its_steps_and_its_gradient_is_the_chain_rule():
    rng = np.random.default_rng(0)
    start = (jnp.asarray(rng.normal(size=5)), jnp.asarray(rng.normal(size=5)), jnp.zeros(5, jnp.int32))
    controls = jnp.asarray(rng.normal(size=(6, 5, 1)))
    window = JaxWindow("spring", spring, start, controls, step_s=0.1, substeps=4)
    watch = Stopwatch(Clock())
    window(watch)
    assert set(watch.laps) == {"forward", "forward_backward"}
    assert window.steps == 6 * 5 * 4 and window.finite and window.finite_gradients() == 1.0

    def total(controls):
        state = start
        for control in controls:
            state = jax.vmap(spring)(state, control)
        return state[0].sum() + state[1].sum()

    np.testing.assert_allclose(window.by_control, jax.grad(total)(controls), rtol=1e-5)


def test_what_is_not_finite_is_said():
    start = (jnp.ones(4), jnp.zeros(4), jnp.zeros(4, jnp.int32))
    controls = jnp.ones((3, 4, 1)).at[1, 2].set(jnp.inf)
    window = JaxWindow("spring", spring, start, controls, step_s=0.1, substeps=1)
    assert not window.finite and window.finite_gradients() == 0.75


def test_figures_are_of_simulated_time():
    class Peer:
        name, step_s, substeps, steps, finite, compile_s = "peer", 0.05, 5, 5 * 640, True, 3.0
        version, num_worlds = "1.2", 64

        def finite_gradients(self):
            return 1.0

    laps = {"forward": [Lap(2.0, 2.0)], "forward_backward": [Lap(8.0, 8.0)]}
    ours = {"forward": [Lap(0.1, 0.1)], "recording": [Lap(0.1, 0.1)], "backward": [Lap(0.3, 0.3)]}
    found = jax_figures(laps, Peer(), ours, simulated_s=10.0)
    assert found["forward_steps_per_s"] == 320 and found["forward_sim_s_per_s"] == pytest.approx(16)
    assert found["forward_times_slower"] == pytest.approx(100 / 16)
    assert found["forward_backward_times_slower"] == pytest.approx(25 / 4)
    assert found["forward_backward_times_slower_cpu"] == pytest.approx(25 / 4)
    assert found["dt_s"] == pytest.approx(0.01)
    only = jax_figures({"forward": laps["forward"]}, Peer(), ours, simulated_s=10.0)
    assert not [key for key in only if key.startswith("forward_backward")], "MuJoCo Warp has no backward pass"


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="beside is 'mjy'; choose from mjx, brax-generalized"):
        SimBench(beside=("mjy",))
    with pytest.raises(ValueError, match=r"Brax has no robot like task .*; it has ant"):
        brax_window("cartpole", "spring", 1, 1, device="cpu")
    with pytest.raises(ValueError, match=r"device is 'cuda', which JAX does not have.*jax\[cuda12\]"):
        brax_window("ant", "spring", 1, 1, device="cuda")


def test_what_is_not_installed_is_an_error_or_noted(monkeypatch):
    import importlib.util

    from diffrl_bench._beside import missing_peers

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "newton" else object())
    with pytest.raises(ImportError, match=r"newton is not installed; install diffrl-bench\[warp-peers\]"):
        missing_peers(("mjx", "newton"), skip=False)
    noted = {"newton": "not installed; install diffrl-bench[warp-peers]"}
    assert missing_peers(("mjx", "newton"), skip=True) == noted


@pytest.mark.slow
@pytest.mark.parametrize(("task", "name"), [("cartpole", "mjx"), ("hopper", "brax-spring"), ("cartpole", "newton")])
def test_a_peer_runs_next_to_ours(task, name):
    pytest.importorskip({"mjx": "mujoco.mjx", "newton": "newton"}.get(name, "brax"))
    settings = {"num_envs": 4, "horizon": 4, "repeats": 1, "threads": 1, "scaling_envs": 0, "peers": False}
    (peer,) = bench_sim(SimBench(task=task, beside=(name,), **settings))["beside"]
    assert peer["name"] == name and peer["finite"]
    assert peer["forward_backward_sim_s_per_s"] < peer["forward_sim_s_per_s"]
