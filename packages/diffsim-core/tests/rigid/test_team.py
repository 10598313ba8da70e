"""Threads that share a step: everyone works, nobody is waited for in vain, and they leave with their owner."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest

from diffsim_core.native._team import Helpers, Leader
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.tasks._rigid import bundled_model

from .host import random_states, step, vjp


def until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


def test_all_helpers_work_at_once():
    meeting = threading.Barrier(4, timeout=120)  # breaks unless three helpers and the caller are there together
    helpers = Helpers(3, meeting.wait)
    for _ in range(5):
        helpers.wake(3)
        meeting.wait()
        assert until(lambda: all(helpers._asleep))


def test_only_as_many_as_asked_are_woken():
    seen = []
    helpers = Helpers(3, lambda: seen.append(threading.get_ident()))
    helpers.wake(2)
    assert until(lambda: len(seen) == 2 and all(helpers._asleep))
    helpers.wake(1)
    assert until(lambda: len(seen) == 3 and all(helpers._asleep))


def test_a_helper_that_is_awake_is_not_called_again():
    calls, release = [], threading.Event()

    def follow():
        calls.append(1)
        release.wait(120)

    helpers = Helpers(1, follow)
    for _ in range(4):
        helpers.wake(1)
    assert until(lambda: len(calls) == 1)
    release.set()
    assert until(lambda: all(helpers._asleep))
    assert len(calls) == 1


def test_threads_leave_with_their_owner():
    before = set(threading.enumerate())
    helpers = Helpers(4, lambda: None)
    ours = set(threading.enumerate()) - before
    assert len(ours) == 4
    del helpers
    gc.collect()
    for thread in ours:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in ours)


def test_a_leader_does_what_it_is_told_and_raises_what_it_met():
    calls = []

    def work():
        calls.append(threading.current_thread())
        if len(calls) == 2:
            raise KeyError("second")

    leader = Leader(4 << 20, work)
    leader.work()
    with pytest.raises(KeyError, match="second"):
        leader.work()
    leader.work()
    assert len(set(calls)) == 1 and calls[0] is not threading.current_thread()
    del leader
    gc.collect()
    calls[0].join(timeout=120)
    assert not calls[0].is_alive()


def test_many_steps_with_pauses_give_the_bits_of_one_thread():
    # steps of changing size, forward and backward, with helpers awake, falling asleep and fast asleep
    model = bundled_model("ant")
    one, four = (RigidDynamics(model, dt=1 / 60, substeps=16, threads=threads) for threads in (1, 4))
    rng = np.random.default_rng(0)
    for turn in range(120):
        n = int(rng.integers(1, 700))
        arrays = random_states(model, n, seed=turn, dtype="float32", spread=0.1)
        cotangents = [np.ones_like(a) for a in arrays[:2]]
        expected, found = step(one, *arrays), step(four, *arrays)
        assert np.array_equal(expected.q, found.q) and np.array_equal(expected.qd, found.qd)
        if turn % 3 == 0:
            for a, b in zip(vjp(one, *arrays, *cotangents), vjp(four, *arrays, *cotangents), strict=True):
                assert np.array_equal(a, b)
        time.sleep(float(rng.choice([0.0, 0.0005, 0.001, 0.004])))


def test_two_callers_of_one_simulator_take_turns():
    model = bundled_model("ant")
    dynamics = RigidDynamics(model, dt=1 / 60, substeps=4, threads=3)
    arrays = random_states(model, 600, seed=1, dtype="float32", spread=0.1)
    expected = step(dynamics, *arrays)
    wrong = []

    def work():
        for _ in range(30):
            if not np.array_equal(step(dynamics, *arrays).qd, expected.qd):
                wrong.append(1)

    callers = [threading.Thread(target=work) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
