"""What steps in one operation save of an update."""

from __future__ import annotations

import os
import statistics
import time

import pytest

import diffsim_core
from diffrl_algos import default_preset, get_algorithm

ROUNDS = 20


@pytest.mark.timing
@pytest.mark.parametrize("task", ["ant", "hopper"])
def test_an_update_of_shac_takes_less_processor_time(task):
    """Updates in both ways by turns, one thread each; the median ratio of the pairs."""
    preset = default_preset("shac", task)
    updates = []
    for fused in (False, True):
        options = {**preset.task_options, "threads": 1, "fused": fused}
        env = diffsim_core.make(task, num_envs=preset.num_envs, **options)
        algorithm = get_algorithm("shac").build(preset.config)
        updates.append([algorithm, algorithm.init(env, 0), []])
    for turn in range(-3, ROUNDS):
        for entry in updates:
            algorithm, state, seconds = entry
            before = time.process_time()
            entry[1], _ = algorithm.update(state)
            if turn >= 0:
                seconds.append(time.process_time() - before)
    assert env.fused
    separate, fused = (seconds for _, _, seconds in updates)
    ratio = statistics.median(a / b for a, b in zip(separate, fused, strict=True))
    both = f"{1e3 * statistics.median(separate):.0f} ms and {1e3 * statistics.median(fused):.0f} ms"
    print(f"{task}: {both} of processor time, {ratio:.2f} times faster, load {os.getloadavg()[0]:.1f}")
    assert ratio > 1.0
