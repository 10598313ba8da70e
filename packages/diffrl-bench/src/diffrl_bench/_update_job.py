"""Updates in a process of its own, one for each line that comes in; each is answered by a line of JSON with its times.

``_against.py`` starts this file by its path, with the packages of one build or of another: it uses nothing of
diffrl-bench, and only what builds have had for long.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any


def main() -> None:
    """The job is the only argument: JSON with ``algo``, ``task``, ``num_envs``, ``threads``, ``seed``, ``warm_up``."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    job = json.loads(sys.argv[1])
    try:
        import diffrl_algos
        import diffsim_core

        preset, entry = diffrl_algos.default_preset(job["algo"], job["task"]), diffrl_algos.get_algorithm(job["algo"])
        options = _defaults(entry, diffsim_core.task_options(job["task"]))
        options = {**options, **preset.task_options, **({"threads": job["threads"]} if job["threads"] else {})}
        worlds = job["num_envs"] or preset.num_envs
        env = diffsim_core.make(job["task"], num_envs=worlds, arrays=entry.arrays, **options)
        algorithm: Any = entry.build(preset.config)
        state = algorithm.init(env, job["seed"])
    except ValueError as error:
        say(error=str(error))
        return
    for _ in range(job["warm_up"]):
        state, _ = algorithm.update(state)
    say(num_envs=worlds, horizon=preset.config.horizon, file=diffrl_algos.__file__)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        state, _ = algorithm.update(state)
        say(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def _defaults(entry: Any, known: Any) -> dict[str, Any]:
    """Options that the build gives tasks of its own accord; builds before fused tasks gave none."""
    spec = importlib.import_module("diffrl_algos._spec")
    return spec.default_task_options(entry, known, "cpu") if hasattr(spec, "default_task_options") else {}


if __name__ == "__main__":
    main()
