"""``diffrl eval``: evaluate a run's policy on fresh worlds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .._errors import UsageError
from .._evaluate import returns_text
from .._imports import import_module
from .._session import evaluate_run
from ._parser import Parser, Result, add_import


def run(arguments: Sequence[str]) -> Result:
    parser = Parser("eval", "Evaluate the policy of a run on fresh worlds, by default as at the end of the run.")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--episodes", type=int, metavar="K", help="whole episodes; default as at the end of the run")
    parser.add_argument("--seed", type=int, help="names the worlds' random numbers; default as at the end of the run")
    parser.add_argument("--stochastic", action="store_true", help="sample actions instead of taking their mean")
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    add_import(parser)
    args = parser.parse(arguments)
    for name in args.imports:
        import_module(name)
    for name, least in (("episodes", 1), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and not least <= value < 2**31:
            raise UsageError(f"--{name} is {value}; expected an integer from {least} to {2**31 - 1}")
    result = evaluate_run(
        Path(args.run),
        episodes=args.episodes,
        seed=args.seed,
        deterministic=not args.stochastic,
        which=args.checkpoint,
    )
    actions = "deterministic" if result["deterministic"] else "stochastic"
    text = (
        f"{returns_text(result)} "
        f"({actions}, mean length {result['length_mean']:.1f}, seed {result['seed']}, iteration {result['iteration']})"
    )
    return Result(result, text, args.json)
