"""Half precision has no whole numbers above 256 (bfloat16) or 2048 (float16): nothing may be counted in it."""

from __future__ import annotations

import numpy as np
import pytest

import gradest

from .cases.case import Case, all_cases

CASES = {
    name: case
    for name, case in all_cases().items()
    if "N" not in case.bound and any("N" in axes.split() for _, axes in case.arrays.values())
}
"""Those that take any number of worlds or samples."""
LINEAR_ALGEBRA = ("hessian_determinant", "largest_alpha")
"""torch has none in half precision on a CPU, and says so."""
SAMPLES = 6000
"""Numbers whose places and sums neither of the two formats has."""


def many(case: Case) -> dict[str, np.ndarray]:
    """The arrays of a case, with its worlds or samples repeated to ``SAMPLES``, each a little different."""
    rng, given = np.random.default_rng(7), {}
    for name, (array, axes) in case.arrays.items():
        if "N" in axes.split():
            axis = axes.split().index("N")
            array = np.take(array, np.arange(SAMPLES) % array.shape[axis], axis=axis)
            if name in case.floats:
                array = array * rng.uniform(0.97, 1.03, array.shape)
        given[name] = array
    return given


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_as_in_single_precision_to_the_digits_there_are(name, kind):
    torch, case = pytest.importorskip("torch"), CASES[name]
    half = {
        key: torch.from_numpy(x).to(getattr(torch, kind)) if key in case.floats else torch.from_numpy(x)
        for key, x in many(case).items()
    }
    wide = {key: x.float() if key in case.floats else x for key, x in half.items()}
    if name in LINEAR_ALGEBRA:
        with pytest.raises(RuntimeError, match="not implemented for"):
            case(half)
        return
    digits = float(torch.finfo(getattr(torch, kind)).eps)
    for got, want in zip(case(half), case(wide), strict=True):
        if not want.is_floating_point():
            assert (got == want).float().mean() > 0.95  # the others lie within a rounding of a threshold
            continue
        assert got.dtype == getattr(torch, kind)
        # a few roundings, of numbers as large as the largest
        atol = 24 * digits * float(want.abs().max().clamp(min=1e-3))
        torch.testing.assert_close(got.float(), want, rtol=24 * digits, atol=atol)


def test_numpys_half_precision_is_counted_right_too():
    rng = np.random.default_rng(0)
    first, zeroth = np.exp(rng.normal(size=(SAMPLES, 4))), 2.0 * rng.normal(size=(SAMPLES, 4))
    half = first.astype(np.float16), zeroth.astype(np.float16)
    assert gradest.adaptive_ratio(*half) == pytest.approx(float(gradest.adaptive_ratio(first, zeroth)), abs=2e-3)
    assert gradest.quantile_mask(half[0], high=0.5).mean() == pytest.approx(0.5, abs=0.01)
    assert gradest.empirical_variance(half[0]) == pytest.approx(float(gradest.empirical_variance(first)), rel=2e-3)
    keep = rng.random(SAMPLES) < 0.5
    np.testing.assert_allclose(gradest.masked_mean(half[0], keep), gradest.masked_mean(first, keep), rtol=2e-3)


def test_central_differences_take_each_direction_once():
    torch = pytest.importorskip("torch")
    slopes = torch.arange(300.0) % 7 - 3
    theta = torch.zeros(300, dtype=torch.bfloat16)
    found = gradest.finite_difference_gradient(lambda x: float(x.float() @ slopes), theta, eps=0.5)
    torch.testing.assert_close(found.float(), slopes)


def test_the_identity_of_a_large_hessian():
    """A determinant that counts its diagonal in half precision has ones elsewhere, from place 257 on."""
    torch = pytest.importorskip("torch")
    hessian = torch.zeros(1, 300, 300)
    assert gradest.hessian_determinant(hessian, alpha=0.1) == pytest.approx(1.0)
    import array_api_compat.torch as xp

    from gradest._alpha_policy import _identity

    for kind in (torch.bfloat16, torch.float16):
        assert torch.equal(_identity(xp, hessian[0].to(kind)), torch.eye(300, dtype=kind))
