from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

# torch warns of a cache that it looks through while it traces array-api-compat.
pytestmark = pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
seeds = st.integers(0, 10**6)


@settings(deadline=None)
@given(seeds, st.integers(1, 12), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_quantiles_are_numpys(seed, samples, a, b):
    low, high = min(a, b), max(a, b)
    gradients = np.random.default_rng(seed).normal(size=(samples, 3))
    norm = np.linalg.norm(gradients, axis=1)
    shortest, longest = np.quantile(norm, [low, high])
    got = gradest.quantile_mask(gradients, low=low, high=high)
    want = (norm >= shortest * (1 - 1e-14)) & (norm <= longest * (1 + 1e-14))
    np.testing.assert_array_equal(got, want)


def test_the_whole_range_keeps_everything_finite():
    gradients = np.random.default_rng(0).normal(size=(50, 3)) * np.logspace(-200, 200, 50)[:, None]
    gradients[7, 1], gradients[20, 0] = np.nan, -np.inf
    got = gradest.quantile_mask(gradients, high=1.0)
    np.testing.assert_array_equal(got, gradest.finite_mask(gradients))
    assert got.sum() == 48


def test_quantile_of_what_is_finite():
    """Ten lengths 1 to 10 and ten samples that are no number: the median is that of the ten."""
    gradients = np.full((20, 1), np.inf)
    gradients[::2, 0] = np.arange(1.0, 11.0)
    got = gradest.quantile_mask(gradients, high=0.5)
    assert got[::2].tolist() == [True] * 5 + [False] * 5
    assert not got[1::2].any()


def test_a_range_the_wrong_way_round():
    with pytest.raises(ValueError, match=r"low is 0.8; expected at most high, which is 0.2"):
        gradest.quantile_mask(np.ones((3, 2)), low=0.8, high=0.2)


@settings(deadline=None)
@given(seeds, st.floats(1e-3, 1e3))
def test_clipping_keeps_directions_and_bounds_lengths(seed, max_norm):
    gradients = np.random.default_rng(seed).normal(size=(2, 6, 3)) * 10.0 ** np.arange(-3, 3)[:, None]
    got = gradest.clip_max_norm(gradients, max_norm=max_norm)
    norm = np.linalg.norm(gradients, axis=-1, keepdims=True)
    np.testing.assert_allclose(got, gradients * np.minimum(1, max_norm / norm), rtol=1e-13)


def test_clipping_what_is_huge_or_no_number():
    gradients = np.array([[3e150, 4e150], [np.nan, 1.0], [0.0, 0.0], [3e300, 4e300]])
    got = gradest.clip_max_norm(gradients, max_norm=5.0)
    np.testing.assert_allclose(got, [[3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], rtol=1e-14)


def test_masked_mean_by_hand():
    gradients = np.array([[[1.0, 2.0], [3.0, 4.0], [np.nan, np.inf]], [[np.nan, 0.0]] * 3])
    keep = np.array([[True, True, False], [False] * 3])
    assert gradest.masked_mean(gradients, keep).tolist() == [[2.0, 3.0], [0.0, 0.0]]
    with pytest.raises(ValueError, match=r"gradients has shape \(2, 3, 2\) and holds 1 NaN, the first at \[0, 2, 0\]"):
        gradest.masked_mean(gradients, np.array([[True] * 3, [False] * 3]))


def test_rules_save_a_mean_from_one_bad_sample():
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(200, 4)) + 1.0
    gradients[3] = 1e12
    kept = gradest.masked_mean(gradients, gradest.quantile_mask(gradients, high=0.99))
    assert np.abs(kept - 1).max() < 0.3
    assert np.abs(gradest.clip_max_norm(gradients, max_norm=5.0).mean(0) - 1).max() < 0.3
    assert np.abs(gradients.mean(0) - 1).max() > 1e9


def rough(x):
    """sqrt at zero: a value of 0 and a slope of infinity."""
    return x**0.5


class TestTorchGates:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.t = pytest.importorskip("torch")

    def test_zero_times_infinity_is_nan_and_a_gate_is_zero(self):
        """Two steps of two worlds; the second step of world 0 has an infinite slope and counts nothing."""
        weight = self.t.tensor([0.0, 1.0])
        for gate, want in ((lambda s: s, [np.nan, 2.0]), (lambda s: gradest.gate_gradient(s, weight > 0), [1.0, 2.0])):
            start = self.t.tensor([1.0, 1.0], requires_grad=True)
            state = start - self.t.tensor([1.0, 0.75])
            loss = state.sum() + (weight * rough(gate(state))).sum()
            (grad,) = self.t.autograd.grad(loss, start)
            np.testing.assert_array_equal(grad, want)

    def test_nonfinite_worlds_are_cut_whole(self):
        x = self.t.ones(3, 2, requires_grad=True)
        arriving = self.t.tensor([[np.inf, 1.0], [2.0, 3.0], [1.0, np.nan]])
        (grad,) = self.t.autograd.grad(gradest.gate_nonfinite(x), x, arriving)
        assert grad.tolist() == [[0.0, 0.0], [2.0, 3.0], [0.0, 0.0]]

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_norms_are_bounded_by_world(self, dtype):
        dtype = getattr(self.t, dtype)
        x = self.t.ones(4, 2, 1, dtype=dtype, requires_grad=True)
        arriving = self.t.tensor([[30.0, 40.0], [0.3, 0.4], [np.nan, 1.0], [3e15, 4e15]], dtype=dtype)[..., None]
        (grad,) = self.t.autograd.grad(gradest.gate_norm(x, max_norm=5.0), x, arriving)
        assert grad.dtype == dtype
        np.testing.assert_allclose(grad[..., 0], [[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [3.0, 4.0]], rtol=1e-6)

    def test_keep_of_every_number(self):
        x = self.t.ones(2, 2, requires_grad=True)
        keep = self.t.tensor([[True, False], [False, True]])
        (grad,) = self.t.autograd.grad(gradest.gate_gradient(x, keep), x, self.t.full((2, 2), np.inf))
        assert grad.tolist() == [[np.inf, 0.0], [0.0, np.inf]]

    def test_the_value_is_the_same_and_not_written_through(self):
        x = self.t.ones(2, 3)
        for y in (gradest.gate_gradient(x, self.t.tensor([True, False])), gradest.gate_norm(x, max_norm=1.0)):
            assert self.t.equal(x, y)

    @pytest.mark.parametrize("name", ["gate_gradient", "gate_norm"])
    def test_under_vmap_and_compile(self, name):
        keep = self.t.tensor([True, False, True])
        gate = {
            "gate_gradient": lambda x: gradest.gate_gradient(x, keep),
            "gate_norm": lambda x: gradest.gate_norm(x, max_norm=2.0),
        }[name]

        def f(x):
            return (gate(x) ** 3).sum()

        x = self.t.tensor(np.random.default_rng(0).normal(size=(5, 3, 2)))
        one_by_one = self.t.stack([self.t.func.grad(f)(row) for row in x])
        self.t.testing.assert_close(self.t.func.vmap(self.t.func.grad(f))(x), one_by_one)
        leaf = x[0].clone().requires_grad_()
        compiled = self.t.compile(f, backend="aot_eager", fullgraph=True)
        self.t.testing.assert_close(self.t.autograd.grad(compiled(leaf), leaf)[0], one_by_one[0])


class TestJaxGates:
    @pytest.fixture(autouse=True)
    def jax(self):
        self.j = pytest.importorskip("jax")

    def test_zero_times_infinity_is_nan_and_a_gate_is_zero(self):
        jnp = self.j.numpy
        weight = jnp.array([0.0, 1.0])
        for gate, want in ((lambda s: s, [np.nan, 2.0]), (lambda s: gradest.gate_gradient(s, weight > 0), [1.0, 2.0])):

            def loss(start, gate=gate):
                state = start - jnp.array([1.0, 0.75])
                return state.sum() + (weight * rough(gate(state))).sum()

            for transform in (lambda f: f, self.j.jit):
                np.testing.assert_array_equal(transform(self.j.grad(loss))(jnp.ones(2)), want)

    def test_norms_are_bounded_by_world(self):
        jnp = self.j.numpy
        arriving = jnp.array([[30.0, 40.0], [0.3, 0.4], [np.nan, 1.0], [3e15, 4e15]])
        for gate, want in (
            (lambda x: gradest.gate_norm(x, max_norm=5.0), [[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [3.0, 4.0]]),
            (gradest.gate_nonfinite, [[30.0, 40.0], [0.3, 0.4], [0.0, 0.0], [3e15, 4e15]]),
        ):
            _, pullback = self.j.vjp(self.j.jit(gate), jnp.ones((4, 2)))
            np.testing.assert_allclose(pullback(arriving)[0], want, rtol=1e-6)

    def test_under_vmap(self):
        keep = self.j.numpy.array([True, False, True])

        def f(x):
            return (gradest.gate_gradient(x, keep) ** 3).sum() + (gradest.gate_norm(x, max_norm=2.0) ** 3).sum()

        x = self.j.numpy.asarray(np.random.default_rng(0).normal(size=(5, 3, 2)))
        got = self.j.vmap(self.j.grad(f))(x)
        np.testing.assert_allclose(got, [self.j.grad(f)(row) for row in x], rtol=1e-6)


def test_for_numpy_a_gate_is_nothing():
    x = np.ones((3, 2))
    assert gradest.gate_gradient(x, np.array([True, False, True])) is x
    assert gradest.gate_nonfinite(x) is x
    with pytest.raises(ValueError, match=r"keep has shape \(2,\); expected \(3,\) like x"):
        gradest.gate_gradient(x, np.array([True, False]))
    with pytest.raises(ValueError, match=r"max_norm is 0.0; expected a number in \(0, inf\)"):
        gradest.gate_norm(x, max_norm=0.0)
