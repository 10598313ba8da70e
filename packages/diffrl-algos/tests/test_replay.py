"""The replay buffer against a list of everything that ever happened."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrl_algos.torch._replay import Replay

LIKE = torch.zeros(1, dtype=torch.float64)
WORLDS = 3


def window(steps, rng, first=0.0, kinds=".....TLBDU"):
    """Random steps, observations and rewards unlike any others. Ends: terminated, limit, both, diverged, untaken."""
    kind = rng.choice(list(kinds), size=(steps, WORLDS))
    number = first + np.arange(steps * WORLDS, dtype=np.float64).reshape(steps, WORLDS)
    terminated, diverged = np.isin(kind, ["T", "B"]), kind == "D"
    parts = {
        "obs": np.stack([number, -number], -1),
        "action": number[..., None] / 2,
        "reward": rng.normal(size=number.shape),
        "final_obs": np.stack([number + 0.5, number], -1),
        "terminated": terminated,
        "done": kind != ".",
        "diverged": diverged,
        "valid": ~diverged & (kind != "U"),
    }
    return SimpleNamespace(**{name: torch.from_numpy(part) for name, part in parts.items()})


def filled(lengths, capacity, *, most=None, skips=(), seed=0, kinds=".....TLBDU"):
    """A buffer after windows of these lengths, some of them preceded by one that was refused; and all windows."""
    rng, windows, first = np.random.default_rng(seed), [], 0.0
    replay = Replay.init(capacity * WORLDS, most or max(lengths), WORLDS, 2, 1, LIKE)
    for k, steps in enumerate(lengths):
        windows.append(window(steps, rng, first, kinds))
        first += steps * WORLDS
        replay = (replay.skip() if k in skips else replay).add(windows[-1])
    return replay, windows


def everything(windows):
    """All steps ever added, ``[steps, worlds, ...]``."""
    names = vars(windows[0])
    return SimpleNamespace(**{name: torch.cat([getattr(w, name) for w in windows]).numpy() for name in names})


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=9),
    capacity=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_it_holds_the_last_steps_in_order_wherever_they_lie(lengths, capacity, seed, data):
    replay, windows = filled(lengths, capacity, most=4, seed=seed)
    capacity = max(capacity, 4)
    kept = min(sum(lengths), capacity)
    assert len(replay) == kept and replay.count == sum(lengths) and replay.capacity == capacity
    arrays, past = replay.to_arrays(), everything(windows)
    for name in ("obs", "action", "reward", "final_obs", "terminated", "done"):
        np.testing.assert_array_equal(arrays[f"rows.{name}"], getattr(past, name)[-kept:])
    np.testing.assert_array_equal(arrays["rows.diverged"], ~past.valid[-kept:])
    # A buffer made from these arrays is the same one, and stays so.
    again = Replay.init(capacity * WORLDS, 4, WORLDS, 2, 1, LIKE).from_arrays(arrays)
    more = window(data.draw(st.integers(1, 4)), np.random.default_rng(seed + 1), 1e6, "...TL")
    for a, b in ((replay, again), (replay.add(more), again.add(more))):
        assert all(np.array_equal(x, b.to_arrays()[name]) for name, x in a.to_arrays().items())
        batches = [r.sample(torch.Generator().manual_seed(1), 20, gamma=0.9, n=2) for r in (a, b)]
        assert all(torch.equal(x, y) for x, y in zip(*batches, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    capacity=st.integers(1, 12),
    n=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_steps_drawn_are_followed_as_far_as_their_episode_goes(lengths, capacity, n, seed, data):
    """n-step targets across terminations, limits, divergences, refused windows, the newest step and the wrap."""
    skips = data.draw(st.sets(st.integers(0, len(lengths) - 1)))
    replay, windows = filled(lengths, capacity, most=5, skips=skips, seed=seed)
    past, total = everything(windows), sum(lengths)
    starts = {int(np.sum(lengths[:k])) for k in skips}
    taken = past.valid | past.diverged
    if not taken[total - len(replay) :].any():
        return
    batch = replay.sample(torch.Generator().manual_seed(seed), 40, gamma=0.9, n=n)
    for row in zip(*(part.numpy() for part in batch), strict=True):
        obs, action, reward, discount, final_obs, diverged = row
        t, i = divmod(int(obs[0]), WORLDS)
        assert t >= total - len(replay) and taken[t, i] and diverged == past.diverged[t, i]
        assert action == obs[0] / 2 and obs[1] == -obs[0]
        if diverged:
            np.testing.assert_array_equal(final_obs, obs)
            continue
        last = t
        while (
            last - t + 1 < n
            and not past.done[last, i]
            and last + 1 < total
            and last + 1 not in starts
            and past.valid[last + 1, i]
        ):
            last += 1
        k = last - t + 1
        np.testing.assert_allclose(reward, sum(0.9**j * past.reward[t + j, i] for j in range(k)), rtol=1e-12)
        assert discount == (0.0 if past.terminated[last, i] else pytest.approx(0.9**k, rel=1e-12))
        np.testing.assert_array_equal(final_obs, past.final_obs[last, i])


@pytest.mark.parametrize("lengths", [(4,), (4, 4, 4, 2)])
def test_every_step_that_is_there_is_drawn_equally_often(lengths):
    """Chi-square over the rows that were taken, before and after the wrap; the others never come."""
    replay, windows = filled(lengths, 6, seed=5, kinds=".TDDU")
    past, kept = everything(windows), len(replay)
    draws = 60_000
    batch = replay.sample(torch.Generator().manual_seed(0), draws, gamma=0.9, n=1)
    numbers, counts = np.unique(batch.obs[:, 0].numpy().astype(int), return_counts=True)
    fine = (past.valid | past.diverged)[-kept:].flatten()
    assert past.diverged[-kept:].any() and not fine.all()
    expected = (sum(lengths) - kept) * WORLDS + np.flatnonzero(fine)
    np.testing.assert_array_equal(numbers, expected)
    mean = draws / len(expected)
    chi2 = ((counts - mean) ** 2 / mean).sum()
    # Mean k - 1, variance 2 (k - 1): four deviations.
    freedom = len(expected) - 1
    assert chi2 < freedom + 4 * (2 * freedom) ** 0.5


def test_a_state_stays_whole_until_the_one_after_it_is_followed():
    rng = np.random.default_rng(0)
    first, _ = filled((4, 4, 4), 6)
    before = first.to_arrays()
    a, b = window(4, rng, 100.0), window(4, rng, 200.0)
    second = first.add(a)
    assert all(np.array_equal(x, before[name]) for name, x in first.to_arrays().items())
    # Repeated, it leads to the same place, and the state after it is still good.
    assert first.add(a) == second and second.to_arrays()["rows.obs"][-1, 0, 0] == 100.0 + 9
    # Gone on from in another way, what came before is no more.
    other = first.add(b)
    assert other.to_arrays()["rows.obs"][-1, 0, 0] == 200.0 + 9
    with pytest.raises(ValueError, match="rows of this state were overwritten by a later update"):
        second.sample(torch.Generator(), 3, gamma=0.9, n=1)
    # Two windows on, the first one's rows are gone too.
    third = other.add(a)
    assert len(third.to_arrays()["rows.obs"]) == 6
    for gone in (first, second):
        with pytest.raises(ValueError, match="keep to_arrays"):
            gone.to_arrays()
        with pytest.raises(ValueError, match="keep to_arrays"):
            gone.add(a)


def test_a_shorter_window_is_not_the_one_before():
    """Rows equal as far as they go are no reason to keep what came after them."""
    first, _ = filled((4,), 6)
    long = window(4, np.random.default_rng(1), 50.0)
    short = SimpleNamespace(**{name: part[:2] for name, part in vars(long).items()})
    second = first.add(long)
    assert first.add(short).count == 6
    with pytest.raises(ValueError, match="overwritten"):
        second.to_arrays()


def test_bytes_of_a_row_and_memory_that_is_not_taken_yet():
    """docs/algorithms/sac.md gives the size of a full buffer from this."""
    replay = Replay.init(1_000_000, 32, 64, 37, 8, torch.zeros(1))
    assert replay.row_bytes == 4 * (37 + 37 + 8 + 1) + 5
    assert replay.capacity * 64 == 1_000_000 and len(replay) == 0
    assert all(array.nbytes <= 8 for array in replay.to_arrays().values())


def test_what_cannot_be_is_named():
    replay, _ = filled((2, 2), 6)
    with pytest.raises(ValueError, match="window of 3 steps; the buffer was made for 2"):
        replay.add(window(3, np.random.default_rng(0)))
    empty = Replay.init(30, 2, WORLDS, 2, 1, LIKE)
    with pytest.raises(ValueError, match="buffer is empty"):
        empty.sample(torch.Generator(), 1, gamma=0.9, n=1)
    lost, _ = filled((2,), 6, kinds="U")
    with pytest.raises(ValueError, match="gave steps that were not taken"):
        lost.sample(torch.Generator(), 4, gamma=0.9, n=1)
    arrays = replay.to_arrays()
    for broken, words in (
        ({k: v for k, v in arrays.items() if k != "count"}, "'replay.count' is missing"),
        ({k: v for k, v in arrays.items() if k != "rows.done"}, "'replay.rows.done' is missing"),
        ({k: v for k, v in arrays.items() if k != "rows.apart"}, "'replay.rows.apart' is missing"),
        ({k: v for k, v in arrays.items() if k != "rows.diverged"}, "'replay.rows.diverged' is missing"),
        ({**arrays, "rows.more": arrays["gap"]}, "'replay.rows.more' does not belong"),
        ({**arrays, "rows.obs": arrays["rows.obs"][:-1]}, "'replay.rows.obs' is float64"),
        ({**arrays, "rows.done": arrays["rows.done"].astype(np.int8)}, "'replay.rows.done' is int8"),
        ({**arrays, "count": np.asarray(-1)}, "'replay.count' is -1"),
        ({**arrays, "capacity": np.asarray(7)}, "'replay.capacity' 7; this run needs at least 0 and 6"),
    ):
        with pytest.raises(ValueError, match=words):
            replay.from_arrays(broken)


def test_without_its_rows_it_says_so_where_they_are_needed():
    replay, _ = filled((2, 2), 6)
    small = {name: array for name, array in replay.to_arrays().items() if not name.startswith("rows.")}
    bare = replay.from_arrays(small)
    assert len(bare) == 4
    for use in (bare.to_arrays, lambda: bare.sample(torch.Generator(), 1, gamma=0.9, n=1)):
        with pytest.raises(ValueError, match="not loaded with this state, which can act and not learn"):
            use()
    empty = Replay.init(18, 2, WORLDS, 2, 1, LIKE)
    nothing = {name: array for name, array in empty.to_arrays().items() if not name.startswith("rows.")}
    assert len(empty.from_arrays(nothing).add(window(2, np.random.default_rng(0)))) == 2


def test_any_number_of_runs_begin_from_an_empty_buffer():
    empty, rng = Replay.init(18, 2, WORLDS, 2, 1, LIKE), np.random.default_rng(0)
    first = empty.add(window(2, rng, 10.0)).add(window(2, rng, 20.0))
    second = empty.add(window(2, rng, 30.0)).add(window(2, rng, 40.0))
    assert first.to_arrays()["rows.obs"][0, 0, 0] == 10.0 and second.to_arrays()["rows.obs"][0, 0, 0] == 30.0
    assert not len(empty.to_arrays()["rows.obs"])
