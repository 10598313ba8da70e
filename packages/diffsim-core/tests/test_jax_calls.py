"""How JAX calls a simulator on a CPU: targets in Python, and slots for what a step keeps."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsim_core import _jax_calls, _jax_handler, differentiable
from diffsim_core._jax_handler import register
from diffsim_core._slots import Slots

from .pendulum import PendulumDynamics, PendulumState


def view(memory):
    count = int(np.prod(memory.shape))
    return np.frombuffer((ctypes.c_float * count).from_address(memory.ptr), np.float32).reshape(memory.shape)


def added(memory):
    x, y, total, scaled = map(view, memory)
    if x.shape[:1] == (3,):
        raise KeyError("not three rows")
    total[...], scaled[...] = x + y, 2 * y


@pytest.fixture(scope="module")
def add():
    target = register("added", added)

    def call(x, y):
        like = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (x, y)]
        return jax.ffi.ffi_call(target, like, vmap_method="sequential")(x, y)

    return call


# Targets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (4, 1, 2)])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_a_target_reads_its_arguments_and_writes_its_results(add, shape, wrap):
    x, y = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    total, scaled = wrap(add)(jnp.asarray(x), jnp.asarray(y))
    assert np.array_equal(total, x + y) and np.array_equal(scaled, 2 * y)


def test_a_target_in_scan_vmap_and_threads(add):
    x = jnp.arange(12.0).reshape(4, 3).astype(jnp.float32)
    last, all_of_them = jax.jit(lambda x: jax.lax.scan(lambda c, row: (add(c, row)[0], add(c, row)[1]), x[0], x))(x.T)
    assert np.array_equal(last, x.T[0] + x.T.sum(0)) and np.array_equal(all_of_them, 2 * x.T)
    assert np.array_equal(jax.vmap(add)(x.T, x.T)[0], 2 * x.T)
    found = {}
    work = [threading.Thread(target=lambda k=k: found.update({k: add(x + k, x)[0]})) for k in range(4)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert all(np.array_equal(found[k], 2 * x + k) for k in range(4))


def test_what_a_target_raises_reaches_the_caller_and_harms_nothing(add):
    with pytest.raises(jax.errors.JaxRuntimeError, match="KeyError: 'not three rows'"):
        jax.block_until_ready(jax.jit(add)(jnp.zeros(3), jnp.zeros(3)))
    assert np.array_equal(add(jnp.ones(2), jnp.ones(2))[0], [2.0, 2.0])


def test_a_target_for_another_device_says_so():
    """What CUDA is given; here a CPU takes its part."""
    _jax_handler._register("refused", "cpu", _jax_handler._refuse)
    call = jax.ffi.ffi_call("refused", jax.ShapeDtypeStruct((2,), jnp.float32))
    with pytest.raises(jax.errors.JaxRuntimeError, match="arrays are on CUDA, the simulator was made for cpu"):
        jax.block_until_ready(call(jnp.ones(2)))


# Slots ----------------------------------------------------------------------------------------------------------------


def test_slots_are_used_again_once_given_back():
    slots = Slots("float32")
    number, array = slots.take(6)
    assert slots.find(number) is array and slots.find(number) is None  # whoever found it has it
    slots.give_back(array)
    other, again = slots.take(6)
    assert again is array and other != number and slots.find(number) is None and slots.find(other) is array
    assert slots.take(5)[1] is not array and array.ctypes.data % 64 == 0


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=60), st.integers(0, 40))
def test_a_slot_holds_what_was_written_or_is_not_found(steps, limit):
    """Whatever the order of steps and backward passes, and the limit."""
    slots, written, largest = Slots("float32", 4 * limit), {}, 0
    for size, back in steps:
        if back and written:
            number, value = written.popitem()
            if (array := slots.find(number)) is not None:
                assert (array == value).all()
                slots.give_back(array)
        else:
            number, array = slots.take(size)
            largest = max(largest, size)
            assert number not in written and array.shape == (size,)
            array[:] = written[number] = float(number)
        held = [*slots._held.values(), *(array for spent in slots._spent.values() for array in spent)]
        assert slots._bytes == sum(array.nbytes for array in held)
        assert slots._bytes <= 4 * max(limit, largest)  # one array lives at any limit


def test_the_oldest_gives_way():
    slots = Slots("float64", 8 * 3 * 10)
    numbers = [slots.take(10)[0] for _ in range(4)]
    assert [slots.find(number) is not None for number in numbers] == [False, True, True, True]


# The bridge -----------------------------------------------------------------------------------------------------------


class Counting(PendulumDynamics):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def step(self, *arguments):
        self.steps += 1
        super().step(*arguments)


def window(dynamics, horizon=6):
    step = differentiable(dynamics)

    def loss(q, qd, u):
        def body(state, _):
            return step(state, (u,))[0], None

        state, _ = jax.lax.scan(body, PendulumState(q, qd), None, horizon)
        return (state.q**2).sum() + state.qd.sum()

    return loss


def arrays():
    return [jnp.asarray(x) for x in np.random.default_rng(3).normal(size=(3, 16, 2)).astype(np.float32)]


@pytest.mark.parametrize("slots", [0, 2, 5, 100])
def test_steps_whose_slot_gave_way_are_simulated_again_to_the_same_bits(monkeypatch, slots):
    expected = jax.grad(window(PendulumDynamics()), argnums=(0, 1, 2))(*arrays())
    dynamics = Counting()
    size = 4 * dynamics.saved_size(16)
    monkeypatch.setattr(_jax_calls, "Slots", lambda dtype: Slots(dtype, slots * size))
    found = jax.jit(jax.grad(window(dynamics), argnums=(0, 1, 2)))(*arrays())
    for a, b in zip(found, expected, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    # One slot lives at any limit: that of the last step.
    assert dynamics.steps == 6 + 6 - min(6, max(slots, 1))


def test_a_backward_pass_may_run_twice_and_in_any_order():
    loss = window(PendulumDynamics())
    _, first = jax.vjp(loss, *arrays())
    _, second = jax.vjp(loss, *(2 * x for x in arrays()))
    found = [pull(jnp.float32(1.0)) for pull in (first, second, first, second)]
    for a, b in zip(found[:2], found[2:], strict=True):
        assert all(x.tobytes() == y.tobytes() for x, y in zip(map(np.asarray, a), map(np.asarray, b), strict=True))
    assert not np.array_equal(found[0][0], found[1][0])


def test_a_checkpointed_window_has_the_same_gradient():
    loss = window(PendulumDynamics())
    expected, found = (jax.jit(jax.grad(f))(*arrays()) for f in (loss, jax.checkpoint(loss)))
    assert np.asarray(expected).tobytes() == np.asarray(found).tobytes()


def test_a_compiled_function_outlives_its_bridge():
    expected = jax.grad(window(PendulumDynamics()))(*arrays())
    compiled = jax.jit(jax.grad(window(PendulumDynamics()))).lower(*arrays()).compile()
    jax.clear_caches()
    gc.collect()
    assert np.asarray(compiled(*arrays())).tobytes() == np.asarray(expected).tobytes()


def test_slots_end_with_their_bridge(monkeypatch):
    made = []

    def slots(dtype):
        found = Slots(dtype)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(_jax_calls, "Slots", slots)
    gradient = jax.jit(jax.grad(window(PendulumDynamics())))
    jax.block_until_ready(gradient(*arrays()))
    assert made[0]() is not None
    del gradient
    jax.clear_caches()
    gc.collect()
    assert made[0]() is None


def test_a_backward_pass_that_fails_gives_its_slot_back(monkeypatch):
    made = []
    monkeypatch.setattr(_jax_calls, "Slots", lambda dtype: made.append(Slots(dtype)) or made[-1])

    class Failing(PendulumDynamics):
        def vjp(self, *arguments):
            raise OSError("no such luck")

    with pytest.raises(jax.errors.JaxRuntimeError, match="OSError: no such luck"):
        jax.block_until_ready(jax.jit(jax.grad(window(Failing(), 1)))(*arrays()))
    assert made[0]._bytes == sum(array.nbytes for spent in made[0]._spent.values() for array in spent) > 0


def test_memory_does_not_grow_from_window_to_window(monkeypatch):
    made = []
    monkeypatch.setattr(_jax_calls, "Slots", lambda dtype: made.append(Slots(dtype)) or made[-1])
    dynamics = PendulumDynamics()
    gradient = jax.jit(jax.grad(window(dynamics)))
    for _ in range(5):
        jax.block_until_ready(gradient(*arrays()))
    (slots,) = made
    assert slots._bytes == 6 * 4 * dynamics.saved_size(16) and not slots._held


_ENDS_EARLY = """
import jax, jax.numpy as jnp
import diffsim_core
env = diffsim_core.make("cartpole", num_envs=8, arrays="jax")
state, obs = env.reset(0)
run = jax.jit(lambda s, o: diffsim_core.rollout(env, lambda o: jnp.zeros((8, 1)), s, o, 3000)[0].reward)
run(state, obs).block_until_ready()
{last}
"""


@pytest.mark.parametrize("last", ["result = run(state, obs)", "run(state, obs)", "result = run(state, obs); 1 / 0"])
def test_a_program_may_end_while_steps_are_computed(last):
    code = _ENDS_EARLY.format(last=last)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == ("1 / 0" in last), done.stderr
    assert ("ZeroDivisionError" in done.stderr) == ("1 / 0" in last)
