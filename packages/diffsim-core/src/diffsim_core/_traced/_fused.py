"""``FusedStep``: traces, compiles and compares a task in an environment's first step, and says so where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from diffsim_core._protocol import EnvState, Transition, out_spec
from diffsim_core._separate import tell_separate
from diffsim_core._traced._agree import disagreement
from diffsim_core._traced._functions import Functions
from diffsim_core._traced._graph import Graph, Untraceable
from diffsim_core._traced._node import Node
from diffsim_core._traced._program import Compiled
from diffsim_core._traced._python_state import PythonState
from diffsim_core._traced._trace import MOST, Traced, trace
from diffsim_core._tree import tree_map

if TYPE_CHECKING:
    from diffsim_core._env import TaskEnv


class FusedStep:
    """Steps of one environment as one operation each; none where that cannot be.

    Args:
        env: on torch arrays; its steps are taken by ``env._step`` where this cannot.
    """

    def __init__(self, env: TaskEnv) -> None:
        self._env = env
        self._node: Node | None = None
        self._python: PythonState | None = None
        self.works = True
        """False as soon as something cannot be traced, is not compiled rightly, or has changed."""

    def step(self, state: EnvState, action: torch.Tensor) -> tuple[EnvState, Transition] | None:
        """See ``TaskEnv.step``; None for a step that has to be taken by separate operations."""
        node = self.node(state, action)
        return None if node is None else node.step(state, action)

    def node(self, state: EnvState, action: torch.Tensor) -> Node | None:
        """What takes a step from there; None where that has to be separate operations."""
        if not self.works:
            return None
        if self._node is None:
            self._begin(state, action)
        elif (name := self._python.changed()) is not None:  # pyright: ignore[reportOptionalMemberAccess]
            self._refuse(f"{name} has changed since the first step")
        return self._node

    def _begin(self, state: EnvState, action: torch.Tensor) -> None:
        try:
            self._node, self._python = compiled_node(self._env, state, action)
        except Untraceable as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        self.works, self._node, self._python = False, None, None
        tell_separate(self._env.task, why)


class Different(Untraceable):
    """Compiled code does not give what the task's own code gives."""


def compiled_node(env: TaskEnv, state: EnvState, action: torch.Tensor) -> tuple[Node, PythonState]:
    """Compiled steps of an environment, compared with its own; and what they take for granted.

    Args:
        env: on torch arrays.
        state: a state to compare at.
        action: ``[N, na]``, the same.

    Raises:
        Untraceable: if the task cannot be traced or compiled.
        Different: if what comes of it differs.
        TaskError: if what a function of the task returns does not fit.
    """
    with torch.inference_mode(False):
        state = tree_map(lambda x: x.detach().clone(), state)
        action = action.detach().clone()
        with torch.no_grad():
            env._step(state, action)  # raises what a task's mistakes raise, and fills its caches
        python = PythonState(env.task)
        if out_spec(env.task.dynamics) != env.task.dynamics.state_spec:
            raise Untraceable("its simulator writes other arrays than its state")
        traced = trace_twice(env, state, python)
        try:
            node = Node(env, Compiled(Functions(traced), env.task.horizon, env.device))
            found = disagreement(env, node.step, state, action)
        except Exception as error:
            raise Different(
                f"its compiled code ends in {type(error).__name__}: {str(error).splitlines()[0]}"
            ) from error
        if (name := python.changed()) is not None:
            raise Untraceable(f"its functions change {name}")
        if found is not None:
            raise Different(f"{found} between compiled code and the task's own")
        return node, python


def trace_twice(env: Any, state: EnvState, python: PythonState) -> Traced:
    """The traced task of an environment.

    Raises:
        Untraceable: if it cannot be traced, changes something, or comes out differently each time.
    """
    graph = Graph(env.dtype, MOST)
    try:
        first, second = (trace(env.task, env.task.dynamics, state, env.num_envs, graph) for _ in range(2))
    except Untraceable:
        python.restore()
        raise
    if (name := python.changed()) is not None:
        python.restore()
        raise Untraceable(f"its functions change {name}")
    if first.signature() != second.signature():
        raise Untraceable("its functions depend on more than their arguments, such as time or a random generator")
    return first
