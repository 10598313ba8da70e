"""``watch_task`` names what has changed of what a task's functions read."""

from __future__ import annotations

import gc
import weakref

import diffsim_core
from diffsim_core import watch_task


def test_names_what_has_changed_and_holds_no_worlds():
    env = diffsim_core.make("hopper", num_envs=2)
    changed = watch_task(env)
    state, _ = env.reset(0)
    env.step(state, env.xp.zeros((2, 3)))
    assert changed() is None
    env.task.horizon += 1
    assert changed() == "attribute 'horizon'"
    env.task.horizon -= 1
    assert changed() is None
    gone = weakref.ref(env)
    del env, state
    gc.collect()
    assert gone() is None and changed() is None


def test_worlds_without_a_task_never_change():
    assert watch_task(object())() is None
