from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

rng = np.random.default_rng(3)
X, Y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
PARAMS = {"b": rng.normal(size=2), "W": 0.3 * rng.normal(size=(2, 3))}


def want(order):
    """Gradient of |tanh(W x + b) - y|^2 for each sample, worked out by hand."""
    out = np.tanh(X @ PARAMS["W"].T + PARAMS["b"])
    by_pre = 2 * (out - Y) * (1 - out**2)
    parts = {"b": by_pre, "W": (by_pre[:, :, None] * X[:, None, :]).reshape(6, -1)}
    return np.concatenate([parts[name] for name in order], axis=1)


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.t = pytest.importorskip("torch")

    def loss(self, p, x, y):
        return ((self.t.tanh(p["W"] @ x + p["b"]) - y) ** 2).sum()

    def arguments(self):
        params = {name: self.t.from_numpy(value) for name, value in PARAMS.items()}
        return params, self.t.from_numpy(X), self.t.from_numpy(Y)

    @pytest.mark.parametrize("chunk_size", [None, 1, 4])
    def test_equal_to_the_formula(self, chunk_size):
        from gradest.torch import per_sample_gradients

        got = per_sample_gradients(self.loss, *self.arguments(), chunk_size=chunk_size)
        np.testing.assert_allclose(got, want("bW"), rtol=1e-12)

    def test_a_module_and_back(self):
        from gradest.torch import per_sample_gradients, unflatten_like

        net = self.t.nn.Sequential(self.t.nn.Linear(3, 4), self.t.nn.Tanh(), self.t.nn.Linear(4, 1)).double()
        params = {name: p.detach() for name, p in net.named_parameters()}

        def f(p, x):
            return self.t.func.functional_call(net, p, (x,)).sum()

        flat = per_sample_gradients(f, params, self.t.from_numpy(X))
        tree = unflatten_like(flat, params)
        for n in range(6):
            grads = self.t.autograd.grad(net(self.t.from_numpy(X[n])).sum(), list(net.parameters()))
            for (name, _), grad in zip(net.named_parameters(), grads, strict=True):
                np.testing.assert_allclose(tree[name][n], grad, rtol=1e-12)
        mean = unflatten_like(flat.mean(0), params)
        assert {name: p.shape for name, p in mean.items()} == {name: p.shape for name, p in params.items()}

    def test_scalars_tuples_and_named_tuples_stay_what_they_are(self):
        from gradest.torch import per_sample_gradients, unflatten_like

        class Policy(NamedTuple):
            w: Any
            log_std: Any

        params = (Policy(self.t.ones(2), self.t.zeros(())), [self.t.ones(1)], {"k": self.t.zeros(())})

        def f(p, x):
            policy, (b,), more = p
            return (policy.w * x).sum() * policy.log_std.exp() + b.sum() + more["k"]

        tree = unflatten_like(per_sample_gradients(f, params, self.t.ones(3, 2)).mean(0), params)
        assert [type(part) for part in (tree, *tree)] == [tuple, Policy, list, dict]
        assert tree[0].w.tolist() == [1.0, 1.0] and tree[0].log_std.shape == () and float(tree[0].log_std) == 2.0

    def test_structures(self):
        from gradest.torch import per_sample_gradients, unflatten_like

        params, x, _ = self.arguments()
        nested = [params["b"], {"W": (params["W"],)}]

        def f(p, x):
            return (p[1]["W"][0] @ x + p[0]).prod()

        got = per_sample_gradients(f, nested, x)
        again = unflatten_like(got, nested)
        np.testing.assert_array_equal(again[1]["W"][0].reshape(6, -1), got[:, 2:])
        single = per_sample_gradients(lambda b, x: (b * x[:2]).sum(), params["b"], x)
        np.testing.assert_array_equal(single, X[:, :2])

    def test_errors_name_what_is_wrong(self):
        from gradest.torch import per_sample_gradients, unflatten_like

        params, x, y = self.arguments()
        with pytest.raises(ValueError, match=r"data 1 has shape \(5, 2\); expected \[N, ...\] with N = 6"):
            per_sample_gradients(self.loss, params, x, y[:5])
        with pytest.raises(ValueError, match=r"data 0 has shape \(0, 3\); expected"):
            per_sample_gradients(self.loss, params, x[:0], y[:0])
        with pytest.raises(ValueError, match="params is empty"):
            per_sample_gradients(lambda p, x: x.sum(), {}, x)
        with pytest.raises(ValueError, match="data is empty"):
            per_sample_gradients(lambda p: p["b"].sum(), params)
        with pytest.raises(ValueError, match=r"f returned shape \(2,\) for one sample; expected a scalar"):
            per_sample_gradients(lambda p, x: p["b"], params, x)
        with pytest.raises(ValueError, match=r"params\['W'\] is of type ndarray; expected a tensor"):
            per_sample_gradients(self.loss, {**params, "W": PARAMS["W"]}, x, y)
        with pytest.raises(ValueError, match=r"flat has shape \(7,\); expected \[..., 8\]"):
            unflatten_like(self.t.zeros(7), params)


class TestJax:
    @pytest.fixture(autouse=True)
    def jax(self):
        self.j = pytest.importorskip("jax")
        with self.j.enable_x64(True):
            yield

    def loss(self, p, x, y):
        return ((self.j.numpy.tanh(p["W"] @ x + p["b"]) - y) ** 2).sum()

    def arguments(self):
        asarray = self.j.numpy.asarray
        return {name: asarray(value) for name, value in PARAMS.items()}, asarray(X), asarray(Y)

    @pytest.mark.parametrize("chunk_size", [None, 1, 4])
    def test_equal_to_the_formula_and_back(self, chunk_size):
        from gradest.jax import per_sample_gradients, unflatten_like

        params, x, y = self.arguments()
        got = per_sample_gradients(self.loss, params, x, y, chunk_size=chunk_size)
        np.testing.assert_allclose(got, want("Wb"), rtol=1e-12)
        np.testing.assert_array_equal(unflatten_like(got, params)["b"], got[:, 6:])
        assert unflatten_like(got.mean(0), params)["W"].shape == (2, 3)

    def test_under_jit(self):
        from gradest.jax import per_sample_gradients

        got = self.j.jit(lambda *a: per_sample_gradients(self.loss, *a))(*self.arguments())
        np.testing.assert_allclose(got, want("Wb"), rtol=1e-12)

    def test_errors_name_what_is_wrong(self):
        from gradest.jax import per_sample_gradients, unflatten_like

        params, x, y = self.arguments()
        with pytest.raises(ValueError, match=r"data 1 has shape \(5, 2\); expected \[N, ...\] with N = 6"):
            per_sample_gradients(self.loss, params, x, y[:5])
        with pytest.raises(ValueError, match="params is empty"):
            per_sample_gradients(lambda p, x: x.sum(), {}, x)
        with pytest.raises(ValueError, match="data is empty"):
            per_sample_gradients(lambda p: p["b"].sum(), params)
        with pytest.raises(ValueError, match=r"f returned shape \(2,\) for one sample; expected a scalar"):
            per_sample_gradients(lambda p, x: p["b"], params, x)
        with pytest.raises(ValueError, match=r"flat has shape \(7,\); expected \[..., 8\]"):
            unflatten_like(self.j.numpy.zeros(7), params)
