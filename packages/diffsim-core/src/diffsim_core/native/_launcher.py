"""``Launcher``: runs the functions of an engine, on the threads of a CPU or on CUDA."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

import warp as wp

from diffsim_core.native._arguments import NUM_WORLDS, Packer
from diffsim_core.native._module import Kernels
from diffsim_core.native._scratch import Scratch
from diffsim_core.native._team import Team, aligned

_CUDA_BLOCK = 32
"""Items per CUDA block: one warp each, so that a few thousand worlds reach every multiprocessor."""


@dataclass(frozen=True)
class Launch:
    """One function, run for a number of items."""

    function: str
    items: Callable[[int], int] | None = None
    """How many items so many worlds make, for instance particles or grid cells; by default the blocks of worlds."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of this launch alone, such as the number of its sub-step."""


class Launcher:
    """Makes programs of launches that share constants, scratch and threads.

    Arguments go by name: a function is handed those that its :class:`Arguments` lists, each from the call, the launch,
    the constants or the scratch. Scratch is allocated at the first call, grows with the number of worlds, and keeps
    what launches write to it for the later launches of the same call. On CUDA a launcher with scratch serves one stream
    at a time.

    Args:
        kernels: what to launch.
        device: ``"cpu"`` or ``"cuda[:i]"``.
        constants: arguments that are the same in every call; addresses must stay valid.
        scratch: how many numbers so many worlds need, by argument. All launches share it, unless the argument is
            ``own``: then each worker (a thread of a CPU, an item on CUDA) gets that much.
        threads: CPU threads.
        stack: bytes that the local arrays of a function take at most, if that is more than a few hundred thousand.

    Raises:
        ValueError: for scratch that the functions do not list as a pointer.
    """

    def __init__(
        self,
        kernels: Kernels,
        *,
        device: str,
        constants: Mapping[str, Any],
        scratch: Mapping[str, Callable[[int], int]] | None = None,
        threads: int,
        stack: int = 0,
    ) -> None:
        self.kernels = kernels
        self.threads = threads
        self.stack = stack
        self.constants = dict(constants)
        self.scratch = Scratch(scratch or {}, kernels, device, threads)
        self.device = wp.get_device(device)
        self.lock = threading.Lock()
        """Of the pool, the scratch and the packed arguments: one call at a time."""
        self._team: Team | None = None

    def program(self, *launches: Launch, given: Sequence[str]) -> Program:
        """Launches to be run one after the other; each sees what the ones before it wrote.

        Args:
            launches: what to run.
            given: names of the arguments that come with each call, in the order in which :meth:`Program.run` gets them.

        Raises:
            ValueError: if the kernels have no function of that name, it lacks an argument, or no function lists one.
        """
        for launch in launches:
            if launch.function not in self.kernels.functions:
                known = ", ".join(self.kernels.functions)
                raise ValueError(f"there is no function {launch.function!r} to launch; the kernels have {known}")
            missing = self.kernels.functions[launch.function].types.keys() - self._names(launch, given)
            if missing:
                raise ValueError(f"launch of {launch.function!r} lacks the arguments {', '.join(sorted(missing))}")
        listed = {name for launch in launches for name in self.kernels.functions[launch.function].types}
        if unknown := sorted(set(given) - listed):
            called = ", ".join(launch.function for launch in launches)
            raise ValueError(f"no function of this program ({called}) lists the arguments {', '.join(unknown)}")
        return Program(self, launches, given)

    def _names(self, launch: Launch, given: Sequence[str]) -> set[str]:
        return {NUM_WORLDS, *self.constants, *self.scratch.names, *launch.values, *given}

    def team(self) -> Team:
        """The threads of a CPU, made when first needed."""
        if self._team is None:
            lead, follow = (self.kernels.entries[name] for name in ("lead", "follow"))
            self._team = Team(lead, follow, self.threads, self.stack)
        return self._team


class _Part(NamedTuple):
    """Where the arguments of launches go."""

    packer: Packer
    known: tuple[Any, ...]
    """Values that a call does not give."""
    order: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """The values of the fields, from the known ones, those of a call and those of the scratch."""
    room: Any
    """A writable buffer."""


class _Plan(NamedTuple):
    """A program for one number of worlds."""

    most: int
    """Items of the largest launch."""
    parts: list[_Part]
    run: Callable[[int], None]
    """Launches everything, on up to so many threads."""


