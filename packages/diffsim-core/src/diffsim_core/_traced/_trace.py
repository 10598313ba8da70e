"""``trace``: a task's functions, called once on expressions of one world."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from diffsim_core._protocol import Dynamics, EnvState, PyTree, Task
from diffsim_core._traced import _library
from diffsim_core._traced._array import TracedArray
from diffsim_core._traced._graph import Graph, Node, Untraceable
from diffsim_core._traced._namespace import Namespace
from diffsim_core._traced._start import Draw, TracedRandom
from diffsim_core._tree import tree_leaves, tree_map

MOST = 5_000
"""Operations of a task above which it is not compiled."""


class Leaf(NamedTuple):
    """One array of a step, by its name in the compiled code."""

    name: str
    shape: tuple[int, ...]
    """In each world."""
    nodes: tuple[Node, ...]
    """Its entries in row-major order: the inputs themselves, or the expressions of an output."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Start(NamedTuple):
    """A new episode, as expressions of the numbers drawn for it."""

    draws: tuple[Draw, ...]
    renewed: tuple[Leaf, ...]
    """Physics, memory and observation, in the order and with the names of what they replace."""


@dataclass(frozen=True)
class Traced:
    """The functions of a task as expressions."""

    graph: Graph
    action: Leaf
    """Clipped to [-1, 1]; an input."""
    physics: tuple[Leaf, ...]
    """Before the step; inputs."""
    memory: tuple[Leaf | None, ...]
    """Before the step; inputs, None for what is not of the task's number type."""
    moved: tuple[Leaf, ...]
    """Physics after the step, as the simulator writes it; inputs."""
    controls: tuple[Leaf, ...]
    """Functions of the action alone."""
    remembered: tuple[Leaf | None, ...]
    """Memory after the step, None for what ``advance`` hands on as it is."""
    obs: tuple[Leaf, ...]
    reward: Leaf
    metrics: tuple[Leaf, ...]
    terminated: Node
    memory_tree: PyTree
    """The tree that ``advance`` returns, with the position of each leaf."""
    obs_tree: PyTree
    metric_names: tuple[str, ...]
    start: Start | None
    """None where new episodes begin by the task's own code."""

    @property
    def same_control(self) -> bool:
        """Whether the action is the control."""
        return [leaf.nodes for leaf in self.controls] == [self.action.nodes]

    @property
    def inputs(self) -> tuple[Leaf, ...]:
        """All that the functions after the simulator's step read, in order."""
        return (*self.physics, self.action, *(leaf for leaf in self.memory if leaf is not None), *self.moved)

    @property
    def results(self) -> tuple[Leaf, ...]:
        """All numbers that they make, in order; each may have a cotangent."""
        made = [leaf for leaf in self.remembered if leaf is not None]
        return (*made, *self.obs, self.reward, *self.metrics)

    def signature(self) -> tuple[Any, ...]:
        """What two traces of a task that depends on its arguments alone have in common."""
        leaves = (*self.controls, *self.results, *(self.start.renewed if self.start else ()))
        return (*((leaf.name, leaf.shape, tuple(n.id for n in leaf.nodes)) for leaf in leaves), self.terminated.id)


