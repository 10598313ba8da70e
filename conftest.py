"""Shared by the tests of every package."""

from __future__ import annotations

import os

import pytest

try:
    import hypothesis
except ImportError:  # a GPU machine that brings its own environment may lack it
    hypothesis = None

# At the sizes of these tests more threads only wait for each other. This runs before torch and NumPy are imported.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

if hypothesis is not None:
    hypothesis.settings.register_profile("local", deadline=None)
    hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def has_gpu() -> bool:
    """Whether torch can use an NVIDIA GPU here."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` are skipped where there is no GPU; with REQUIRE_GPU=1 the run fails instead."""
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if not needy or "not gpu" in config.option.markexpr or has_gpu():
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.exit("REQUIRE_GPU=1, but torch sees no NVIDIA GPU here", returncode=1)
    for item in needy:
        item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here"))
