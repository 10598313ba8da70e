"""What every public function of arrays promises, whatever it computes: see ``cases``.

One source for three frameworks, eager and compiled, with the same gradients; no conversion of dtypes; worlds that
know nothing of each other's place; and an error that names the argument wherever arrays do not belong together.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gradest

from .cases.case import Case, all_cases

CASES = all_cases()

# Public names that are no function of arrays alone; each has its own tests.
OTHERS = {
    "__version__",
    "AlphaController",
    "AlphaOrderGradient",
    "AlphaState",
    "BiasEstimate",
    "CompositeGradient",
    "CreditWeights",
    "HorizonStep",
    "MixedGradient",
    "NStepTransition",
    "SmoothnessTest",
    "StepMixture",
    "VTrace",
    "allow_nan",
    "finite_difference_gradient",
    "landscape_line",
    "landscape_plane",
    "random_directions",
}

# torch warns of a cache that it looks through while it traces array-api-compat.
pytestmark = pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def numpy_arrays(case: Case) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, (array, _) in case.arrays.items()}


def check_equal(got, want):
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, **CLOSE)


def test_every_public_name_has_a_case():
    """A case may be called ``name`` or ``name:variant``."""
    assert {name.partition(":")[0] for name in CASES} | OTHERS == set(gradest.__all__)


@every
def test_results_have_the_promised_axes(case):
    lengths = {}
    for array, axes in case.arrays.values():
        lengths |= dict(zip(axes.split(), array.shape, strict=True))
    for got, axes in zip(case(numpy_arrays(case)), case.out, strict=True):
        assert np.shape(got) == tuple(lengths[axis] if not axis.isdigit() else int(axis) for axis in axes.split())


@every
def test_arguments_are_not_written_to(case):
    given = numpy_arrays(case)
    for array in given.values():
        array.flags.writeable = False
    case(given)


@every
def test_float32_stays_float32(case):
    single = {k: x.astype(np.float32) if k in case.floats else x for k, x in numpy_arrays(case).items()}
    wide = case(numpy_arrays(case))
    for got, double in zip(case(single), wide, strict=True):
        kind = np.asarray(double).dtype
        assert np.asarray(got).dtype == (np.float32 if kind == np.float64 else kind)


@every
def test_permuting_worlds_permutes_results(case):
    """Pairs of one sample with another's numbers, which GI-PPO's released code makes for T > 1, show here."""
    if "N" in case.bound or not any("N" in axes.split() for _, axes in case.arrays.values()):
        return
    count = next(x.shape[a.split().index("N")] for x, a in case.arrays.values() if "N" in a.split())
    order = np.random.default_rng(3).permutation(count)

    def shuffled(array, axes):
        return np.take(array, order, axis=axes.split().index("N")) if "N" in axes.split() else array

    given = {name: np.array(shuffled(*one)) for name, one in case.arrays.items()}
    want = case(numpy_arrays(case))
    check_equal(case(given), [shuffled(np.asarray(x), axes) for x, axes in zip(want, case.out, strict=True)])


@every
def test_a_wrong_shape_is_an_error_that_names_an_argument(case):
    names = list(case.arrays)
    for name, (array, axes) in case.arrays.items():
        for axis, letter in enumerate(axes.split()):
            if array.ndim == 0 or letter.isdigit():
                continue
            given = numpy_arrays(case)
            given[name] = np.concatenate([array, np.take(array, [0], axis=axis)], axis=axis)
            shared = any(letter in a.split() for other, (_, a) in case.arrays.items() if other != name)
            if shared or letter in case.bound:
                with pytest.raises(ValueError, match=rf"^({'|'.join(names)}) has shape \(.*expected"):
                    case(given)
        if case.other_ranks:
            continue
        given = numpy_arrays(case)
        given[name] = array[..., None]
        with pytest.raises(ValueError, match=rf"^({'|'.join(names)}) has shape \(.*expected"):
            case(given)


@every
def test_nan_is_refused_by_name_and_let_through_on_request(case):
    for name in case.no_nan:
        given = numpy_arrays(case)
        given[name].flat[given[name].size // 2] = np.nan
        with pytest.raises(ValueError, match=rf"^{name} has shape .* and holds 1 NaN"):
            case(given)
        with gradest.allow_nan():
            case(given)


@every
def test_a_wrong_dtype_is_an_error_that_names_the_argument(case):
    for name in case.floats:
        given = numpy_arrays(case)
        given[name] = np.round(given[name]).astype(np.int64)
        with pytest.raises(ValueError, match=rf"^{name} has dtype int64; expected"):
            case(given)
    for name in case.flags:
        given = numpy_arrays(case)
        given[name] = given[name].astype(np.float64)
        with pytest.raises(ValueError, match=rf"^{name} has dtype float64; expected bool"):
            case(given)


def scalar(results, weights):
    """One number that depends on every element of every result, differently on each."""
    return sum((w * x).sum() for x, w in zip(results, weights, strict=True))


def weights_of(case: Case) -> list[np.ndarray]:
    """Random weights for the floating-point results, zero for the others."""
    rng = np.random.default_rng(11)
    results = [np.asarray(x) for x in case(numpy_arrays(case))]
    return [rng.normal(size=x.shape) * (x.dtype == np.float64) for x in results]


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.t = pytest.importorskip("torch")
        # One compiled function after another would otherwise be taken for recompilations of one.
        self.t._dynamo.reset()

    def tensors(self, case):
        return {name: self.t.from_numpy(x) for name, x in numpy_arrays(case).items()}

    def gradients(self, case, call, given=None):
        given = given or self.tensors(case)
        leaves = [given[name].requires_grad_() for name in case.smooth]
        weights = [self.t.from_numpy(np.asarray(w)) for w in weights_of(case)]
        total = scalar(call(given), weights)
        return [x.numpy() for x in self.t.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)]

    def check_compiled(self, case, compiled):
        """Values and gradients of one compilation (a second, for inputs without gradient, would double the time)."""
        given = self.tensors(case)
        for name in case.smooth:
            given[name].requires_grad_()
        got = compiled(given)
        check_equal([x.detach() for x in got], case(numpy_arrays(case)))
        if case.smooth:
            check_equal(self.gradients(case, lambda _: got, given), self.gradients(case, case))

    @every
    def test_equal_to_numpy(self, case):
        got = case(self.tensors(case))
        assert all(self.t.is_tensor(x) for x in got)
        check_equal(got, case(numpy_arrays(case)))

    @pytest.mark.gpu
    @every
    def test_equal_to_numpy_on_a_gpu(self, case):
        got = case({name: tensor.to("cuda") for name, tensor in self.tensors(case).items()})
        assert all(x.device.type == "cuda" for x in got)
        for a, b in zip(got, case(numpy_arrays(case)), strict=True):
            np.testing.assert_allclose(a.cpu(), b, rtol=1e-9, atol=1e-9)

    @every
    def test_compiled_in_one_graph(self, case):
        """``aot_eager`` traces forward and backward whole and runs them as traced; inductor has its slow test."""
        if case.compiles:
            self.check_compiled(case, self.t.compile(case, backend="aot_eager", fullgraph=True))

    @pytest.mark.slow
    @every
    def test_compiled_by_inductor(self, case):
        if case.compiles:
            self.check_compiled(case, self.t.compile(case, fullgraph=True))

    @every
    def test_gradients_are_central_differences(self, case):
        weights = weights_of(case)
        rng = np.random.default_rng(5)
        for name, grad in zip(case.smooth, self.gradients(case, case) if case.smooth else [], strict=True):
            direction = rng.normal(size=grad.shape)
            values = []
            for step in (1e-5, -1e-5):
                given = numpy_arrays(case)
                given[name] += step * direction
                values.append(scalar(case(given), weights))
            want = (values[0] - values[1]) / 2e-5
            np.testing.assert_allclose((grad * direction).sum(), want, rtol=1e-6, atol=1e-6, err_msg=name)

    @every
    def test_other_floats_carry_no_gradient(self, case):
        constant = [name for name in case.floats if name not in case.smooth]
        if not constant:
            return
        given = self.tensors(case)
        leaves = [given[name].requires_grad_() for name in constant]
        total = scalar(case(given), [self.t.from_numpy(np.asarray(w)) for w in weights_of(case)])
        if total.requires_grad:
            for grad in self.t.autograd.grad(total, leaves, allow_unused=True):
                assert grad is None or not grad.any()

    @every
    def test_mixed_frameworks_are_refused(self, case):
        for name in itertools.islice(case.arrays, 1, None):
            given = self.tensors(case)
            given[name] = numpy_arrays(case)[name]
            with pytest.raises(ValueError, match=rf"^{name} is a NumPy array but .* is a torch array; convert one"):
                case(given)


class TestJax:
    @pytest.fixture(autouse=True)
    def jax(self):
        self.j = pytest.importorskip("jax")
        with self.j.enable_x64(True):
            yield

    def arrays(self, case):
        return {name: self.j.numpy.asarray(x) for name, x in numpy_arrays(case).items()}

    @every
    def test_equal_to_numpy_with_and_without_jit(self, case):
        want = case(numpy_arrays(case))
        got = case(self.arrays(case))
        assert all(isinstance(x, self.j.Array) for x in got)
        check_equal(got, want)
        if case.compiles:
            check_equal(self.j.jit(lambda given: case(given))(self.arrays(case)), want)

    @every
    def test_gradients_equal_torch(self, case):
        torch = pytest.importorskip("torch")
        if not case.smooth:
            return
        given = {name: torch.from_numpy(x) for name, x in numpy_arrays(case).items()}
        leaves = [given[name].requires_grad_() for name in case.smooth]
        weights = weights_of(case)
        total = scalar(case(given), [torch.from_numpy(np.asarray(w)) for w in weights])
        want = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)

        def f(smooth):
            return scalar(case({**self.arrays(case), **smooth}), weights)

        smooth = {name: self.arrays(case)[name] for name in case.smooth}
        transforms = [lambda g: g, self.j.jit] if case.compiles else [lambda g: g]
        for transform in transforms:
            got = transform(self.j.grad(f))(smooth)
            check_equal([got[name] for name in case.smooth], [x.numpy() for x in want])