class Program:
    """Launches in their order, made by :meth:`Launcher.program`."""

    def __init__(self, launcher: Launcher, launches: Sequence[Launch], given: Sequence[str]) -> None:
        self._launcher = launcher
        self._launches = tuple(launches)
        self._given = tuple(given)
        self._plans: dict[int, _Plan] = {}

    def run(self, num_worlds: int, worth: int, values: Sequence[Any]) -> None:
        """Run all launches for ``num_worlds`` worlds.

        Args:
            num_worlds: how many.
            worth: threads that the work deserves; no more than there are, or items, will take part.
            values: of the arguments that were announced as given, in their order.

        Raises:
            ValueError: for another number of values.
        """
        if len(values) != len(self._given):
            wanted = ", ".join(self._given)
            raise ValueError(f"got {len(values)} arguments, expected {len(self._given)}: {wanted}")
        launcher = self._launcher
        with launcher.lock:
            plan = self._plans.get(num_worlds)
            if plan is None:
                plan = self._plans[num_worlds] = self._plan(num_worlds)
            if launcher.scratch.names:
                values = (*values, *launcher.scratch.values(num_worlds, plan.most))
            for packer, known, order, room in plan.parts:
                packer.pack_into(room, order((*known, *values)))
            plan.run(worth)

    def _plan(self, num_worlds: int) -> _Plan:
        kernels = self._launcher.kernels
        blocks = kernels.blocks(num_worlds)
        items = [blocks if launch.items is None else launch.items(num_worlds) for launch in self._launches]
        make = self._commands if kernels.on_cuda else self._jobs
        parts, run = make(items, num_worlds)
        return _Plan(max(items), parts, run)

    def _part(self, launch: Launch, num_worlds: int, room: Callable[[int], Any]) -> _Part:
        """Of a launch, with ``room(bytes)`` for its arguments."""
        launcher = self._launcher
        packer = launcher.kernels.functions[launch.function].packer(launcher.kernels.dtype)
        known = packer.rounded({NUM_WORLDS: num_worlds, **launcher.constants, **launch.values})
        names = [*known, *self._given, *launcher.scratch.names]
        at = [names.index(name) for name in packer.names]
        return _Part(packer, tuple(known.values()), _selection(at), room(packer.size))

    def _jobs(self, items: Sequence[int], num_worlds: int) -> tuple[list[_Part], Callable[[int], None]]:
        """On a CPU: a table of jobs as ``team.h`` reads it. Launches with the same arguments share them."""
        launcher, names = self._launcher, list(self._launcher.kernels.functions)
        parts: dict[Any, _Part] = {}
        table = aligned(3 * len(items))
        for k, (launch, count) in enumerate(zip(self._launches, items, strict=True)):
            key = (launcher.kernels.functions[launch.function], tuple(sorted(launch.values.items())))
            if key not in parts:
                parts[key] = self._part(launch, num_worlds, lambda size: aligned(-(-size // 8)))
            address = parts[key].room.ctypes.data
            table[3 * k : 3 * k + 3] = names.index(launch.function), count, address
        start, most = table.ctypes.data, min(launcher.threads, max(items))

        def run(worth: int, table: Any = table) -> None:  # which keeps the table alive
            launcher.team().run(len(items), start, max(1, min(most, worth)) - 1)

        return list(parts.values()), run

    def _commands(self, items: Sequence[int], num_worlds: int) -> tuple[list[_Part], Callable[[int], None]]:
        """On CUDA: recorded launches, which take a quarter of the time of fresh ones; each has its own arguments."""
        launcher = self._launcher
        parts, commands = [], []
        for launch, count in zip(self._launches, items, strict=True):
            kernel = launcher.kernels.entries[launch.function]
            (struct,) = kernel.adj.arg_types.values()
            options = {"device": launcher.device, "block_dim": _CUDA_BLOCK, "record_cmd": True}
            command: Any = wp.launch(kernel, dim=count, inputs=[struct()], **options)
            parts.append(self._part(launch, num_worlds, lambda size, room=command.params[-1]: room))
            commands.append(command)

        def run(worth: int) -> None:
            for command in commands:
                command.launch()

        return parts, run


def _selection(at: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    return itemgetter(*at) if len(at) > 1 else lambda values: tuple(values[i] for i in at)


def default_threads() -> int:
    """Every core this process may use, or ``DIFFSIM_NUM_THREADS``.

    Raises:
        ValueError: if that is not a positive whole number.
    """
    named = os.environ.get("DIFFSIM_NUM_THREADS")
    if named is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not named.isdigit() or int(named) < 1:
        raise ValueError(f"DIFFSIM_NUM_THREADS={named!r} must be a positive whole number")
    return int(named)