def trace(task: Task, dynamics: Dynamics, state: EnvState, worlds: int, graph: Graph) -> Traced:
    """Call ``control``, ``advance``, ``observe``, ``reward``, ``terminated`` and ``metrics`` on expressions.

    Args:
        task: its functions must do nothing but array code.
        dynamics: of the task.
        state: any state of the environment, for types and shapes.
        worlds: number of worlds N.
        graph: where the expressions go.

    Raises:
        Untraceable: for anything else; the message says what, in which function, and where.
    """
    graph.begin()
    xp = Namespace(graph, worlds)
    own = getattr(torch, graph.dtype)

    def variable(name: str, shape: tuple[int, ...], kind: str = "real") -> TracedArray:
        data = np.array([graph.input(name, i, kind) for i in range(math.prod(shape))], dtype=object)
        return TracedArray(graph, data.reshape(shape), worlds)

    def variables(prefix: str, tree: PyTree) -> PyTree:
        numbers = iter(range(sum(1 for _ in tree_leaves(tree))))
        return tree_map(
            lambda leaf: variable(
                f"{prefix}{next(numbers)}", tuple(leaf.shape[1:]), "real" if leaf.dtype == own else "opaque"
            ),
            tree,
        )

    physics, memory = variables("q", state.physics), variables("m", state.task)
    names = [f"n{k}" for k in range(len(dynamics.state_spec))]
    moved = dynamics.state_type(*map(variable, names, [spec.shape for spec in dynamics.state_spec]))
    action = variable("a", (task.num_actions,))
    controls = _called(lambda: task.control(xp, action), "control")
    after = _called(lambda: task.advance(xp, action, memory), "advance")
    obs = _called(lambda: task.observe(xp, moved, after), "observe")
    reward = _called(lambda: task.reward(xp, physics, action, moved, obs, after), "reward")
    terminated = _called(lambda: task.terminated(xp, moved, after), "terminated")
    measure: Any = getattr(task, "metrics", None)
    metrics: Mapping[str, Any] = {}
    if measure is not None:
        metrics = _called(lambda: measure(xp, physics, action, moved, obs, after), "metrics")

    def leaf(name: str, array: Any, function: str, kind: str = "real") -> Leaf:
        return _called(lambda: _leaf(xp, name, array, kind), function)

    def leaves(tree: PyTree, prefix: str, function: str, kind: str = "real") -> tuple[Leaf, ...]:
        return tuple(leaf(f"{prefix}{k}", array, function, kind) for k, (_, array) in enumerate(tree_leaves(tree)))

    before, came = [leaf for _, leaf in tree_leaves(memory)], [leaf for _, leaf in tree_leaves(after)]
    if len(before) != len(came):
        raise Untraceable(f"advance returns {len(came)} arrays of {len(before)}")
    passed = [_same(one, two) for one, two in zip(before, came, strict=True)]
    made = [
        None if same else leaf(f"r{k}", array, "advance")
        for k, (same, array) in enumerate(zip(passed, came, strict=True))
    ]
    order = iter(range(len(came)))
    shown = iter(range(sum(1 for _ in tree_leaves(obs))))
    (ended,) = leaves(terminated, "terminated", "terminated", "mask")
    return Traced(
        graph=graph,
        action=_input("a", action),
        physics=tuple(_input(f"q{k}", array) for k, (_, array) in enumerate(tree_leaves(physics))),
        memory=tuple(
            None if array.kind == "opaque" else _input(f"m{k}", array)
            for k, (_, array) in enumerate(tree_leaves(memory))
        ),
        moved=tuple(map(_input, names, moved)),
        controls=leaves(tuple(controls), "u", "control"),
        remembered=tuple(made),
        obs=leaves(obs, "o", "observe"),
        reward=leaves(reward, "w", "reward")[0],
        metrics=leaves(tuple(metrics.values()), "k", "metrics"),
        terminated=ended.nodes[0],
        memory_tree=tree_map(lambda _: next(order), after),
        obs_tree=tree_map(lambda _: next(shown), obs),
        metric_names=tuple(metrics),
        start=_start(task, dynamics, xp, made, names) if None not in made else None,
    )


def _start(task: Task, dynamics: Dynamics, xp: Namespace, made: list[Leaf | None], names: list[str]) -> Start | None:
    """The start of an episode; None where it is not array code of random numbers."""
    random = TracedRandom(xp.graph, xp.worlds)
    try:
        physics, memory = task.initial(xp, random)
        obs = task.observe(xp, dynamics.state_type(*physics), memory)
        parts = [array for tree in (tuple(physics), memory, obs) for _, array in tree_leaves(tree)]
        called = [*names, *(leaf.name for leaf in made if leaf is not None)]
        called += [f"o{k}" for k in range(len(parts) - len(called))]
        return Start(tuple(random.draws), tuple(map(partial(_leaf, xp), called, parts)))
    except (Untraceable, Exception):
        return None


def _input(name: str, array: TracedArray) -> Leaf:
    return Leaf(name, array.data.shape, tuple(array.data.flat))


def _leaf(xp: Namespace, name: str, array: Any, kind: str = "real") -> Leaf:
    if not isinstance(array, TracedArray):
        raise Untraceable(f"a {type(array).__module__}.{type(array).__qualname__} among what it returns")
    inside = xp.in_worlds(array)
    if inside.data.size and inside.kind != kind:
        raise Untraceable(f"an array of {inside.dtype} among what it returns")
    return _input(name, inside)


def _same(before: TracedArray, after: Any) -> bool:
    return (
        isinstance(after, TracedArray)
        and after.worlds == before.worlds
        and after.data.shape == before.data.shape
        and bool((after.data == before.data).all())
    )


def _called(function: Callable[[], Any], name: str) -> Any:
    """What a function of the task returns; whatever it raises says why it cannot be traced, and where."""
    try:
        return function()
    except Untraceable as error:
        raise Untraceable(f"{name} uses {error}{_place(error)}") from None
    except Exception as error:
        raise Untraceable(f"{name} ends in {type(error).__name__}: {error}{_place(error)}") from None


def _place(error: BaseException) -> str:
    """``, ant.py line 40``: the last line outside of this package that led to the error."""
    here = Path(_library.__file__).parent
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent != here]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
