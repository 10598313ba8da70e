from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

factor = st.floats(0.0, 1.0)
CLOSE = {"rtol": 1e-12, "atol": 1e-12}
never = np.zeros((7, 3), dtype=bool)
READINGS = ("drop", "bootstrap", "restart")


class TestRatio:
    def twin(self, first, zeroth, valid=None, variance="norm"):
        """By the definition, with NumPy's own median and variance over the worlds that count."""
        keep = np.isfinite(first).all(-1) & np.isfinite(zeroth).all(-1)
        if valid is not None:
            keep &= valid
        spread = []
        for g in (first[keep], zeroth[keep]):
            norm = np.linalg.norm(g, axis=-1)
            scale = np.median(norm) + 1e-8
            spread.append((g / scale).var(0, ddof=1).sum() if variance == "vector" else (norm / scale).var(ddof=1))
        return spread[1] / (spread[0] + spread[1])

    @settings(deadline=None)
    @given(st.integers(0, 10**6), st.integers(2, 9), st.sampled_from(["norm", "vector"]))
    def test_equal_to_the_definition(self, seed, worlds, variance):
        rng = np.random.default_rng(seed)
        first, zeroth = rng.normal(size=(2, worlds, 3))
        got = gradest.adaptive_ratio(first, zeroth, variance=variance)
        np.testing.assert_allclose(got, self.twin(first, zeroth, variance=variance), rtol=1e-9)

    @settings(deadline=None)
    @given(st.integers(0, 10**6), st.sampled_from(["norm", "vector"]))
    def test_masked_worlds_do_not_exist(self, seed, variance):
        rng = np.random.default_rng(seed)
        first, zeroth = rng.normal(size=(2, 9, 3))
        valid = rng.random(9) < 0.6
        valid[:2] = True
        first[~valid] = np.nan
        first[1, 0], zeroth[0, 1] = np.inf, np.nan
        if valid.sum() < 4:
            valid[:] = True
            first[~np.isfinite(first)] = 1.0
        got = gradest.adaptive_ratio(first, zeroth, valid, variance=variance, nonfinite="mask")
        np.testing.assert_allclose(got, self.twin(first, zeroth, valid, variance), rtol=1e-9)

    def test_a_rough_step_is_not_trusted(self):
        """Equal but for one world in which the simulator's gradient is a thousand times larger."""
        rng = np.random.default_rng(0)
        first, zeroth = rng.normal(size=(2, 64, 3))
        assert 0.3 < gradest.adaptive_ratio(first, zeroth) < 0.7
        first[5] *= 1000
        assert gradest.adaptive_ratio(first, zeroth) < 1e-3

    def test_the_scale_of_either_gradient_does_not_matter(self):
        first, zeroth = np.random.default_rng(1).normal(size=(2, 5, 3))
        want = gradest.adaptive_ratio(first, zeroth)
        np.testing.assert_allclose(gradest.adaptive_ratio(1e4 * first, zeroth), want, rtol=1e-7)
        np.testing.assert_allclose(gradest.adaptive_ratio(first, 1e-3 * zeroth), want, rtol=1e-4)

    def test_infinite_gradients_close_the_step_or_leave_the_batch(self):
        first, zeroth = np.random.default_rng(2).normal(size=(2, 4, 8, 3))
        first[1, 3, 0], first[2, 0, 0] = np.inf, np.nan
        closed = gradest.adaptive_ratio(first, zeroth)
        assert closed[1] == closed[2] == 0
        masked = gradest.adaptive_ratio(first, zeroth, nonfinite="mask")
        assert ((masked > 0) & (masked < 1)).all()
        np.testing.assert_array_equal(closed[[0, 3]], masked[[0, 3]])
        # an invalid world may hold anything
        valid = np.ones((4, 8), dtype=bool)
        valid[1, 3] = valid[2, 0] = False
        np.testing.assert_array_equal(gradest.adaptive_ratio(first, zeroth, valid), masked)

    @pytest.mark.parametrize("variance", ["norm", "vector"])
    @pytest.mark.parametrize("tolerance", [None, 4.0])
    def test_gradients_whose_squares_are_infinite(self, variance, tolerance):
        """In single precision from 2e19 on."""
        fine, rough = np.random.default_rng(5).normal(size=(2, 64, 3))
        rough[5] = 1e200
        options = {"variance": variance, "tolerance": tolerance}
        with np.errstate(over="ignore", invalid="ignore"):
            assert gradest.adaptive_ratio(rough, fine, **options) == 0.0
            assert gradest.adaptive_ratio(fine, rough, **options) == 1.0
            assert gradest.adaptive_ratio(rough, rough, **options) == 0.5

    def test_too_few_worlds_give_no_credit(self):
        first, zeroth = np.random.default_rng(3).normal(size=(2, 2, 4, 3))
        valid = np.zeros((2, 4), dtype=bool)
        valid[1, 0] = True
        assert gradest.adaptive_ratio(first, zeroth, valid).tolist() == [0.0, 0.0]

    def test_no_gradient_at_all(self):
        """Nothing varies on either side: neither is better."""
        assert gradest.adaptive_ratio(np.zeros((4, 2)), np.zeros((4, 2))) == 0.5

    @settings(deadline=None)
    @given(st.integers(0, 10**6), st.integers(2, 9), st.floats(0.01, 3.0), st.sampled_from(["norm", "vector"]))
    def test_tolerance(self, seed, worlds, tolerance, variance):
        """Eq. 3, but for steps whose gradients spread little."""
        first, zeroth = np.random.default_rng(seed).normal(size=(2, worlds, 3))
        norm = np.linalg.norm(first, axis=-1)
        median = np.median(norm)
        spread = np.sqrt((first / median).var(0, ddof=1).sum()) if variance == "vector" else norm.std(ddof=1) / median
        want = 1.0 if spread <= tolerance else self.twin(first, zeroth, variance=variance)
        got = gradest.adaptive_ratio(first, zeroth, variance=variance, tolerance=tolerance)
        np.testing.assert_allclose(got, want, rtol=1e-6)

    def test_tolerance_trusts_what_is_smooth_and_nothing_else(self):
        first, zeroth = np.random.default_rng(4).normal(size=(2, 64, 3))
        assert gradest.adaptive_ratio(first, zeroth, tolerance=4.0) == 1.0
        assert gradest.adaptive_ratio(np.zeros((4, 2)), np.zeros((4, 2)), tolerance=4.0) == 1.0
        first[5] *= 1000
        by_paper = gradest.adaptive_ratio(first, zeroth)
        assert gradest.adaptive_ratio(first, zeroth, tolerance=4.0) == by_paper < 1e-3
        first[5] = np.inf
        assert gradest.adaptive_ratio(first, zeroth, tolerance=4.0) == 0.0
        with pytest.raises(ValueError, match=r"tolerance is -1\.0; expected a number"):
            gradest.adaptive_ratio(first, zeroth, tolerance=-1.0)

    @pytest.mark.parametrize("option", ["variance", "nonfinite"])
    def test_unknown_options(self, option):
        with pytest.raises(ValueError, match=f"{option} is 'other'; expected one of '"):
            gradest.adaptive_ratio(np.ones((2, 2)), np.ones((2, 2)), **{option: "other"})


