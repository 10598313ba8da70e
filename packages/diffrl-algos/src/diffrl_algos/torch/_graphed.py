"""``Graphed``: ``learn`` captured once as a graph of the device's work, and replayed in every later update.

On a GPU an update is thousands of small kernels, and Python takes longer to launch one than the GPU to run it. A CUDA
graph launches all of them at once. It reads and writes fixed memory: so the state is copied in, the graph is replayed,
and what belongs to the next state is copied out. Counters of the state, which are numbers of the host, are numbers of
the device inside: learning rates and Adam's corrections follow them there.

Nothing here needs a GPU but ``CudaGraph``; the tests put in its place a tape of torch's operations on a CPU.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from diffsim_core import watch_task

from ._account import Clock, Learned
from ._cuda_graph import CudaGraph
from ._host_reads import HostReads
from ._run_state import State
from ._state import Stored, leaves, map_leaves

Result = TypeVar("Result")
Learn = Callable[[Any, torch.Generator, Clock], Learned]

WARM_UP = 3
"""Updates before the capture: they load kernels and reserve memory, which a capture must not do."""
_COPIED = ("env_state.", "obs", "changes.", "always.")
"""What the next state takes over; the rest is read before the next replay."""
_APART = 1e-2
"""Part of an array's largest number by which the first replay may differ from the same update without a graph."""


class Graph(Protocol):
    """Device work that is recorded once."""

    def beside(self, call: Callable[[], Result]) -> Result:
        """Run a call where the capture will run it, and wait for its end."""
        ...

    def capture(self, call: Callable[[], Result], generator: torch.Generator) -> Result:
        """Record a call that draws from ``generator``; its results get their numbers by ``replay``."""
        ...

    def replay(self) -> None:
        """Do the recorded work again, on the present numbers of what it reads."""
        ...


class _Recorded(NamedTuple):
    given: list[Tensor]
    """Copies of the leaves of a state, which the graph reads."""
    made: dict[str, Any]
    """Fields of ``Learned``, which it writes."""
    numbers: dict[str, type]
    """Names and types of those leaves of ``made`` that the host needs, in the order of ``values``."""
    values: Tensor
    """``[K]`` float64."""
    generator: torch.Generator


class Graphed:
    """``learn`` in one environment: called as it is at first, then captured, compared, and replayed.

    The same states come out, up to rounding. Where a capture fails, or its first replay gives other numbers, a warning
    says so, and ``learn`` is called as it is from then on. So it is where something has changed that the graph holds as
    it was.

    Args:
        learn: ``(state, generator, clock) -> Learned``; it must not read the device, which is checked.
        name: of it, for messages.
        graph: where it is recorded.
        warm_up: updates before the capture, at least one.
        watch: called at the capture; what it returns is called before each replay, and names what has changed.
    """

    def __init__(
        self,
        learn: Learn,
        name: str,
        graph: Graph,
        warm_up: int = WARM_UP,
        watch: Callable[[], Callable[[], str | None]] = lambda: lambda: None,
    ) -> None:
        self._learn, self._name, self._graph, self._watch = learn, name, graph, watch
        self._left = warm_up
        self._changed: Callable[[], str | None] = lambda: None
        self._recorded: _Recorded | None = None
        self.works = True
        """False when a capture has failed."""

    @property
    def replays(self) -> bool:
        """Whether updates are replays by now."""
        return self._recorded is not None

    def __call__(self, state: State, clock: Clock) -> tuple[Learned, torch.Generator]:
        """What was learned from a state, and the generator as it is then."""
        if self._recorded is not None and (what := self._changed()) is not None:
            self._give_up(f"{what} has changed since its capture")
        if self._recorded is not None:
            learned = self._replay(self._recorded, state)
            clock.lap("learn_s")
            return learned, self._recorded.generator
        generator = state.run.generator()
        if not self.works:
            return self._learn(state, generator, clock), generator
        learned = self._graph.beside(lambda: self._learn(state, generator, clock))
        self._left -= 1
        if self._left <= 0:
            try:
                self._record(state, learned)
            except Exception as error:  # of whatever kind: this update is done already
                first = next(iter(str(error).splitlines()), "")
                self._give_up(f"its capture failed ({type(error).__name__}: {first})")
        return learned, generator

    def _give_up(self, why: str) -> None:
        self.works, self._recorded = False, None
        told = f"{self._name} runs without a CUDA graph, because {why}; results are the same, updates are slower"
        warnings.warn(told, stacklevel=4)

    def _record(self, state: State, expected: Learned) -> None:
        """Rehearse, capture, replay the update that gave ``expected``, and compare."""
        static = _on_device(state)
        changed = self._watch()
        generator = state.run.generator()
        with HostReads(self._name):
            self._graph.beside(lambda: self._learn(static, generator, Clock()))
        types = _number_types(_fields(expected))
        generator = state.run.generator()

        def call() -> tuple[dict[str, Any], Tensor]:
            made = _fields(self._learn(static, generator, Clock()))
            made = map_leaves(lambda _, x: x.detach() if isinstance(x, Tensor) else x, made)
            found = dict(leaves(made))
            wanted = [found[name].reshape(()).double() for name in types if isinstance(found.get(name), Tensor)]
            return made, torch.stack(wanted) if wanted else state.run.obs.new_zeros(0, dtype=torch.float64)

        made, values = self._graph.capture(call, generator)
        tensors = {name for name, leaf in leaves(made) if isinstance(leaf, Tensor)}
        numbers = {name: kind for name, kind in types.items() if name in tensors}
        given = [leaf for _, leaf in _leaves(static)]
        recorded = _Recorded(given, made, numbers, values, generator)
        if (name := _differing(_fields(expected), _fields(self._replay(recorded, state)))) is not None:
            raise ValueError(f"{name} of its first replay is not that of the update without a graph")
        self._recorded, self._changed = recorded, changed

    def _replay(self, recorded: _Recorded, state: State) -> Learned:
        for static, (name, leaf) in zip(recorded.given, _leaves(state), strict=True):
            if isinstance(leaf, Tensor):
                if leaf.shape != static.shape or leaf.dtype is not static.dtype:
                    found, wanted = (f"{x.dtype}{list(x.shape)}" for x in (leaf, static))
                    raise ValueError(f"{name} is {found}, but the graph of {self._name} was captured with {wanted}")
                static.copy_(leaf)
            else:
                static.fill_(leaf)
        recorded.generator.set_state(state.run.rng)
        self._graph.replay()
        numbers = dict(zip(recorded.numbers, recorded.values.tolist(), strict=True))

        def out(name: str, leaf: Any) -> Any:
            if name in numbers:
                return recorded.numbers[name](numbers[name])
            return leaf.clone() if isinstance(leaf, Tensor) and name.startswith(_COPIED) else leaf

        return Learned(**map_leaves(out, recorded.made))


