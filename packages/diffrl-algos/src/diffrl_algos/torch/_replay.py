"""A replay buffer that fits into states which are replaced and never changed, without copying a million rows.

The rows lie in a ring of tensors that all states of a run share; a state holds a handle to it, which says up to where
the ring is this state's. The ring is longer than the capacity by one window, so that the window that follows a state
is written where none of the state's own rows are: a state stays whole while the one after it is made, and an update
that is thrown away or repeated starts from the very same rows. One window further on its oldest rows are overwritten;
using it then is an error, not a mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import gradest
from diffsim_core import Trajectory

from ._state import Stored

_MAX_DRAWS = 1000


class Batch(NamedTuple):
    """Steps drawn from the buffer, each with what it led to ``n`` steps later or where its episode ended before."""

    obs: Tensor
    """``[B, no]``, as they were seen, not normalised."""
    action: Tensor
    """``[B, na]``."""
    reward: Tensor
    """``[B]``, the discounted rewards of the steps taken together."""
    discount: Tensor
    """``[B]``, what the value of ``final_obs`` counts: 0 after a termination."""
    final_obs: Tensor
    """``[B, no]``, what the last of these steps led to, before any reset; ``obs`` where the first one diverged."""
    diverged: Tensor
    """``[B]`` bool: the first of these steps left the finite range; ``reward`` and ``discount`` mean nothing."""


class _Rows(NamedTuple):
    """A row for each step of each world; ``[slots, N, ...]`` in the ring, oldest first ``[steps, N, ...]`` outside."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    final_obs: Tensor
    terminated: Tensor
    """The task ended with this step."""
    done: Tensor
    """The next row of the world does not continue this one."""
    diverged: Tensor
    """Only the row's observation and action mean something: the step left the finite range, or was not taken."""
    apart: Tensor
    """The row does not continue the one before it, whatever that says: rows between them were refused."""
    untaken: Tensor
    """No step was taken: never drawn."""


class _Ring:
    """The tensors, and who may use them."""

    def __init__(self, rows: _Rows) -> None:
        self.rows = rows
        self.slots = len(rows.obs)
        self.tip = self.before = 0
        """Versions of the last handle, and of the one it was made from."""
        self.last = 0
        """The highest version given out."""
        self.reach = 0
        """Steps written up to the tip."""

    def fresh(self) -> _Ring:
        """An empty one of the same kind."""
        # Flags are looked at before they are written; numbers are not, and take no memory until they are.
        return _Ring(_Rows(*(torch.zeros_like(p) if p.dtype == torch.bool else torch.empty_like(p) for p in self.rows)))

    def write(self, rows: _Rows, start: int, version: int) -> int:
        """Put ``rows`` behind those of the handle ``version``, which end at ``start``; the version after it."""
        stop = start + len(rows.obs)
        places = torch.arange(start, stop, device=rows.obs.device) % self.slots
        again = version != self.tip and stop == self.reach
        if again and all(torch.equal(ring[places], new) for ring, new in zip(self.rows, rows, strict=True)):
            # The same window written again leaves the state after it as good as it was.
            return self.tip
        for ring, new in zip(self.rows, rows, strict=True):
            ring[places] = new
        self.last += 1
        self.before, self.tip, self.reach = version, self.last, stop
        return self.tip