def recursion(reward, q, q_next, alpha, terminated, done, gamma, threshold, truncation):
    """Appendix A.3, one world and one segment at a time: F_i = r_i + gamma [(1 - a_{i+1}) Q_{i+1} + a_{i+1} F_{i+1}].

    Returns the sum over segments of ``(1 - a) Q + a F`` at their first steps.
    """
    steps, worlds = reward.shape

    def blend(i, n, credit):
        """``(1 - a_i) Q_i + a_i F_i``, and the last step of the segment."""
        credit = credit * alpha[i]
        cut, end = credit < threshold, done[i, n] or i == steps - 1
        if cut and truncation == "drop":
            rest, left = 0.0, i
        elif cut or end:
            rest, left = (0.0 if terminated[i, n] else q_next[i, n]), i
        else:
            rest, left = blend(i + 1, n, credit)
        return (1 - alpha[i]) * q[i, n] + alpha[i] * (reward[i, n] + gamma * rest), left

    total = 0.0
    for n in range(worlds):
        i = 0
        while i < steps:
            part, i = blend(i, n, 1.0)
            total += part
            while truncation != "restart" and i < steps - 1 and not done[i, n]:
                i += 1
            i += 1
    return total


@st.composite
def problems(draw, windows):
    w = draw(windows)
    alpha = np.array(draw(st.lists(factor, min_size=len(w.reward), max_size=len(w.reward))))
    return w, alpha


