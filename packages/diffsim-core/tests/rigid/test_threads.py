"""Helper threads: everyone works, errors reach the caller, and the threads leave with their owner."""

from __future__ import annotations

import gc
import threading

import pytest

from diffsim_core.rigid._threads import Helpers


def test_work_runs_in_every_thread_at_once():
    helpers = Helpers(3)
    meeting = threading.Barrier(4, timeout=10)  # breaks unless four threads are inside at the same time
    for _ in range(5):
        helpers.run(meeting.wait, 3)


def test_fewer_helpers_may_be_asked():
    helpers, seen = Helpers(3), []
    helpers.run(lambda: seen.append(threading.get_ident()), 1)
    assert len(seen) == 2


def test_an_error_in_a_helper_reaches_the_caller_and_the_helpers_go_on():
    helpers, here = Helpers(2), threading.get_ident()

    def fail():
        if threading.get_ident() != here:
            raise RuntimeError("in a helper")

    with pytest.raises(RuntimeError, match="in a helper"):
        helpers.run(fail, 2)
    with pytest.raises(ZeroDivisionError):
        helpers.run(lambda: 1 // 0, 2)
    meeting = threading.Barrier(3, timeout=10)
    helpers.run(meeting.wait, 2)


def test_threads_leave_with_their_owner():
    before = set(threading.enumerate())
    helpers = Helpers(4)
    ours = set(threading.enumerate()) - before
    assert len(ours) == 4
    del helpers
    gc.collect()
    for thread in ours:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in ours)
