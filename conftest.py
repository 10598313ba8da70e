"""Shared by the tests of every package: threads, workers, what a skip may hide, and how much memory tests may take."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

try:
    import hypothesis
except ImportError:  # a GPU machine that brings its own environment may lack it
    hypothesis = None

# What a parent ignores (nohup: SIGHUP; a job in the background: SIGINT), children do; the tests of signals need it as
# terminals have it.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# At the sizes of these tests more threads only wait for each other. This runs before torch and NumPy are imported.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # each core has a worker already; tests of threads name their number
    os.environ.setdefault("DIFFSIM_NUM_THREADS", "1")

if hypothesis is not None:
    hypothesis.settings.register_profile("local", deadline=None)
    hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

MEMORY_LIMIT = int(float(os.environ.get("MEMORY_LIMIT_GB", "2")) * 1e9)
"""Bytes that a process of tests may hold at its peak. Where CI is set, more than that fails the run."""
MISSING = "could not import"
"""Words of ``pytest.importorskip``, which every other skip for a missing package has too."""


# Workers -------------------------------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """``-n auto``: the cores that this process may use, or fewer where the memory does not suffice for them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = _bytes("/proc/meminfo", "MemAvailable")
    return cores if free is None else max(1, min(cores, free // MEMORY_LIMIT))


# Skips ---------------------------------------------------------------------------------------------------------------


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


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """With REQUIRE_EXTRAS=1 a test file that is skipped for a missing package fails."""
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """With REQUIRE_EXTRAS=1 a test that is skipped for a missing package fails."""
    return _required((yield))


def _required(report: Any) -> Any:
    if os.environ.get("REQUIRE_EXTRAS") == "1" and report.skipped and isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        if MISSING in reason:
            report.outcome = "failed"
            said = reason.removeprefix("Skipped: ")
            report.longrepr = f"{path}:{line}: REQUIRE_EXTRAS=1, but this was skipped: {said}"
    return report


# Memory --------------------------------------------------------------------------------------------------------------


def _bytes(file: str, key: str) -> int | None:
    """A line ``key: 123 kB`` of a file that Linux keeps under /proc; None on other systems."""
    path = Path(file)
    if not path.exists():
        return None
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return next((1024 * int(words[1]) for words in lines if words[0] == f"{key}:"), None)


def _peak() -> int:
    """Bytes that this process held at most."""
    # Linux's ru_maxrss would count the parent as it was before exec.
    own = _bytes("/proc/self/status", "VmHWM")
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if own is None else own


def _held() -> int:
    """Bytes that this process holds now; 0 where that is unknown."""
    return _bytes("/proc/self/status", "VmRSS") or 0


def _trim() -> None:
    """glibc keeps freed memory for later; MuJoCo's compiler frees some 100 MB for each large model."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


class Memory:
    """Keeps each process of tests below ``limit`` bytes: empties caches between files, reports, and fails where asked.

    Args:
        limit: bytes that a process may hold at its peak.
        strict: whether more than that fails the run.
    """

    def __init__(self, limit: int, strict: bool) -> None:
        self.limit = limit
        self.strict = strict
        self.grown: list[tuple[int, str]] = []
        """By how much the tests that grew this process most did so."""
        self.kept = 0
        """Bytes that were left when memory was last given back."""
        self.processes: dict[str, tuple[int, list[tuple[int, str]]]] = {}
        """Peak and ``grown`` of each process."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        before = _peak()
        result = yield
        self.grown = sorted([*self.grown, (_peak() - before, item.nodeid)], reverse=True)[:3]
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Nothing that is imported for the tests is garbage."""
        gc.disable()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """Everything that is there now stays to the end: collections of garbage need not visit it each time."""
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Give memory back: after a test that took much, and after a file, or earlier if need be, what JAX compiled."""
        held = _held()
        if nextitem is None or held < self.limit / 2:
            return
        leaves_file = nextitem.path != item.path
        if leaves_file or held > self.kept + self.limit / 20:
            if (leaves_file or held > 0.65 * self.limit) and "jax" in sys.modules:
                sys.modules["jax"].clear_caches()
            gc.collect()
            _trim()
            self.kept = _held()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        if "memory" in (said := getattr(node, "workeroutput", {})):
            self.processes[node.gateway.id] = said["memory"]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        memory = (_peak(), self.grown)
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["memory"] = memory
            return
        self.processes["this process"] = memory
        if self.strict and self._too_large() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.strict and os.environ.get("REPORT_MEMORY") != "1":
            return
        terminalreporter.section("peak of memory")
        for name, (peak, grown) in self.processes.items():
            most = [f"{test} (+{by / 1e6:.0f} MB)" for by, test in grown if by > self.limit / 20]
            terminalreporter.line(f"{name}: {peak / 1e9:.2f} GB" + (f"; most by {', '.join(most)}" if most else ""))
        for name in self._too_large():
            terminalreporter.line(f"FAILED: {name} held more than {self.limit / 1e9:g} GB", red=True)

    def _too_large(self) -> list[str]:
        return [name for name, (peak, _) in self.processes.items() if peak > self.limit]


def pytest_configure(config: pytest.Config) -> None:
    """What JAX compiles is kept on disk, as Warp's kernels are: the other workers and the next run find it there."""
    if (cache := getattr(config, "cache", None)) is not None and "jax" not in sys.modules:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache.mkdir("jax")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    config.pluginmanager.register(Memory(MEMORY_LIMIT, strict=bool(os.environ.get("CI"))))
