"""Recordings of a policy to look at: clips of evaluations during training, and motions of finished runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._errors import UsageError
from ._evaluate import Recording
from ._run import Run
from ._session import evaluation_seed
from ._states import restore
from ._train import Callback, Update

if TYPE_CHECKING:
    from diffsim_core import Env
    from diffsim_core.viewer import Footage, Motion


class Clips(Callback):
    """Writes an HTML file of every evaluation, ``FOLDER/ITERATION.html``: the first episodes of its first worlds.

    It needs evaluations during training (``train(..., evaluator=...)`` or ``--eval-every``) and a task that can be
    shown, such as one of rigid bodies.

    Args:
        folder: folder of the files; it is created.
        worlds: number of worlds in a clip.

    Raises:
        UsageError: ``worlds`` is not positive; when training begins, the task has nothing to show.
    """

    def __init__(self, folder: Path | str, worlds: int = 4) -> None:
        if worlds < 1:
            raise UsageError(f"a clip has {worlds} worlds; give at least 1")
        self.record = worlds
        self._folder = Path(folder)

    def on_start(self, state: Any, fraction: float) -> None:
        from diffsim_core.viewer import Recorder

        with _shown():
            Recorder(state.env, 1)
        self._env = state.env
        self._folder.mkdir(parents=True, exist_ok=True)

    def on_evaluation(self, update: Update) -> None:
        from diffsim_core.viewer import write_page

        assert update.evaluation is not None and update.evaluation.recording is not None
        footage = footage_of(update.evaluation.recording)
        write_page(self._env, footage, self._folder / f"{update.metrics['iteration']:08d}.html")


def footage_of(recording: Recording) -> Footage:
    """The recorded episodes; a world stays in its last frame once its episode is over."""
    from diffsim_core import tree_map
    from diffsim_core.viewer import Footage

    T, W = recording.reward.shape
    time = np.arange(T)[:, None]
    last = np.minimum(time, recording.length - 1)

    def held(array: Any) -> Any:
        return array[last, np.arange(W)]

    reward = np.where(time < recording.length, recording.reward, np.nan)
    begins = np.broadcast_to(time == 0, (T, W))
    return Footage(
        tree_map(held, recording.physics),
        held(recording.action),
        begins,
        {"reward": reward},
        tree_map(held, recording.memory),
    )


class Played(NamedTuple):
    """A recording of the policy of a run, and its environment."""

    env: Env
    footage: Footage

    def motion(self) -> Motion:
        """The same as a motion, for a video or a file.

        Raises:
            UsageError: the task is not one of rigid bodies.
        """
        from diffsim_core.viewer import motion_of

        with _shown():
            return motion_of(self.env, **self.footage._asdict())

    def write_html(self, path: Path | str) -> None:
        """Write a page that opens offline."""
        from diffsim_core.viewer import write_page

        write_page(self.env, self.footage, path)


def play_run(
    path: Path,
    *,
    seconds: float | None = None,
    episodes: int | None = None,
    worlds: int = 4,
    seed: int | None = None,
    deterministic: bool = True,
    which: str = "last",
) -> Played:
    """Record the policy of a run in fresh worlds, with the values of its critic if it has one.

    Args:
        path: run folder.
        seconds: simulated time; by default until every world has finished its episodes.
        episodes: whole episodes of each world; by default 1 without ``seconds``.
        worlds: number of worlds.
        seed: names the worlds' random numbers; by default the seed of the evaluation that ends the run.
        deterministic: take the mean of the policy's actions.
        which: the checkpoint: ``"last"``, ``"best"`` or a name.

    Raises:
        RunError: ``path`` is not a run folder.
        CheckpointError: the checkpoint does not exist, or is damaged.
        UsageError: the task has nothing to show, or a number is out of range.
    """
    from diffsim_core.viewer import film

    if worlds < 1 or (episodes is not None and episodes < 1) or (seconds is not None and not seconds > 0):
        raise UsageError(f"worlds={worlds}, episodes={episodes}, seconds={seconds}: all must be positive")
    run = Run.open(path)
    state, _ = restore(run, which)
    spec = run.spec
    algorithm = spec.build()
    seed = evaluation_seed(spec.seed) if seed is None else seed
    env = spec.make_env(worlds)
    value = getattr(algorithm, "value", None)
    with _shown():
        footage = film(
            env,
            algorithm.policy(state, deterministic=deterministic, seed=seed),
            steps=None if seconds is None else max(1, round(seconds / env.spec.dt)),
            episodes=1 if seconds is None and episodes is None else episodes,
            seed=seed,
            value=None if value is None else value(state),
        )
    return Played(env, footage)


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    """Turn the viewer's error about a task that it cannot show into a ``UsageError``."""
    try:
        yield
    except TypeError as error:
        raise UsageError(str(error)) from None
