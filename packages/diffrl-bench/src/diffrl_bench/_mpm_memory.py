"""Memory of a window of the material point method where nothing but the simulator and NumPy is loaded."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from ._mpm_scene import WINDOW, MpmBench, engine, scene_of
from ._peak import peak_growth, peak_resident, resident_files


def in_own_process(bench: MpmBench) -> dict[str, Any]:
    """``bytes``, ``resident_bytes`` and ``library_bytes`` of a window in a process of its own; see ``MpmBench.memory``.

    Raises:
        RuntimeError: the process failed.
    """
    command = [sys.executable, "-m", __name__, json.dumps(dataclasses.asdict(bench))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the measurement of memory in a process of its own failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def window(dynamics: Any, start: Sequence[Any], steps: int) -> tuple[Any, ...]:
    """Gradients of the sum of last positions and velocities by the first ones, over ``steps`` control steps.

    Args:
        dynamics: A simulator whose state is float32.
        start: Its first state, as NumPy arrays.
        steps: Control steps.

    Raises:
        RuntimeError: a world diverged.
    """
    import numpy as np

    from diffsim_core import Buffer

    def buffers(arrays: Sequence[Any]) -> list[Any]:
        return [Buffer(array.ctypes.data, array.shape, str(array.dtype), "cpu") for array in arrays]

    ok = np.empty(len(start[0]), np.int32)
    (done,) = buffers([ok])
    states = [list(start)]
    for _ in range(steps):
        after = [np.empty_like(array) for array in start]
        dynamics.step(buffers(states[-1]), (), buffers(after), done, None)
        if not ok.all():
            raise RuntimeError("a world diverged; the measurement means nothing")
        states.append(after)
    names = [spec.name for spec in dynamics.state_spec]
    gradient = [np.full_like(a, name in ("x", "v")) for name, a in zip(names, start, strict=True)]
    earlier = [np.empty_like(array) for array in start]
    (saved,) = buffers([np.empty(0, np.float32)])
    while len(states) > 1:
        states.pop()
        dynamics.vjp(buffers(states[-1]), (), done, saved, buffers(gradient), buffers(earlier))
        gradient, earlier = earlier, gradient
    return tuple(gradient[names.index(name)] for name in ("x", "v"))


def main(text: str) -> None:
    """Measure the window of a bench in JSON, and print what :func:`in_own_process` returns."""
    bench = MpmBench(**json.loads(text))
    dynamics, start = engine(scene_of(bench, WINDOW, 40))
    growth = peak_growth(lambda: window(dynamics, start, WINDOW))
    if "torch" in sys.modules:
        raise RuntimeError("the simulator loaded PyTorch")
    print(json.dumps({"bytes": growth, "resident_bytes": peak_resident(), "library_bytes": resident_files()}))


if __name__ == "__main__":
    main(sys.argv[1])