def graphed(learner: Any, state: State) -> Graphed:
    """The graph of a learner in the worlds of ``state``; made when first asked for.

    Raises:
        ValueError: the worlds are not on CUDA.
    """
    require_cuda(state.run.obs.device)
    graphs = learner.graphs
    if state.env not in graphs:
        name = f"{type(learner).__name__}.learn"
        graph, env = CudaGraph(state.run.obs.device), weakref.proxy(state.env)
        graphs[state.env] = Graphed(learner.learn, name, graph, watch=lambda: watch_task(env))
    return graphs[state.env]


def require_cuda(device: torch.device) -> None:
    """Raise ``ValueError`` unless updates can be CUDA graphs there."""
    if device.type != "cuda":
        raise ValueError(f"cuda_graph is true, but the device is {device}; use --device cuda, or cuda_graph=false")


def _on_device(state: State) -> State:
    """A copy of a state whose ints are tensors; what belongs to the host is left out, so that nothing reads it."""
    device = state.run.obs.device

    def own(name: str, leaf: Any) -> Tensor:
        if isinstance(leaf, Stored):
            raise TypeError(f"{name} changes its shape in the course of a run")
        return leaf.detach().clone() if isinstance(leaf, Tensor) else torch.full((), leaf, device=device)

    return map_leaves(own, _without_host(state))


def _without_host(state: State) -> State:
    return state.replace(run=state.run._replace(rng=None, episodes=None))  # pyright: ignore[reportArgumentType]


def _leaves(state: State) -> list[tuple[str, Any]]:
    return list(leaves(_without_host(state)))


def _fields(learned: Learned) -> dict[str, Any]:
    return {field.name: getattr(learned, field.name) for field in dataclasses.fields(learned)}


def _number_types(fields: dict[str, Any]) -> dict[str, type]:
    """Names and types of the numbers of the host in what was learned without a graph."""
    found = {name: int for name, leaf in leaves(fields) if type(leaf) is int}
    return found | {f"host.{name}": float for name, value in fields["host"].items() if type(value) is float}


def _differing(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """The name of a leaf that two updates do not agree on, up to rounding; None if they agree."""
    for name, number in one["host"].items():
        if isinstance(number, float) and not math.isclose(number, other["host"].get(name, math.nan), rel_tol=1e-6):
            return f"host.{name}"
    ones, others = dict(leaves(one)), dict(leaves(other))
    if ones.keys() != others.keys():
        return ", ".join(sorted(ones.keys() ^ others.keys()))
    for name, x in ones.items():
        y = others[name]
        if not isinstance(x, Tensor):
            if x != y:
                return name
            continue
        if x.shape != y.shape or x.dtype is not y.dtype:
            return name
        if name.startswith("trajectory.divergences."):  # which mean nothing where no world diverged
            continue
        size = x.detach().double().nan_to_num(0.0, 0.0, 0.0).abs().amax().item() if x.numel() else 0.0
        if not torch.allclose(x.detach().double(), y.double(), rtol=0.0, atol=_APART * size, equal_nan=True):
            return name
    return None
