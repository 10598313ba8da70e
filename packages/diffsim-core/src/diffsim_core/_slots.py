"""Memory for what a step keeps for its backward pass, outside of the array library."""

from __future__ import annotations

import itertools
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np

from diffsim_core.native._team import aligned

LIMIT = 2**30
"""Bytes that a bridge keeps for backward passes that may still come."""


class Slots:
    """Arrays found by a number as long as there is room; whoever finds none must compute again.

    Arrays whose backward pass has run are used again first. Beyond the limit the oldest gives way, which happens in
    windows that are never differentiated.
    """

    def __init__(self, dtype: str, limit: int = LIMIT) -> None:
        self._dtype = np.dtype(dtype)
        self._limit = limit
        self._numbers = itertools.count(1)
        self._held: OrderedDict[int, np.ndarray[Any, Any]] = OrderedDict()
        self._spent: defaultdict[int, list[np.ndarray[Any, Any]]] = defaultdict(list)
        self._bytes = 0

    def take(self, size: int) -> tuple[int, np.ndarray[Any, Any]]:
        """A number never given before, and an array ``[size]`` to fill, which begins on a cache line."""
        if self._spent[size]:
            array = self._spent[size].pop()
        else:
            self._make_room(size * self._dtype.itemsize)
            array = aligned(size, self._dtype)
            self._bytes += array.nbytes
        number = next(self._numbers)
        self._held[number] = array
        return number, array

    def find(self, number: int) -> np.ndarray[Any, Any] | None:
        """The array of this number if it still holds what was written. It belongs to the caller until given back."""
        return self._held.pop(number, None)

    def give_back(self, array: np.ndarray[Any, Any]) -> None:
        """Let an array that was found be used again."""
        self._spent[len(array)].append(array)

    def _make_room(self, needed: int) -> None:
        for spent in self._spent.values():
            while spent and self._bytes + needed > self._limit:
                self._bytes -= spent.pop().nbytes
        while self._held and self._bytes + needed > self._limit:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
