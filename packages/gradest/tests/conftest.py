"""Windows to test on, and the definitions as explicit sums: slow, and written without any recursion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st


class Window(NamedTuple):
    reward: np.ndarray
    value: np.ndarray
    value_next: np.ndarray
    terminated: np.ndarray
    done: np.ndarray


@st.composite
def draw_window(draw: st.DrawFn, max_steps: int = 9, max_worlds: int = 4) -> Window:
    """A float64 window of any small shape; each step goes on, is terminated, truncated, or both."""
    steps, worlds = draw(st.integers(1, max_steps)), draw(st.integers(1, max_worlds))
    ends = draw(st.lists(st.sampled_from("...TLB"), min_size=steps * worlds, max_size=steps * worlds))
    kind = np.array(ends).reshape(steps, worlds)
    reward, value, value_next = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=(3, steps, worlds))
    return Window(reward, value, value_next, np.isin(kind, ["T", "B"]), kind != ".")


class Twin:
    """Sums over the rest of each sub-trajectory, one number at a time."""

    @staticmethod
    def rest(done: np.ndarray, t: int, n: int) -> int:
        """Steps from ``t`` to the end of its segment, both included."""
        for last in range(t, done.shape[0]):
            if done[last, n]:
                return last - t + 1
        return done.shape[0] - t

    @staticmethod
    def k_step(w: Window, t: int, n: int, k: int, gamma: float) -> float:
        """SHAC's G_t^k (below its Eq. 7): k rewards and the value of what they led to."""
        value = 0.0 if w.terminated[t + k - 1, n] else w.value_next[t + k - 1, n]
        return sum(gamma**i * w.reward[t + i, n] for i in range(k)) + gamma**k * value

    @classmethod
    def _each(cls, w: Window, f) -> np.ndarray:
        steps, worlds = w.reward.shape
        return np.array([[f(t, n, cls.rest(w.done, t, n)) for n in range(worlds)] for t in range(steps)])

    @classmethod
    def discounted_returns(cls, w: Window, gamma: float) -> np.ndarray:
        return cls._each(w, lambda t, n, k: sum(gamma**i * w.reward[t + i, n] for i in range(k)))

    @classmethod
    def bootstrapped_returns(cls, w: Window, gamma: float) -> np.ndarray:
        return cls._each(w, lambda t, n, k: cls.k_step(w, t, n, k, gamma))

    @classmethod
    def td_lambda(cls, w: Window, gamma: float, lam: float) -> np.ndarray:
        """SHAC Eq. 7, the longest k being the rest of the segment."""

        def average(t: int, n: int, longest: int) -> float:
            short = sum(lam ** (k - 1) * cls.k_step(w, t, n, k, gamma) for k in range(1, longest))
            return (1 - lam) * short + lam ** (longest - 1) * cls.k_step(w, t, n, longest, gamma)

        return cls._each(w, average)

    @classmethod
    def gae(cls, w: Window, gamma: float, lam: float) -> np.ndarray:
        """Schulman et al. 2016, Eq. 16."""

        def delta(t: int, n: int) -> float:
            return cls.k_step(w, t, n, 1, gamma) - w.value[t, n]

        return cls._each(w, lambda t, n, k: sum((gamma * lam) ** i * delta(t + i, n) for i in range(k)))


@pytest.fixture(scope="session")
def twin() -> type[Twin]:
    return Twin


@pytest.fixture(scope="session")
def windows() -> st.SearchStrategy[Window]:
    return draw_window()


@pytest.fixture(scope="session")
def window() -> Window:
    """A fixed window of 17 steps in 6 worlds with every kind of ending, the last step included."""
    rng = np.random.default_rng(7)
    reward, value, value_next = rng.normal(size=(3, 17, 6))
    terminated, truncated = rng.random((2, 17, 6)) < 0.12
    terminated[-1], truncated[-1] = [True, False, False, True, False, False], [False, True, False, True, False, False]
    return Window(reward, value, value_next, terminated, terminated | truncated)
