"""``diffrl play``: record or show a run's policy, as a file or live in a browser."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._clips import Played, play_run
from .._errors import UsageError
from .._imports import import_module
from .._live import PORT, live_view, watch_run
from .._signals import stop_on_signals
from ._parser import Parser, Result, add_import


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
    parser.add_argument("--port", type=int, default=PORT, metavar="P", help=f"port of --live; default {PORT}")
    parser.add_argument("--worlds", type=int, default=4, metavar="N", help="worlds to show; default 4")
    parser.add_argument("--episodes", type=int, metavar="K", help="whole episodes of each world; default 1")
    parser.add_argument("--seconds", type=float, metavar="X", help="longest simulated time to show")
    parser.add_argument("--seed", type=int, help="names the worlds' random numbers; default as at the end of the run")
    parser.add_argument("--stochastic", action="store_true", help="sample actions instead of taking their mean")
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    add_import(parser)
    args = parser.parse(arguments)
    for name in args.imports:
        import_module(name)
    limits = {"worlds": (1, 1024), "episodes": (1, 10_000), "seconds": (1e-3, 1e5), "seed": (0, 2**31 - 1)}
    for name, (least, most) in limits.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise UsageError(f"--{name} is {value}; expected a number from {least:g} to {most:g}")
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
    if args.live:
        return _show(Path(args.run), args.port, args.json, options)
    played = play_run(Path(args.run), **options)
    if not outputs:
        outputs["html"] = Path(args.run) / "play.html"
    _write(played, outputs)
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