@dataclass(frozen=True)
class Replay(Stored):
    """The last ``capacity`` steps of ``N`` worlds, as one state of a run sees them."""

    capacity: int
    """Steps of every world that are kept."""
    count: int
    """Steps of every world written so far."""
    gap: bool
    """The next step written does not continue the last: steps between them were refused."""
    _ring: _Ring
    _version: int

    @classmethod
    def init(cls, rows: int, window: int, num_envs: int, num_obs: int, num_actions: int, like: Tensor) -> Replay:
        """An empty buffer for ``rows`` rows, a whole number of steps of every world and at least one window.

        Args:
            rows: steps over all worlds to keep.
            window: steps of every world that are added at a time, at most.
            num_envs: worlds N.
            num_obs: width of an observation.
            num_actions: width of an action.
            like: tensor whose dtype and device the rows have.
        """
        capacity = max(-(-rows // num_envs), window)
        slots = capacity + window
        widths = ((num_obs,), (num_actions,), (), (num_obs,))
        numbers = [torch.empty((slots, num_envs, *shape), dtype=like.dtype, device=like.device) for shape in widths]
        flags = [torch.empty((slots, num_envs), dtype=torch.bool, device=like.device) for _ in range(5)]
        return cls(capacity, 0, False, _Ring(_Rows(*numbers, *flags)).fresh(), 0)

    def __len__(self) -> int:
        """Steps of every world in the buffer."""
        return min(self.count, self.capacity)

    @property
    def row_bytes(self) -> int:
        """Bytes of one step of one world."""
        return sum(part[0, 0].numel() * part.element_size() for part in self._ring.rows)

    def skip(self) -> Replay:
        """The buffer after a window that was refused: what comes next does not continue what is here."""
        return replace(self, gap=True)

    def add(self, window: Trajectory) -> Replay:
        """The buffer with the steps of a window, all finite.

        Raises:
            ValueError: the window is longer than ``init`` was told, or this state's rows are gone.
        """
        steps = len(window.obs)
        if steps > self._ring.slots - self.capacity:
            raise ValueError(f"a window of {steps} steps; the buffer was made for {self._ring.slots - self.capacity}")
        apart = torch.zeros_like(window.done)
        apart[0] = self.gap
        taken: Any = window.valid
        taken = taken | window.diverged
        rows = _Rows(
            window.obs,
            window.action,
            window.reward,
            window.final_obs,
            window.terminated,
            window.done,
            ~window.valid,
            apart,
            ~taken,
        )
        ring = self._checked()
        if not self.count and ring.last:
            # Another run began from this state: this one gets a ring of its own.
            ring = ring.fresh()
        version = ring.write(_Rows(*(part.detach() for part in rows)), self.count, self._version)
        return replace(self, count=self.count + steps, gap=False, _ring=ring, _version=version)

    def sample(self, generator: torch.Generator, size: int, *, gamma: float, n: int) -> Batch:
        """``size`` rows, each drawn from all that are there and were taken, independently.

        Each is the first of up to ``n`` steps (``gradest.n_step_transition``): fewer where the episode ends, where
        the newest step is reached, and before a step that diverged or was not taken.

        Raises:
            ValueError: the buffer is empty, or this state's rows are gone.
        """
        rows, worlds = self._checked().rows, self._ring.rows.done.shape[1]
        if not self.count:
            raise ValueError("the replay buffer is empty; add a window before drawing from it")
        diverged, untaken = rows.diverged.flatten(), rows.untaken.flatten()
        drawn = self._draw(generator, size, worlds)
        for _ in range(_MAX_DRAWS):
            bad = untaken[self._places(drawn, worlds)]
            if not bad.any():
                break
            drawn = torch.where(bad, self._draw(generator, size, worlds), drawn)
        else:
            raise ValueError(
                f"{_MAX_DRAWS} draws from the replay buffer gave steps that were not taken: hardly any were"
            )
        first = self._places(drawn, worlds)
        # The n rows of each from the drawn one on, and one more, [n + 1, B]; those not written yet do not count.
        numbers = drawn + worlds * torch.arange(n + 1, device=drawn.device)[:, None]
        places = self._places(numbers, worlds)
        after = places[1:]
        broken = diverged[after] | rows.apart.flatten()[after] | (numbers[1:] >= self.count * worlds)
        places = places[:-1]
        done = rows.done.flatten()[places] | broken
        terminated = rows.terminated.flatten()[places]
        step = gradest.n_step_transition(rows.reward.flatten()[places], terminated, done, gamma=gamma)
        last = places.gather(0, step.last[None])[0]
        obs, lost = rows.obs.flatten(0, 1)[first], diverged[first]
        return Batch(
            obs,
            rows.action.flatten(0, 1)[first],
            step.reward,
            step.discount,
            torch.where(lost[:, None], obs, rows.final_obs.flatten(0, 1)[last]),
            lost,
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """``count``, ``capacity``, ``gap`` and the rows that are there, oldest first, wherever they lie in the ring."""
        live = torch.arange(self.count - len(self), self.count, device=self._ring.rows.obs.device) % self._ring.slots
        rows = {f"rows.{name}": part[live].cpu().numpy() for name, part in self._checked().rows._asdict().items()}
        capacity = np.asarray(self.capacity)
        return {"count": np.asarray(self.count), "capacity": capacity, "gap": np.asarray(self.gap), **rows}

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Replay:
        """A buffer of its own with these rows. Without the rows it is one that can be neither written nor read."""
        scalars = ("count", "capacity", "gap")
        missing = [name for name in scalars if name not in arrays]
        names = [f"rows.{name}" for name in _Rows._fields]
        if any(name in arrays for name in names):
            if "rows.diverged" in arrays:  # version 0.1 had no mark of its own for steps that were not taken
                arrays = {"rows.untaken": np.zeros_like(arrays["rows.diverged"]), **arrays}
            missing += [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"array 'replay.{missing[0]}' is missing (and {len(missing) - 1} more)")
        if extra := sorted(arrays.keys() - {*scalars, *names}):
            raise ValueError(f"array 'replay.{extra[0]}' does not belong to this run (and {len(extra) - 1} more)")
        count, gap = int(arrays["count"]), bool(arrays["gap"])
        if count < 0 or int(arrays["capacity"]) != self.capacity:
            raise ValueError(
                f"array 'replay.count' is {count} and 'replay.capacity' {int(arrays['capacity'])}; this run needs at "
                f"least 0 and {self.capacity}"
            )
        found = replace(self, count=count, gap=gap, _ring=self._ring.fresh(), _version=0)
        if names[0] not in arrays:
            return replace(found, _version=-1) if count else found
        rows = found._ring.rows
        live = torch.arange(count - len(found), count, device=rows.obs.device) % found._ring.slots
        for name, part in rows._asdict().items():
            array, shape, dtype = arrays[f"rows.{name}"], (len(found), *part.shape[1:]), part[:0].cpu().numpy().dtype
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"array 'replay.rows.{name}' is {array.dtype}{list(array.shape)}; this run needs "
                    f"{dtype}{list(shape)}"
                )
            part[live] = torch.from_numpy(array.copy()).to(part.device)
        return found

    def _draw(self, generator: torch.Generator, size: int, worlds: int) -> Tensor:
        """Numbers of rows, counted from the first ever written: step times worlds, plus world."""
        low, high = self.count - len(self), self.count
        return torch.randint(low * worlds, high * worlds, (size,), generator=generator, device=generator.device)

    def _places(self, numbers: Tensor, worlds: int) -> Tensor:
        """Where rows of these numbers lie in the flattened ring."""
        return numbers % (self._ring.slots * worlds)

    def _checked(self) -> _Ring:
        """The ring, if it still holds this state's rows."""
        if self._version < 0:
            raise ValueError(
                "the replay buffer was not loaded with this state, which can act and not learn; "
                "load the newest checkpoint of the run with its buffer"
            )
        if self.count and self._version not in (self._ring.tip, self._ring.before):
            raise ValueError(
                "the replay rows of this state were overwritten by a later update; a state can be updated or saved "
                "until the one after it has been updated: keep to_arrays(state) to come back to it"
            )
        return self._ring
