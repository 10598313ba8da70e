"""Gradients of multilayer perceptrons in extended precision, and how much rounding they can bear."""

from __future__ import annotations

import numpy as np
import pytest
import torch

needs_extended = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="long double is no more precise than double here"
)


def extended(part):
    """A tensor in extended precision."""
    return part.detach().numpy().astype(np.longdouble)


def gradient(mlp, flat, x, pull):
    """Of each parameter tensor, the gradient and the size of its terms.

    The size is what the backward pass gives where the sums and differences of a linear layer or a normalisation are
    sums of absolute values. Before a normalisation over two features the gradient is many times smaller than its
    terms: the outputs are +-1 but for the epsilon, whatever goes in. Rounding is relative to the terms.

    Args:
        mlp: the network.
        flat: its parameters, float64.
        x: inputs ``[B, sizes[0]]``.
        pull: the cotangents of the outputs from the outputs, both in extended precision.
    """
    params, h, tape = [extended(part) for part in mlp.split(flat)], extended(x), []
    step = 4 if mlp.layer_norm else 2
    for first in range(0, len(params) - 2, step):
        weight, bias, *norm = params[first : first + step]
        e, slope = _activation(mlp.activation, h @ weight.T + bias)
        before, h, normal, inverse = h, e, None, None
        if norm:
            d = e - e.mean(1, keepdims=True)
            inverse = 1 / np.sqrt((d * d).mean(1, keepdims=True) + np.longdouble(1e-5))
            normal = d * inverse
            h = normal * norm[0] + norm[1]
        tape.append((params[first : first + step], before, slope, normal, inverse))
    g = pull(h @ params[-2].T + params[-1])
    size = abs(g)
    found = [(g.sum(0), size.sum(0)), (g.T @ h, size.T @ abs(h))]  # from the last to the first
    g, size = g @ params[-2], size @ abs(params[-2])
    for (weight, _, *norm), before, slope, normal, inverse in reversed(tape):
        if norm:
            found += [(g.sum(0), size.sum(0)), ((g * normal).sum(0), (size * abs(normal)).sum(0))]
            g, size = g * norm[0], size * abs(norm[0])
            g = inverse * (g - g.mean(1, keepdims=True) - normal * (g * normal).mean(1, keepdims=True))
            tilt = abs(normal) * (size * abs(normal)).mean(1, keepdims=True)
            size = inverse * (size + size.mean(1, keepdims=True) + tilt)
        g, size = g * slope, size * abs(slope)
        found += [(g.sum(0), size.sum(0)), (g.T @ before, size.T @ abs(before))]
        g, size = g @ weight, size @ abs(weight)
    return found[::-1]


def errors(mlp, found, exact):
    """Of each parameter tensor, the largest error of a gradient, in roundings of the largest size of terms."""
    eps = torch.finfo(torch.float64).eps
    parts = zip(mlp.split(found), exact, strict=True)
    return np.array([float(abs(extended(part) - g).max() / (eps * size.max() or 1)) for part, (g, size) in parts])


def _activation(name, z):
    """Its values and derivatives."""
    if name == "elu":
        low = np.minimum(z, 0)
        return np.where(z > 0, z, np.expm1(low)), np.exp(low)
    if name == "silu":
        share = 1 / (1 + np.exp(-z))
        return z * share, share * (1 + z * (1 - share))
    if name == "relu":
        return np.maximum(z, 0), (z > 0).astype(z.dtype)
    return np.tanh(z), 1 - np.tanh(z) ** 2


WIDTHS = ((2,), (20, 2), (2, 17), (30, 3, 2), (2, 2), (1,), (9, 1, 5), (3,), (40, 4))
"""Hidden layers before whose normalisation little is left of a gradient, and some where more is."""


def compiled_is_no_less_accurate(found):
    """Both kinds' ``errors`` of many gradients are about the same. Each is one draw of rounding: one may be larger."""
    torch_, native = (np.array(found[how]) for how in ("torch", "native"))
    for share in (50, 90):
        assert np.percentile(native, share) <= 1.5 * np.percentile(torch_, share), share
    assert (native <= 100 * np.maximum(torch_, 1)).all(), (native / np.maximum(torch_, 1)).max()