class TestCredit:
    @settings(deadline=None)
    @given(data=st.data(), gamma=factor, threshold=factor, truncation=st.sampled_from(READINGS))
    def test_equal_to_the_recursion(self, windows, data, gamma, threshold, truncation):
        w, alpha = data.draw(problems(windows))
        arrays = (w.reward, w.value, w.value_next, alpha, w.terminated, w.done)
        got = gradest.credit_objective(*arrays, gamma=gamma, threshold=threshold, truncation=truncation)
        want = recursion(*arrays, gamma, threshold, truncation) / w.reward.size
        np.testing.assert_allclose(got, want, **CLOSE)

    @settings(deadline=None)
    @given(data=st.data(), threshold=factor)
    def test_the_shares_sum_to_one(self, windows, data, threshold):
        """Undiscounted and without termination, the weights of each segment's Q values sum to 1."""
        w, alpha = data.draw(problems(windows))
        free = np.zeros_like(w.done)
        for truncation in ("bootstrap", "restart"):
            c = gradest.credit_weights(alpha, free, w.done, gamma=1.0, threshold=threshold, truncation=truncation)
            np.testing.assert_allclose((c.q_value + c.q_next).sum(0), c.restart.sum(0), **CLOSE)

    @settings(deadline=None)
    @given(data=st.data(), gamma=factor, threshold=st.floats(0.0, 0.999), truncation=st.sampled_from(READINGS))
    def test_full_credit_is_shacs_objective(self, windows, data, gamma, threshold, truncation):
        w = data.draw(windows)
        ends = (w.terminated, w.done)
        options = {"gamma": gamma, "threshold": threshold, "truncation": truncation}
        got = gradest.credit_objective(w.reward, w.value, w.value_next, 1.0, *ends, **options)
        np.testing.assert_allclose(got, gradest.segment_objective(w.reward, w.value_next, *ends, gamma=gamma), **CLOSE)

    @settings(deadline=None)
    @given(data=st.data(), gamma=factor, threshold=st.floats(0.001, 1.0))
    def test_no_credit_is_the_q_objective(self, windows, data, gamma, threshold):
        """Without ``restart`` only the starts learn from Q, which is why it is the default: there all steps do."""
        w = data.draw(windows)
        arrays = (w.reward, w.value, w.value_next, 0.0, w.terminated, w.done)
        starts = gradest.segment_starts(w.done)
        for truncation, where in (("drop", starts), ("bootstrap", starts), ("restart", np.ones_like(starts))):
            got = gradest.credit_objective(*arrays, gamma=gamma, threshold=threshold, truncation=truncation)
            np.testing.assert_allclose(got, (w.value * where).mean(), **CLOSE)

    @settings(deadline=None)
    @given(data=st.data(), gamma=factor)
    def test_without_a_threshold_the_readings_agree(self, windows, data, gamma):
        w, alpha = data.draw(problems(windows))
        arrays = (w.reward, w.value, w.value_next, alpha, w.terminated, w.done)
        results = [gradest.credit_objective(*arrays, gamma=gamma, threshold=0.0, truncation=r) for r in READINGS]
        np.testing.assert_allclose(results, results[0], **CLOSE)

    @settings(deadline=None)
    @given(data=st.data(), threshold=factor, truncation=st.sampled_from(READINGS))
    def test_steps_in_a_roll_out_add_up_to_the_window(self, windows, data, threshold, truncation):
        w, alpha = data.draw(problems(windows))
        c = gradest.credit_weights(alpha, w.terminated, w.done, gamma=0.9, threshold=threshold, truncation=truncation)
        beta, fresh = np.ones(w.done.shape[1]), np.ones(w.done.shape[1], dtype=bool)
        for t, done in enumerate(w.done):
            np.testing.assert_array_equal(c.restart[t], fresh)
            np.testing.assert_allclose(c.beta[t], beta * alpha[t], **CLOSE)
            beta, fresh = gradest.credit_step(
                beta, alpha[t : t + 1].reshape(()), done, threshold=threshold, truncation=truncation
            )

    @pytest.mark.parametrize("seed", range(3))
    def test_every_step_may_begin_a_segment(self, seed):
        """Weights and links give each action the gradient of its own segment, written out from its own start."""
        rng = np.random.default_rng(seed)
        torch = pytest.importorskip("torch")
        alpha, gamma, steps = torch.tensor(rng.random(6)), 0.9, 6
        noise = torch.tensor(rng.normal(size=(steps, 4)), requires_grad=True)
        done = torch.tensor(rng.random((steps, 4)) < 0.2)
        terminated = done & torch.tensor(rng.random((steps, 4)) < 0.5)
        start = torch.tensor(rng.normal(size=4))
        states = [start]

        def step(x, t):
            """Reward, Q of the action, the next state, and its value."""
            action = noise[t] - 0.3 * x
            after = torch.sin(x + action)
            return -(after**2) - action**2, torch.cos(x * action), after, after**3

        def segment(x, t):
            """``F_t`` of every world."""
            reward, q, after, follows = step(x, t)
            rest = torch.where(terminated[t], 0.0, follows)
            if t < steps - 1:
                rest = torch.where(done[t], rest, segment(after, t + 1))
            return (1 - alpha[t]) * q + alpha[t] * (reward + gamma * rest)

        for t in range(steps):
            after = step(states[-1], t)[2]
            states.append(torch.where(done[t], start, after).detach())
        # The segments overlap, and only the action that begins one is credited with it.
        want = []
        for t in range(steps):
            (g,) = torch.autograd.grad(segment(states[t], t).sum(), noise)
            want.append(g[t])

        w = gradest.credit_weights(alpha, terminated, done, gamma=gamma, truncation="every")
        rows, x = [], start
        for t in range(steps):
            reward, q, after, follows = step(x, t)
            rows.append((reward, q, follows))
            x = torch.where(done[t], start, after)
            x.register_hook(lambda g, t=t: g * w.link[t])
        total = noise.numel() * gradest.credit_mean(w, *(torch.stack(part) for part in zip(*rows, strict=True)))
        (got,) = torch.autograd.grad(total, noise)
        torch.testing.assert_close(got, torch.stack(want), rtol=1e-12, atol=1e-14)

    def test_the_horizon_of_overlapping_segments(self):
        """With alpha = 1/2 a segment counts 1/2 + 1/4 + ...: less than one, however long the window."""
        got = gradest.effective_horizon(np.full(60, 0.5), np.zeros((60, 2), dtype=bool), truncation="every")
        assert got == pytest.approx(1.0 - 1.0 / 60, rel=1e-9)
        done = np.ones((5, 2), dtype=bool)
        assert gradest.effective_horizon(np.full(5, 0.5), done, truncation="every") == 0.5
        assert gradest.effective_horizon(np.ones(5), done & False, truncation="every") == 3.0

    def test_restarts_by_hand(self):
        """alpha = 1/2 and a threshold of 0.3: credit 1/2, 1/4, cut, and anew."""
        alpha = np.full(5, 0.5)
        done = np.array([[False], [False], [False], [True], [False]])
        c = gradest.credit_weights(alpha, done & False, done, gamma=1.0, threshold=0.3)
        assert c.beta[:, 0].tolist() == [0.5, 0.25, 0.5, 0.25, 0.5]
        assert c.restart[:, 0].tolist() == [True, False, True, False, True]
        assert c.q_next[:, 0].tolist() == [0.0, 0.25, 0.0, 0.25, 0.5]
        assert gradest.effective_horizon(alpha, done, threshold=0.3) == 2.0 / 3
        drop = gradest.credit_weights(alpha, done & False, done, gamma=1.0, threshold=0.3, truncation="drop")
        assert drop.reward[:, 0].tolist() == [0.5, 0.25, 0.0, 0.0, 0.5]
        assert drop.q_next[:, 0].tolist() == [0.0, 0.0, 0.0, 0.0, 0.5]

    def test_effective_horizon_at_its_ends(self):
        assert gradest.effective_horizon(np.ones(7), never) == 7
        assert gradest.effective_horizon(np.zeros(7), never) == 0

    def test_q_that_is_not_asked_may_be_nan(self):
        q_next = np.full((7, 3), np.nan)
        q_next[-1] = 1.0
        got = gradest.credit_objective(
            np.ones((7, 3)), np.ones((7, 3)), q_next, 0.9, never, never, gamma=1.0, threshold=0.0
        )
        assert np.isfinite(got)

    def test_bad_alpha(self):
        args = [np.ones((7, 3))] * 3
        with pytest.raises(ValueError, match=r"alpha is 1.5; expected a number in \[0, 1\]"):
            gradest.credit_objective(*args, 1.5, never, never, gamma=0.9)
        with pytest.raises(ValueError, match=r"alpha has shape \(7, 3\); expected \(7,\) like reward"):
            gradest.credit_objective(*args, np.ones((7, 3)), never, never, gamma=0.9)
        with pytest.raises(ValueError, match=r"truncation is 'stop'; expected one of 'drop', 'bootstrap', 'restart'"):
            gradest.credit_objective(*args, 0.5, never, never, gamma=0.9, truncation="stop")
