from __future__ import annotations

import numpy as np
import pytest

import gradest

FLOATS = ("reward", "value", "value_next")
FLAGS = ("terminated", "done")


@pytest.fixture
def arguments():
    zeros = np.zeros((4, 3))
    return dict.fromkeys(FLOATS, zeros) | {name: zeros.astype(bool) for name in FLAGS} | {"gamma": 0.9, "lam": 0.9}


@pytest.mark.parametrize("name", FLOATS + FLAGS)
@pytest.mark.parametrize("shape", [(3, 4), (4, 1), (1, 3), (4,), (), (4, 3, 1)])
def test_no_silent_broadcast(arguments, name, shape):
    arguments[name] = np.zeros(shape, dtype=arguments[name].dtype)
    # A wrong first argument of rank 2 sets the expectation that the next one misses.
    named = "value" if name == "reward" and len(shape) == 2 else name
    with pytest.raises(ValueError, match=rf"^{named} has shape \(.*\); expected .*(4, 3|\[T, N\]|{shape[:1]})"):
        gradest.gae(**arguments)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_an_empty_window_is_refused(arguments, shape):
    for name in FLOATS + FLAGS:
        arguments[name] = np.zeros(shape, dtype=arguments[name].dtype)
    with pytest.raises(ValueError, match=r"reward has shape .* T >= 1 and N >= 1"):
        gradest.gae(**arguments)


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint8])
def test_flags_are_boolean(arguments, name, dtype):
    arguments[name] = arguments[name].astype(dtype)
    with pytest.raises(ValueError, match=rf"{name} has dtype {np.dtype(dtype)}; expected bool"):
        gradest.gae(**arguments)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("dtype", [bool, np.int64, np.complex128])
def test_floats_are_real_floating(arguments, name, dtype):
    arguments[name] = arguments[name].astype(dtype)
    with pytest.raises(ValueError, match=rf"{name} has dtype {np.dtype(dtype)}; expected a real floating"):
        gradest.gae(**arguments)


@pytest.mark.parametrize("name", FLOATS[1:])
def test_floats_have_one_dtype(arguments, name):
    arguments[name] = arguments[name].astype(np.float32)
    with pytest.raises(ValueError, match=rf"{name} has dtype float32; expected float64 like reward"):
        gradest.gae(**arguments)


@pytest.mark.parametrize("name", ["gamma", "lam"])
@pytest.mark.parametrize("factor", [-0.1, 1.5, float("nan"), float("inf"), "big", None])
def test_factors_lie_between_zero_and_one(arguments, name, factor):
    arguments[name] = factor
    with pytest.raises(ValueError, match=rf"{name} is .*; expected a number in \[0, 1\]"):
        gradest.gae(**arguments)


@pytest.mark.parametrize("name", FLOATS + FLAGS)
@pytest.mark.parametrize("wrong", [[[0.0] * 3] * 4, None, 1.0])
def test_arguments_are_arrays(arguments, name, wrong):
    arguments[name] = wrong
    with pytest.raises(ValueError, match=rf"{name} is of type builtins\..*; expected a NumPy array"):
        gradest.gae(**arguments)


def test_numpy_scalars_serve_as_factors(arguments):
    arguments = {k: v.astype(np.float32) if k in FLOATS else v for k, v in arguments.items()}
    arguments |= {"gamma": np.float64(0.9), "lam": np.float64(1.0)}
    assert gradest.gae(**arguments).dtype == np.float32
