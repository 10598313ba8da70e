"""``diffrl play``: what a run's policy does, as a file to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._clips import Played, play_run
from .._errors import UsageError
from ._parser import Parser, Result, add_import, import_module


def run(arguments: Sequence[str]) -> Result:
    parser = Parser("play", "Record what the policy of a run does in fresh worlds and write it to a file to look at.")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--html", metavar="FILE", help="a page that opens offline; by default RUN/play.html")
    parser.add_argument("--video", metavar="FILE", help="a .gif or .mp4 through MuJoCo's renderer, of the first world")
    parser.add_argument("--motion", metavar="FILE", help="the motion itself, .npz, for diffsim_core.viewer.Motion.load")
    parser.add_argument("--worlds", type=int, default=4, metavar="N", help="worlds to show; default 4")
    parser.add_argument("--episodes", type=int, metavar="K", help="whole episodes of each world; default 1")
    parser.add_argument("--seconds", type=float, metavar="X", help="simulated time to show at most")
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
    for name, path in outputs.items():
        if not path.resolve().parent.is_dir():
            raise UsageError(f"--{name} {path}: there is no folder {path.resolve().parent}; make it first")
    if "video" in outputs:
        _check_video(outputs["video"])
    played = play_run(
        Path(args.run),
        seconds=args.seconds,
        episodes=args.episodes,
        worlds=args.worlds,
        seed=args.seed,
        deterministic=not args.stochastic,
        which=args.checkpoint,
    )
    if not outputs:
        outputs["html"] = Path(args.run) / "play.html"
    _write(played, outputs)
    spec, reward = played.env.spec, played.footage.curves["reward"]
    frames, worlds = reward.shape
    rewards = np.nansum(reward, axis=0)
    found = {
        "run": args.run,
        "task": spec.name,
        "worlds": worlds,
        "frames": frames,
        "seconds": frames * spec.dt,
        "reward_sum_mean": float(rewards.mean()),
        "files": {name: str(path) for name, path in outputs.items()},
    }
    size = ", ".join(f"{path} ({path.stat().st_size / 1e6:.1f} MB)" for path in outputs.values())
    return Result(found, f"{found['seconds']:.1f} s of {found['worlds']} worlds of {spec.name}: {size}", args.json)


def _check_video(path: Path) -> None:
    """What a video needs is looked for before anything is played."""
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
