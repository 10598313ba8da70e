from __future__ import annotations

import subprocess
import sys
from types import FunctionType

import gradest

PROBE = """
import sys, time

def foreign():
    return {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)

before = set(sys.modules)
start = time.process_time()
import numpy as np
between = time.process_time()
import gradest
print((time.process_time() - between) / (between - start))
print(*sorted(foreign()))
ones, never = np.ones((3, 2)), np.zeros((3, 2), dtype=bool)
gradest.gae(ones, ones, ones, never, never, gamma=0.9, lam=0.9)
print(*sorted(foreign()))
"""


def test_import_is_light_and_use_with_numpy_loads_no_other_framework():
    runs = [
        subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(3)
    ]
    for _, imported, used in runs:
        assert set(imported.split()) <= {"gradest", "numpy", "array_api_compat"}
        assert {"gradest", "numpy"} <= set(used.split())
        assert not {"torch", "jax", "jaxlib", "warp", "mujoco", "diffsim_core"} & set(used.split())
    # Beside NumPy, which it needs, it takes about a quarter of NumPy's own time; a busy machine slows both.
    assert min(float(ratio) for ratio, *_ in runs) < 0.6


def test_the_public_names_are_documented():
    for name in gradest.__all__:
        public = getattr(gradest, name)
        if isinstance(public, FunctionType) and name != "allow_nan":
            assert "Args:" in public.__doc__, name
            assert "Returns:" in public.__doc__, name
            assert "Raises:" in public.__doc__, name
