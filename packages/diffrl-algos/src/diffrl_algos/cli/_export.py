"""``diffrl export``: write a run's policy to one file for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .._export import export_run
from ._parser import Parser, Result, add_import
from ._run_imports import imported_for


def run(arguments: Sequence[str]) -> Result:
    parser = Parser("export", "Write the deterministic policy of a run, with its observation statistics, to one file.")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "--format",
        default="onnx",
        metavar="onnx|torch|jax",
        help="default onnx; torch is a program of torch.export, jax one of jax.export",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write; an existing one is replaced")
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    parser.add_argument(
        "--actions",
        default="unit",
        metavar="unit|control",
        help="unit (default) gives actions in [-1, 1]; control gives them in the units of the simulator's controls",
    )
    add_import(parser, run=True)
    args = parser.parse(arguments)
    path = Path(args.run)
    with imported_for(args, path):
        about = export_run(path, Path(args.out), form=args.format, which=args.checkpoint, actions=args.actions)
    text = (
        f"{about['file']}: {about['algorithm']} on {about['task']}, iteration {about['iteration']}, "
        f"{about['num_obs']} observations to {about['num_actions']} actions, {about['bytes']:,} bytes; "
        f"differs by at most {about['max_abs_error']:.1e} on the first observations of {about['task']}"
    )
    return Result(about, text, args.json)
