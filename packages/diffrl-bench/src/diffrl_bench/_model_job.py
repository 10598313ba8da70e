"""Models in a process of its own: loads each, measures it, and prints a line of JSON for each stage.

Started by ``_model_worker.py``, which hands it a job a line, and ends it when a job takes too long. What the stages
before found is kept then.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOAD, END = "load", "end"
STAGES = ("beside_mujoco", "gradient", "random_steps", "stand")


def limit_memory(gib: float) -> None:
    """Let the process have no more memory, where the system can do that."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    size = int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def run(job: Mapping[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """Load and measure; ``say`` is told the result of each stage."""
    import numpy as np

    from diffsim_core.io import ModelError, load_model
    from diffsim_core.rigid import full_state

    file, root, floating = Path(job["file"]), Path(job["root"]), bool(job["floating"])
    began = time.perf_counter()
    try:
        options: dict[str, Any] = {"floating": True, "ground": 0.0} if floating else {}
        model = load_model(file, root=root, **options)
    except ModelError as error:
        say({"stage": LOAD, "status": "refused", "problems": list(error.problems)})
        return
    counts = {"nq": model.nq, "nv": model.nv, "nu": model.nu, "na": model.na}
    say({"stage": LOAD, "status": "loads", **counts, "notes": len(model.notes), "load_s": time.perf_counter() - began})
    if not job["measure"]:
        return

    from . import _model_physics as physics
    from ._model_states import home, random_states, reference_model, sizes, states_near

    m = reference_model(file, root=root, floating=floating)
    ours, theirs = sizes(model), {"nq": m.nq, "nv": m.nv, "nu": m.nu, "na": m.na}
    if ours != theirs:
        say({"stage": STAGES[0], "error": f"sizes differ from MuJoCo's: {ours} and {theirs}"})
        return
    rng, pose = np.random.default_rng(0), home(m, full_state(model, model.q_ref).q)
    states = random_states(m, physics.STATES, rng)
    near = states_near(m, pose, physics.STATES, rng)
    d = physics.dynamics(model)
    measured: dict[str, Callable[[], dict[str, Any]]] = {
        "beside_mujoco": lambda: physics.beside_mujoco(model, m, states),
        "gradient": lambda: physics.gradient(d, near),
        "random_steps": lambda: physics.random_steps(d, m, pose),
        "stand": lambda: physics.stand(d, m, pose),
    }
    for name in STAGES:
        if name == "stand" and floating:  # MuJoCo's model of it has no ground
            continue
        began = time.perf_counter()
        try:
            found = measured[name]()
        except Exception as error:  # the other stages still tell something
            found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
        say({"stage": name, **found, "seconds": round(time.perf_counter() - began, 2)})


def main(memory_gib: float) -> None:
    """Run the jobs of standard input, a JSON object a line, until it ends. The last line of each is that of ``END``."""
    limit_memory(memory_gib)
    # Libraries may print; the results have a stream of their own.
    out, sys.stdout = sys.stdout, sys.stderr

    def say(line: dict[str, Any]) -> None:
        print(json.dumps({key: _plain(value) for key, value in line.items()}), file=out, flush=True)

    for line in sys.stdin:
        end: dict[str, Any] = {"stage": END}
        try:
            run(json.loads(line), say)
        except MemoryError:
            end["error"] = "MemoryError: out of the memory that it may use"
        except Exception as error:
            end["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        say(end)


def _plain(value: Any) -> Any:
    """JSON has no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main(float(sys.argv[1]))
