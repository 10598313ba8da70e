"""``diffrl eval``: evaluate a run's policy on fresh worlds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffsim_core.options import Count, Option

from .._evaluate import returns_text
from .._session import evaluate_run
from ._parser import SEED, Parser, Result, add_import
from ._run_imports import imported_for

_EPISODES = Option(
    name="episodes", kind=Count | None, default=None, doc="Whole episodes; none: as many as at the end of the run."
)


def run(arguments: Sequence[str]) -> Result:
    parser = Parser("eval", "Evaluate the policy of a run on fresh worlds, by default as at the end of the run.")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add(_EPISODES, metavar="K")
    parser.add(SEED, metavar="S")
    parser.add_argument("--stochastic", action="store_true", help="sample actions instead of taking their mean")
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    add_import(parser, run=True)
    args = parser.parse(arguments)
    path = Path(args.run)
    with imported_for(args, path):
        result = evaluate_run(
            path,
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
