"""The loop: budgets, callbacks, stopping, and that it needs nothing but the algorithm's three functions."""

from __future__ import annotations

import io
import os
import signal
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

from diffrl_algos import Budget, Callback, SHACConfig, UsageError, train
from diffrl_algos._callbacks import ProgressLine
from diffrl_algos._session import stop_on_signals


class State(NamedTuple):
    iteration: int
    env_steps: int
    seed: int


@dataclass
class Counting:
    """An algorithm without arrays or gradients."""

    config: SHACConfig
    name: str = "counting"

    def init(self, env, seed):
        return State(0, 0, seed)

    def update(self, state):
        state = state._replace(iteration=state.iteration + 1, env_steps=state.env_steps + 10)
        return state, {"return_mean": -1.0 / state.iteration, "divergences": [state.iteration]}


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def on_start(self, state, fraction):
        self.events.append(("start", state.iteration, fraction))

    def on_update(self, update):
        self.events.append((update.metrics["iteration"], update.fraction, update.divergences))

    def on_stop(self, update, status):
        self.events.append(("stop", update and update.metrics["iteration"], status))


ALGORITHM = Counting(SHACConfig(iterations=4))


def test_default_budget_is_the_configuration(worlds):
    recorder = Recorder()
    result = train(ALGORITHM, worlds(), callbacks=[recorder], seed=7)
    assert result.state == State(4, 40, 7) and result.status == "finished"
    assert recorder.events == [
        ("start", 0, 0.0),
        *((k, k / 4, [k]) for k in (1, 2, 3, 4)),
        ("stop", 4, "finished"),
    ]
    assert result.metrics["iteration"] == 4 and result.metrics["env_steps"] == 40
    assert result.metrics["return_mean"] == -0.25 and "divergences" not in result.metrics
    assert result.wall_s == result.metrics["wall_s"] > 0


def test_budgets(worlds):
    assert train(ALGORITHM, worlds(), Budget(iterations=2)).state.iteration == 2
    assert train(ALGORITHM, worlds(), Budget(env_steps=25)).state.env_steps == 30
    result = train(ALGORITHM, worlds(), Budget(seconds=0.05))
    assert 0.05 <= result.wall_s < 1.0
    # Time that an earlier part of the run took counts.
    assert train(ALGORITHM, worlds(), Budget(seconds=5.0), wall_s=5.0).state.iteration == 0


@pytest.mark.parametrize("given", [{}, {"iterations": 1, "seconds": 2.0}, {"iterations": 0}, {"seconds": -1.0}])
def test_budgets_that_make_no_sense(given):
    with pytest.raises(UsageError):
        Budget(**given)


def test_stop_after_keeps_the_budget(worlds):
    first = train(ALGORITHM, worlds(), stop_after=3)
    assert first.status == "stopped" and first.state.iteration == 3
    rest = train(ALGORITHM, worlds(), state=first.state, wall_s=first.wall_s, stop_after=3)
    assert rest.status == "finished" and rest.state.iteration == 4 and rest.wall_s > first.wall_s
    done = train(ALGORITHM, worlds(), state=rest.state)
    assert done.status == "finished" and done.metrics == {}
    with pytest.raises(UsageError, match="stop_after is 0"):
        train(ALGORITHM, worlds(), stop_after=0)


def test_signals_stop_after_the_update(worlds):
    class Kill(Callback):
        def on_update(self, update):
            if update.metrics["iteration"] == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as received:
        result = train(ALGORITHM, worlds(), callbacks=[Kill()], interrupt=lambda: received() is not None)
        assert received() == "SIGTERM"
    assert result.status == "interrupted" and result.state.iteration == 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_progress_line_says_where_we_are(worlds):
    out = io.StringIO()
    config = replace(ALGORITHM.config, iterations=1200)
    train(Counting(config), worlds(), callbacks=[ProgressLine(out)], stop_after=600)
    last = out.getvalue().splitlines()[-1]
    for part in ("iteration 600", "50%", "6,000 steps", "steps/s", "return -0.0", "0:00:0", "left"):
        assert part in last
    assert "diverged" not in last and "\x1b" not in out.getvalue()


def test_progress_line_is_redrawn_on_a_terminal(worlds):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    train(ALGORITHM, worlds(), callbacks=[ProgressLine(out)])
    assert out.getvalue().startswith("\r\x1b[2K") and out.getvalue().endswith("\n")
