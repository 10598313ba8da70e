"""``diffrl play``: record or show a run's policy, as a file or live in a browser."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval

from diffsim_core.options import Option

from .._clips import Played, play_run
from .._errors import UsageError
from .._live import PORT_OPTION, live_view, watch_run
from .._signals import stop_on_signals
from ._parser import SEED, Parser, Result, add_import
from ._run_imports import imported_for

_WORLDS = Option(name="worlds", kind=Annotated[int, Interval(ge=1, le=1024)], default=4, doc="Worlds to show.")
_EPISODE_COUNT: Any = Annotated[int, Interval(ge=1, le=10_000)]
_DURATION: Any = Annotated[float, Interval(ge=1e-3, le=1e5)]
_EPISODES = Option(
    name="episodes",
    kind=_EPISODE_COUNT | None,
    default=None,
    doc="Whole episodes of each world; none: 1 without --seconds.",
)
_SECONDS = Option(
    name="seconds",
    kind=_DURATION | None,
    default=None,
    unit="s",
    doc="Longest simulated time to show.",
)


def run(arguments: Sequence[str]) -> Result:
    parser = Parser("play", "Record the policy of a run in fresh worlds and write a file to look at.")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--html", metavar="FILE", help="a page that opens offline; by default RUN/play.html")
    parser.add_argument("--video", metavar="FILE", help="a .gif or .mp4 through MuJoCo's renderer, of the first world")
    parser.add_argument(
        "--motion", metavar="FILE", help="the recorded motion, .npz, for diffsim_core.viewer.Motion.load"
    )
    parser.add_argument(
        "--live", action="store_true", help="instead of a file, show a page with the newest policy until Ctrl-C"
    )
    parser.add(PORT_OPTION, metavar="P", default=PORT_OPTION.default)
    parser.add(_WORLDS, metavar="N", default=_WORLDS.default)
    parser.add(_EPISODES, metavar="K")
    parser.add(_SECONDS, metavar="X")
    parser.add(SEED, metavar="S")
    parser.add_argument("--stochastic", action="store_true", help="sample actions instead of taking their mean")
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    add_import(parser, run=True)
    args = parser.parse(arguments)
    outputs = {name: Path(text) for name in ("html", "video", "motion") if (text := getattr(args, name)) is not None}
    if args.live and outputs:
        raise UsageError(f"--live writes no file; remove --{next(iter(outputs))}")
    for name, path in outputs.items():
        if not path.resolve().parent.is_dir():
            raise UsageError(f"--{name} {path}: folder {path.resolve().parent} does not exist; create it first")
    if "video" in outputs:
        _check_video(outputs["video"])
    options = {name: getattr(args, name) for name in ("seconds", "episodes", "worlds", "seed")}
    options |= {"deterministic": not args.stochastic, "which": args.checkpoint}
    path = Path(args.run)
    with imported_for(args, path):
        if args.live:
            return _show(path, args.port, args.json, options)
        played = play_run(path, **options)
        if not outputs:
            outputs["html"] = path / "play.html"
        _write(played, outputs)
    return _result(args, played, outputs)


def _result(args: Namespace, played: Played, outputs: dict[str, Path]) -> Result:
    spec, reward = played.env.spec, played.footage.curves["reward"]
    frames, worlds = reward.shape
    rewards = np.nansum(reward, axis=0)
    result = {
        "run": args.run,
        "task": spec.name,
        "worlds": worlds,
        "frames": frames,
        "seconds": frames * spec.dt,
        "reward_sum_mean": float(rewards.mean()),
        "files": {name: str(path) for name, path in outputs.items()},
    }
    size = ", ".join(f"{path} ({path.stat().st_size / 1e6:.1f} MB)" for path in outputs.values())
    return Result(result, f"{result['seconds']:.1f} s of {result['worlds']} worlds of {spec.name}: {size}", args.json)


def _show(path: Path, port: int, as_json: bool, options: dict[str, Any]) -> Result:
    """Show a live view until a signal ends it."""
    with stop_on_signals() as stop, stop.held(), live_view(port) as view:

        def wait(seconds: float) -> bool:
            end = time.monotonic() + seconds
            while stop.received is None and time.monotonic() < end:
                time.sleep(0.05)
            return stop.received is not None

        print(f"live view: {view.address} (Ctrl-C ends it)", file=sys.stderr)
        count = watch_run(path, view, wait, **options)
        stop.received = None  # answered: it is how a view ends
    result = {"run": str(path), "address": view.address, "policies": count}
    return Result(result, f"showed {count} policies of {path}", as_json)


def _check_video(path: Path) -> None:
    """Check the requirements of a video before anything is played."""
    from diffsim_core.viewer.video import check_video

    try:
        check_video(path)
    except (RuntimeError, ValueError, ImportError) as error:
        raise UsageError(f"--video: {error}") from None


def _write(played: Played, outputs: dict[str, Path]) -> None:
    from diffsim_core import viewer

    if "motion" in outputs or "video" in outputs:
        motion = played.motion()
        if "motion" in outputs:
            motion.save(outputs["motion"])
        if "video" in outputs:
            viewer.write_video(motion, outputs["video"])
    if "html" in outputs:
        played.write_html(outputs["html"])
