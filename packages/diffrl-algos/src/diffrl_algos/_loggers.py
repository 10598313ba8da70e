"""Loggers for TensorBoard and for Weights & Biases; each needs the extra of its name."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._errors import RunError, require
from ._files import dump_json, read_json, write_atomic
from ._train import Callback, Status, Update


class TensorBoardLog(Callback):
    """Writes the metrics of every update and evaluation as TensorBoard scalars over iterations.

    It supersedes the entries that an earlier process logged after the checkpoint that training resumes from.

    Args:
        folder: folder of the event files, the ``--logdir`` of TensorBoard.

    Raises:
        UsageError: the extra ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        require("tensorboard", "tensorboard")
        self._folder = folder

    def on_start(self, state: Any, fraction: float) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=state.iteration + 1)

    def on_evaluation(self, update: Update) -> None:
        assert update.evaluation is not None
        self._write("evaluation", update.evaluation.to_json(), update)

    def on_update(self, update: Update) -> None:
        self._write("train", update.metrics, update)

    def on_stop(self, update: Update | None, status: Status) -> None:
        self._writer.close()

    def _write(self, group: str, metrics: Mapping[str, Any], update: Update) -> None:
        for name, value in _numbers(group, metrics).items():
            self._writer.add_scalar(name, value, update.metrics["iteration"])


class WandbLog(Callback):
    """Logs the metrics of every update and evaluation to Weights & Biases, over iterations.

    ``WANDB_MODE=offline`` keeps them in the folder until ``wandb sync``; the other environment variables of the
    ``wandb`` package have their usual effect. The file ``wandb.json`` holds the name of its run, so that a resumed run
    continues there.

    Args:
        project: project of Weights & Biases.
        folder: folder of its files.
        config: the run's configuration as it is shown there.

    Raises:
        UsageError: the extra ``wandb`` is not installed.
    """

    def __init__(self, project: str, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        require("wandb", "wandb")
        self._project, self._folder, self._config = project, folder, dict(config or {})

    def on_start(self, state: Any, fraction: float) -> None:
        wandb = importlib.import_module("wandb")
        try:
            self._run = wandb.init(
                project=self._project,
                name=self._folder.name,
                dir=str(self._folder),
                id=self._id(),
                resume="allow",
                config=self._config,
            )
        except (wandb.Error, ValueError) as error:
            raise RunError(
                f"Weights & Biases: {error}; log in with wandb login, or set WANDB_MODE=offline to send it later"
            ) from None

    def on_evaluation(self, update: Update) -> None:
        assert update.evaluation is not None
        self._run.log(_numbers("evaluation", update.evaluation.to_json()), step=update.metrics["iteration"])

    def on_update(self, update: Update) -> None:
        self._run.log(_numbers("train", update.metrics), step=update.metrics["iteration"])

    def on_stop(self, update: Update | None, status: Status) -> None:
        self._run.finish()

    def _id(self) -> str:
        file = self._folder / "wandb.json"
        if file.exists():
            try:
                return str(read_json(file)["id"])
            except (ValueError, KeyError):
                raise RunError(
                    f"{file} does not name a run of Weights & Biases; remove it to log to a new one"
                ) from None
        name = secrets.token_hex(6)
        write_atomic(file, dump_json({"id": name}))
        return name


def _numbers(group: str, metrics: Mapping[str, Any]) -> dict[str, float]:
    """``{"train/return_mean": ...}``: the metrics that are numbers."""
    return {
        f"{group}/{name}": value
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
