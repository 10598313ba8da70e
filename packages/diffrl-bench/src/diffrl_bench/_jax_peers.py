"""MJX and Brax in the same run as our simulators: steps in JAX, forward and backward."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ._mujoco import compiled, own_steps
from ._stopwatch import Clock, Stopwatch

BRAX = {
    "ant": "ant",
    "half_cheetah": "halfcheetah",
    "hopper": "hopper",
    "humanoid": "humanoid",
    "walker2d": "walker2d",
}
"""Brax's own environments of similar robots."""
NAMES = ("mjx", "brax-generalized", "brax-spring", "brax-positional")
_ITERATIONS, _LINE_SEARCH = 1, 4
"""Iterations of MJX's solver: it can be differentiated with a single one only."""
_WARM_UP = 32


class JaxWindow:
    """A window of a simulator in JAX: one step, compiled for all worlds, is called once for each control.

    Laps: ``forward``, and ``forward_backward``: the forward pass, which keeps every state, and then the
    vector-Jacobian products of all steps, each of which simulates its step again. This form compiles once for every
    horizon; XLA took minutes for a scan of 32 steps.

    Args:
        name: name in the report.
        step: ``step(state, control) -> state`` of one world.
        state: pytree of ``[N, ...]``.
        controls: ``T`` arrays ``[N, nu]``.
        step_s: duration of a control step [s].
        substeps: the simulator's own steps in a control step.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[Any, Any], Any],
        state: Any,
        controls: Sequence[Any],
        *,
        step_s: float,
        substeps: int,
    ) -> None:
        jax = _jax()
        self.name, self.step_s, self.substeps = name, step_s, substeps
        self._jax, self._state, self._controls = jax, state, list(controls)
        leaves, self._tree = jax.tree_util.tree_flatten(state)
        self._moving = [bool(jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)) for leaf in leaves]
        self._step = jax.jit(jax.vmap(step))
        self._pull = jax.jit(jax.vmap(self._pulled(step)))
        began = time.perf_counter()
        self.by_control: Any = None
        """Gradient of the sum of the last state's numbers with respect to every control, ``[T, N, nu]``."""
        self(Stopwatch(Clock()))
        self.compile_s = time.perf_counter() - began

    @property
    def steps(self) -> int:
        """The simulator's own steps in a window, summed over worlds."""
        return len(self._controls) * self.num_worlds * self.substeps

    @property
    def num_worlds(self) -> int:
        return int(self._controls[0].shape[0])

    def __call__(self, watch: Stopwatch) -> None:
        jax, np = self._jax, self._jax.numpy
        watch.restart()
        last = self._state
        for control in self._controls:
            last = self._step(last, control)
        jax.block_until_ready(last)
        watch.lap("forward")
        states = [self._state]
        for control in self._controls:
            states.append(self._step(states[-1], control))
        gradient, by_control = [np.ones_like(leaf) for leaf in self._floats(states.pop())], []
        for state, control in zip(reversed(states), reversed(self._controls), strict=True):
            gradient, pulled = self._pull(state, control, gradient)
            by_control.append(pulled)
        jax.block_until_ready((gradient, by_control))
        watch.lap("forward_backward")
        self.finite = bool(all(np.isfinite(leaf).all() for leaf in self._floats(last)))
        self.by_control = np.stack(by_control[::-1])

    def finite_gradients(self) -> float:
        """Share of worlds whose gradients are all finite."""
        return float(self._jax.numpy.isfinite(self.by_control).all(axis=(0, 2)).mean())

    def _floats(self, state: Any) -> list[Any]:
        leaves = self._jax.tree_util.tree_leaves(state)
        return [leaf for leaf, moving in zip(leaves, self._moving, strict=True) if moving]

    def _pulled(self, step: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
        """Vector-Jacobian product of one world's step, with respect to the floats of its state and to the control."""

        def pull(state: Any, control: Any, gradient: Any) -> Any:
            fixed = self._jax.tree_util.tree_leaves(state)

            def moved(floats: Any, control: Any) -> Any:
                given = iter(floats)
                leaves = [next(given) if moving else leaf for leaf, moving in zip(fixed, self._moving, strict=True)]
                return self._floats(step(self._jax.tree_util.tree_unflatten(self._tree, leaves), control))

            return self._jax.vjp(moved, self._floats(state), control)[1](gradient)

        return pull


def mjx_window(mjcf: str | Path, qpos: Any, qvel: Any, control: Any, *, dt: float, device: str) -> JaxWindow:
    """The same bodies, start and actions in MJX, single precision.

    A control step is split as MuJoCo's is. The solver is Newton's with one iteration, because MJX cannot be
    differentiated with more; so its contacts are softer than MuJoCo's.

    Raises:
        ImportError: MJX is not installed.
        ValueError: JAX has no such device, or MJX does not support a part of the model.
    """
    jax, where = _jax(), _device(device)
    mjx: Any = importlib.import_module("mujoco.mjx")
    model = compiled(mjcf)
    substeps = own_steps(dt)
    model.opt.timestep = dt / substeps
    model.opt.iterations, model.opt.ls_iterations = _ITERATIONS, _LINE_SEARCH
    try:
        with jax.default_device(where):
            put, blank = mjx.put_model(model), mjx.make_data(model)
    except NotImplementedError as error:
        raise ValueError(f"MJX cannot simulate this model: {error}") from None

    def step(state: Any, u: Any) -> Any:
        data = blank.replace(qpos=state[0], qvel=state[1], ctrl=u)
        for _ in range(substeps):
            data = mjx.step(put, data)
        return data.qpos, data.qvel

    def placed(array: Any) -> Any:
        return jax.device_put(jax.numpy.asarray(array, dtype=jax.numpy.float32), where)

    controls = [placed(row) for row in control]
    return JaxWindow("mjx", step, (placed(qpos), placed(qvel)), controls, step_s=dt, substeps=substeps)


def brax_window(task: str, backend: str, rows: int, worlds: int, *, device: str) -> JaxWindow:
    """The dynamics of Brax's own environment of that robot, for ``rows`` random controls of ``worlds`` worlds.

    The start and the length of a step are Brax's.

    Raises:
        ImportError: Brax is not installed.
        ValueError: Brax has no such robot, or JAX no such device.
    """
    jax, where = _jax(), _device(device)
    if task not in BRAX:
        raise ValueError(f"Brax has no robot like task {task!r}; it has {', '.join(BRAX)}")
    envs: Any = importlib.import_module("brax.envs")
    env = envs.get_environment(BRAX[task], backend=backend)
    with jax.default_device(where):
        keys = jax.random.split(jax.random.PRNGKey(0), worlds)
        controls = list(jax.random.uniform(keys[0], (rows, worlds, env.action_size), minval=-1.0, maxval=1.0))
        state = jax.jit(jax.vmap(env.reset))(keys).pipeline_state
        step = jax.jit(jax.vmap(env.pipeline_step))
        for k in range(_WARM_UP):
            state = step(state, controls[k % rows])
    substeps = int(env._n_frames)
    return JaxWindow(f"brax-{backend}", env.pipeline_step, state, controls, step_s=float(env.dt), substeps=substeps)


def _jax() -> Any:
    # By default JAX reserves three quarters of a GPU's memory, which leaves too little to torch.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return importlib.import_module("jax")


def _device(device: str) -> Any:
    jax = _jax()
    kind, _, index = device.partition(":")
    try:
        return jax.devices(kind)[int(index or 0)]
    except (RuntimeError, IndexError) as error:
        raise ValueError(f"device is {device!r}, which JAX does not have: {error}; install jax[cuda12]") from None
