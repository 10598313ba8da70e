"""gradest installed alone is small and quick. Run by ``nox -s isolated`` where nothing else is installed."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib.metadata import distributions

import gradest


def seconds(code: str) -> float:
    """The best of five fresh interpreters that run ``code``; their processor time, which waits for no other process."""
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(took)


installed = {dist.metadata["Name"].lower() for dist in distributions()} - {"gradest"}
if installed != {"numpy", "array-api-compat"}:
    sys.exit(f"gradest brought {sorted(installed)} instead of NumPy and array-api-compat")
loading = seconds("import gradest") - seconds("pass")
if loading >= 0.3:
    sys.exit(f"import gradest takes {loading:.2f} s of processor time; at most 0.3 s is allowed")
print(f"gradest {gradest.__version__}: import takes {1000 * loading:.0f} ms, beside {', '.join(sorted(installed))}")
