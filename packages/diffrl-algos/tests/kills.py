"""Runs that are told to end at random moments: what they leave must be whole, and go on.

``python kills.py --moments 20`` tries every kind of run, each signal, to the process and to its group, 20 times each.
Runs are forked from this process, which has imported what they need, so a trial costs little; ``torchrun`` starts its
own. Prints a line for each trial that went wrong and a table, and exits with 1 if there was any.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import diffrl_algos.torch  # noqa: F401 - once for all runs
import diffsim_core
from diffrl_algos.cli import main

TOY = str(Path(__file__).with_name("toy.py"))
_SHAC = ["shac", "toy", "--import", TOY, "--horizon", "4", "--actor-hidden", "8", "--critic-hidden", "8"]
_SHAC += ["--critic-iterations", "1", "--num-envs", "2", "--task-option", "horizon=6"]
_PPO = ["ppo", "gym:Pendulum-v1", "--horizon", "8", "--actor-hidden", "8", "--critic-hidden", "8", "--num-envs", "1"]
_PPO += ["--actor-iterations", "1", "--critic-iterations", "1", "--task-option", "max_episode_steps=10"]
_SAC = ["sac", "toy", "--import", TOY, "--horizon", "4", "--actor-hidden", "8", "--critic-hidden", "8"]
_SAC += ["--num-envs", "2", "--task-option", "horizon=6", "--updates", "1", "--batch-size", "4", "--replay-size", "64"]
KINDS = {
    "torch": [*_SHAC, "--eval-every", "3", "--eval-episodes", "2"],
    "replay": [*_SAC, "--warmup-steps", "4"],
    "sync": _PPO,
    "async": [*_PPO, "--task-option", "vectorization_mode=async"],
    "processes": _SHAC,
    "torchrun": _SHAC,
}
"""``processes`` are two that ``torchrun`` would start, started here."""
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_WAIT_S = 300.0
_GRACE_S = 30.0
"""What ``torchrun`` gives a process once another one has ended [s]."""


class Run:
    """One run, of one process or several, in a process group of its own."""

    def __init__(self, kind: str, folder: Path, *options: str) -> None:
        self.path, self.log = folder / "run", folder / "log"
        self.arguments = ["train", *KINDS[kind], "--iterations", "1000000", "--out", str(self.path)]
        more = [*self.arguments, "--checkpoint-every", "1000000", *options]
        if kind == "torchrun":
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
            with self.log.open("w") as log:
                self._launcher = subprocess.Popen(
                    [*command, "-m", "diffrl_algos", *more], stdout=log, stderr=log, start_new_session=True
                )
            self.pids = [self._launcher.pid]
        elif kind == "processes":
            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                port = str(found.getsockname()[1])
            common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            ranks = [{**common, "RANK": str(k), "LOCAL_RANK": str(k)} for k in range(2)]
            self.pids = [self._fork(more, ranks[0], 0)]
            self.pids.append(self._fork(more, ranks[1], self.pids[0]))
        else:
            self.pids = [self._fork(more, {}, 0)]

    def _fork(self, arguments: list[str], environment: dict[str, str], group: int) -> int:
        pid = os.fork()
        if pid:
            with contextlib.suppress(PermissionError):  # the child may have done so, and have begun another program
                os.setpgid(pid, group or pid)  # here too: a signal to the group may come before the child's turn
            return pid
        code = 1
        try:
            os.setpgid(0, group)
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.environ.update(environment)
            code = main(arguments)
        except KeyboardInterrupt:  # before the command began, as Python itself would end
            code = 128 + signal.SIGINT
        except BaseException:
            traceback.print_exc()
        finally:
            atexit._run_exitfuncs()  # such as those of multiprocessing
            os._exit(code)

    def updates(self) -> int:
        """Lines in the log of updates."""
        file = self.path / "metrics.jsonl"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    def checkpoint(self) -> int:
        """Iteration of the last checkpoint."""
        return max((int(file.stem) for file in self.path.glob("checkpoints/0*.json")), default=0)

    def until(self, condition) -> None:
        """Wait until the condition holds or the run has ended."""
        end = time.monotonic() + _WAIT_S
        while not condition() and time.monotonic() < end and not self._ended(self.pids[0]):
            time.sleep(0.002)

    def signal(self, number: int, to_group: bool) -> None:
        if to_group:
            os.killpg(self.pids[0], number)
        else:
            os.kill(random.choice(self.pids), number)

    def wait(self) -> list[int]:
        """Exit codes, in the order of the processes; the rest is ended as ``torchrun`` does once one has ended."""
        codes: dict[int, int] = {}
        end, asked = time.monotonic() + _WAIT_S, 0.0
        while len(codes) < len(self.pids):
            for pid in self.pids:
                if pid not in codes and (status := os.waitpid(pid, os.WNOHANG))[0]:
                    codes[pid] = os.waitstatus_to_exitcode(status[1])
            left, now = [pid for pid in self.pids if pid not in codes], time.monotonic()
            late = now > end or (asked and now > asked + _GRACE_S)
            if late or (codes and not asked):
                asked = asked or now
                for pid in left:
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            time.sleep(0.005)
        return [codes[pid] for pid in self.pids]

    @staticmethod
    def _ended(pid: int) -> bool:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None and found.si_pid == pid


def trial(kind: str, name: str, to_group: bool, folder: Path, dice: random.Random) -> tuple[str, str]:
    """``(stage, problem)`` of one run that is told to end; no problem is an empty text."""
    run, number = Run(kind, folder), signal.Signals[name]
    if dice.random() < 0.3:  # at its start
        time.sleep(dice.uniform(0.0, 6.0 if kind == "torchrun" else 2.0))
    else:
        count = dice.randint(1, 12)
        run.until(lambda: run.updates() >= count)
        time.sleep(dice.uniform(0.0, 0.05))
    run.signal(number, to_group)
    codes = run.wait()
    made, updates, saved = (run.path / "run.json").exists(), run.updates(), run.checkpoint()
    stage = "trained" if updates else "made" if made else "started"
    said = run.log.read_text(errors="replace") if run.log.exists() else ""
    problems = []
    # Before the handlers are there, the default action of a signal ends the process: nothing is lost then.
    if kind != "torchrun" and not {128 + number, *([-number] if not made else [])} & set(codes):
        problems.append(f"exit codes {codes}")
    # Where a destructor swallowed the signal, Python says so with a traceback.
    if said.count("Traceback") > said.count("Exception ignored") and made and kind != "torchrun":
        problems.append("a traceback")
    if not updates - 1 <= saved <= updates:
        problems.append(f"{updates} updates, but the last checkpoint is of {saved}")
    again = ["train", "--resume", str(run.path), "--stop-after", "1"] if made else [*run.arguments, "--stop-after", "1"]
    if made and not updates:  # the same command is not refused either
        again = dice.choice([again, [*run.arguments, "--checkpoint-every", "1000000", "--stop-after", "1"]])
    code = os.waitstatus_to_exitcode(os.waitpid(run._fork([*again, *imports(kind)], {}, 0), 0)[1])
    if code or run.checkpoint() != saved + 1 or run.updates() != saved + 1:
        problems.append(
            f"going on from {saved}: exit code {code}, checkpoint {run.checkpoint()}, {run.updates()} lines"
        )
    return stage, "; ".join(problems) + (f"\n{run.log.read_text(errors='replace')}" if problems else "")


def imports(kind: str) -> list[str]:
    return [] if kind in ("sync", "async") else ["--import", TOY]


def campaign(kinds: list[str], moments: int, seed: int) -> tuple[dict[str, dict[str, int]], list[str]]:
    """How many trials of each kind and signal found the run at which stage, and what went wrong."""
    dice, table, wrong = random.Random(seed), {}, []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job of a shell
    for task in ("cartpole", "gym:Pendulum-v1"):
        diffsim_core.make(task, num_envs=1).reset(0)  # imports the rest, once for all runs
    for kind in kinds:
        for name in SIGNALS:
            for to_group in (False, True):
                row = f"{kind} {name} {'group' if to_group else 'process'}"
                table[row] = {"started": 0, "made": 0, "trained": 0, "wrong": 0}
                for _ in range(moments):
                    folder = tempfile.mkdtemp()  # a TemporaryDirectory would end with every process forked from here
                    stage, problem = trial(kind, name, to_group, Path(folder), dice)
                    shutil.rmtree(folder)
                    table[row][stage] += 1
                    if problem:
                        table[row]["wrong"] += 1
                        wrong.append(f"{row}, {stage}: {problem}")
                        print(wrong[-1], flush=True)
                print(row, json.dumps(table[row]), flush=True)
    return table, wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sys.exit(bool(campaign(args.kinds.split(","), args.moments, args.seed)[1]))
