"""Everything that should be known of a GPU, in one command of less than ten minutes: ``nox -s gpu_record`` runs it.

``python tests/gpu_record.py [--device cuda] [--out docs/results/gpu] [--seconds 570]`` runs the GPU tests, the speed of
the simulator and of updates, and one short training, each in a process of its own with a limit of time. Each writes its
file when it has ended well, and ``record.json`` has how each of them ended. Exit code 0 only if all ended well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs/results/gpu"
SECONDS = 570.0
"""Of all parts together, so that ten minutes hold the start of nox too."""
BENCH = ("-m", "diffrl_algos", "bench")
MACHINE = (
    "import json, sys; from diffrl_bench import _machine as m; from diffrl_bench._windows import require_device as r; "
    "print(json.dumps({'machine': m.machine() | {'gpu': r(sys.argv[1])}, 'versions': m.versions()}))"
)


@dataclass(frozen=True)
class Part:
    """One process and what is kept of it."""

    name: str
    """Its file is ``NAME.json``."""
    arguments: tuple[str, ...]
    """Of Python."""
    limit: float
    """Longest time [s]."""
    kind: str = "report"
    """``report`` prints one JSON object, ``tests`` is pytest, ``training`` writes a run folder in ``{run}``."""


@dataclass(frozen=True)
class Sizes:
    """What is measured how often."""

    tests: tuple[str, ...] = ("packages",)
    worlds: tuple[int, ...] = (64, 256, 1024, 4096, 16384)
    beside: tuple[int, ...] = (64, 1024, 16384)
    """Worlds of the comparison with MJX."""
    sim: tuple[str, ...] = ("--horizon", "32", "--repeats", "10")
    update: tuple[str, ...] = ("--updates", "10", "--warm-up", "8")
    update_worlds: tuple[int, ...] = (64, 4096)
    training: tuple[str, ...] = ("--num-envs", "1024", "--seconds", "45")


TINY = Sizes(
    tests=("packages/diffsim-core/tests/rigid/test_cuda.py",),
    worlds=(2, 3),
    beside=(),
    sim=("--horizon", "2", "--repeats", "1", "--scaling-envs", "0"),
    update=("--updates", "1", "--warm-up", "0"),
    update_worlds=(2,),
    training=("--num-envs", "2", "--iterations", "1", "--horizon", "4"),
)
"""To see on any machine that the parts fit together."""


def parts(device: str, sizes: Sizes) -> Iterator[Part]:
    """What is run, the most important first."""
    tests = ("-m", "pytest", "-m", "gpu", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider", *sizes.tests)
    yield Part("tests", tests, 200.0, "tests")
    on = ("--task", "ant", "--device", device, "--json")
    for n in sizes.update_worlds:
        update = (*BENCH, "update", "--algo", "shac", "--num-envs", str(n), *on, *sizes.update)
        yield Part(f"update-shac-ant-{n}", update, 60.0)
        for name, compare in comparisons(device).items():
            yield Part(f"update-shac-ant-{n}-{name}", (*update, *compare), 60.0)
    for n in sizes.worlds:
        sim = (*BENCH, "sim", "--num-envs", str(n), *on, "--no-peers", *sizes.sim)
        yield Part(f"sim-ant-{n}", sim, 45.0)
    train = ("-m", "diffrl_algos", "train", "shac", "ant", "--device", device, "--out", "{run}", "--json")
    yield Part("training-shac-ant", (*train, *sizes.training), 100.0, "training")
    if has_mjx():
        for n in sizes.beside:
            beside = (*BENCH, "sim", "--num-envs", str(n), *on, "--no-peers", "--beside", "mjx", *sizes.sim)
            yield Part(f"sim-ant-{n}-mjx", beside, 100.0)


def comparisons(device: str) -> dict[str, tuple[str, ...]]:
    """Ways to take an update faster, each by turns with the plain one."""
    fused = ("--compare", "task.fused=false,true")
    return {"fused": fused, "graph": ("--compare", "cuda_graph=false,true")} if device != "cpu" else {"fused": fused}


def has_mjx() -> bool:
    """Whether MJX is installed."""
    try:
        return bool(version("jax") and version("mujoco-mjx"))
    except PackageNotFoundError:
        return False


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: str
    """``finished``, ``failed``, ``out of time`` or ``not started``."""
    seconds: float = 0.0
    output: str = ""
    messages: str = ""
    """The end of what it wrote to stderr."""


def run(arguments: Sequence[str], limit: float, environment: dict[str, str]) -> Ended:
    """A process of Python and what it starts, ended after ``limit`` seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=out, stderr=err, start_new_session=True
        )
        try:
            code = process.wait(limit)
            status = "finished" if code == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "out of time"
        finally:
            _end(process)
        for file in (out, err):
            file.seek(0)
        return Ended(status, time.perf_counter() - began, out.read(), err.read()[-2000:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, with all that it has started."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, kind)
            process.wait(5)


def result(part: Part, ended: Ended, folder: Path) -> Any:
    """What is kept of a process; None if there is nothing.

    Raises:
        ValueError: its output is not what it should be.
    """
    if part.kind == "tests":
        return tests_result(ended.output)
    if ended.status != "finished":
        return None
    value = json.loads(ended.output)
    if part.kind != "training":
        return value
    keys = ("iteration", "env_steps", "wall_s", "return_mean")
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    curve = [{key: json.loads(line).get(key) for key in keys} for line in lines]
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {"benchmark": "training", **value, "curve": curve, "run": facts}


def tests_result(output: str) -> dict[str, Any] | None:
    """Counts of pytest's last line, and what failed; None if pytest did not come to its end."""
    counts = {name: int(count) for count, name in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", output[-200:])}
    failed = re.findall(r"^(?:FAILED|ERROR) (.*)$", output, flags=re.MULTILINE)
    return {"benchmark": "tests", **counts, "failures": failed} if counts else None


def write(file: Path, value: Any) -> None:
    """The whole file or none."""
    fresh = file.with_name(f".{file.name}.part")
    fresh.write_text(json.dumps(value, allow_nan=False) + "\n", encoding="utf-8")
    fresh.replace(file)


def record(device: str, out: Path, seconds: float, sizes: Sizes) -> int:
    """Run all parts and write their files; the number of parts that did not end well."""
    deadline = time.perf_counter() + seconds
    known = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **({"REQUIRE_GPU": "1"} if device != "cpu" else {})}
    environment = {**os.environ, **known}
    about = run(("-c", MACHINE, device), 60.0, environment)
    if about.status != "finished":
        last = [about.status, *about.messages.strip().splitlines()][-1]
        print(f"gpu_record: {last}", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    facts = json.loads(about.output)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = {"benchmark": "gpu_record", "device": device, "commit": commit.stdout.strip() or None, **facts, "parts": {}}
    todo = list(parts(device, sizes))
    bad = 0
    for k, part in enumerate(todo, start=1):
        left = deadline - time.perf_counter()
        print(f"[{k}/{len(todo)}] {part.name}, {left:.0f} s left", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "run"
            arguments = [each.replace("{run}", str(place)) for each in part.arguments]
            ended = run(arguments, min(part.limit, left), environment) if left > 1.0 else Ended("not started")
            try:
                value = result(part, ended, place)
            except (ValueError, OSError) as error:
                value, ended = None, Ended("failed", ended.seconds, messages=f"{type(error).__name__}: {error}")
        if value is not None:
            write(out / f"{part.name}.json", {**facts, **value})
        bad += ended.status != "finished"
        row = {"status": ended.status, "seconds": round(ended.seconds, 1), "command": " ".join(part.arguments)}
        found["parts"][part.name] = row | ({} if ended.status == "finished" else {"messages": ended.messages})
        write(out / "record.json", found)
        print(f"    {ended.status} after {ended.seconds:.0f} s", file=sys.stderr, flush=True)
        if ended.status == "failed":
            print("    " + "\n    ".join(ended.messages.strip().splitlines()[-3:]), file=sys.stderr, flush=True)
    print(f"{len(todo) - bad} of {len(todo)} parts ended well; their files are in {out}", file=sys.stderr)
    return bad


def main(argv: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:i, or cpu to see that it works")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the files")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="longest time of all parts together")
    parser.add_argument("--tiny", action="store_true", help="as little as possible of everything")
    args = parser.parse_args(argv)
    return 1 if record(args.device, args.out.resolve(), args.seconds, TINY if args.tiny else Sizes()) else 0


if __name__ == "__main__":
    sys.exit(main())
