"""Bounds of normalised observations: off they change no bit, on they hold for every network, policy and export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from diffrl_algos import export_run, get_algorithm
from diffrl_algos.cli import main
from diffrl_algos.torch._export import export_policy, onnx_bytes, onnx_policy, torch_bytes, torch_policy
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._native_policy import PolicyCode
from diffrl_algos.torch._normalize import RunningStats

from .test_cli import SMALL, TOY
from .test_family import NAMES, build, run, same_bits

NORMALISING = [name for name in NAMES if hasattr(get_algorithm(name).config_class(), "normalize_obs")]
CLIP, FLOOR = 0.125, 20.0
"""A clip that most observations exceed, and a floor above every deviation."""


def test_all_but_the_open_loop_normalise():
    assert set(NAMES) - set(NORMALISING) == {"trajopt"}


@pytest.mark.parametrize("name", NORMALISING)
def test_bounds_that_nothing_reaches_change_no_bit(worlds, name):
    states = []
    for bounds in ({}, {"obs_clip": 1e6, "obs_std_min": 1e-3}):
        algorithm = build(name, **bounds)
        states.append(run(algorithm, algorithm.init(worlds(), 3), 2)[0])
    assert same_bits(*states)


def numbers(x):
    """What a tensor holds, inside ``vmap`` and ``grad`` too."""
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    with torch._C._DisableFuncTorch():
        return x.detach().numpy()


@pytest.fixture
def seen(monkeypatch):
    """The largest observation, ``[no]``, that any network has been given."""
    largest = np.zeros(2, dtype=np.float32)

    def watch(kind, method, place):
        original = getattr(kind, method)

        def watched(self, *given, **options):
            found = np.abs(numbers(given[place])[..., :2]).reshape(-1, 2).max(0)
            np.maximum(largest, found, out=largest)
            return original(self, *given, **options)

        monkeypatch.setattr(kind, method, watched)

    for method in ("__call__", "record", "regression_grad"):
        watch(MLP, method, 1)
    watch(PolicyCode, "forward", 0)
    return largest


@pytest.mark.parametrize("name", NORMALISING)
def test_no_network_sees_more_than_the_clip(worlds, seen, name):
    algorithm = build(name, obs_clip=CLIP)
    run(algorithm, algorithm.init(worlds(), 0), 3)
    assert seen.tolist() == [CLIP, CLIP]


@pytest.mark.parametrize("name", NORMALISING)
def test_no_deviation_is_less_than_the_floor(worlds, seen, name):
    algorithm = build(name, obs_std_min=FLOOR)
    state, _ = run(algorithm, algorithm.init(worlds(), 0), 3)
    # Positions and speeds of these worlds stay below 2; so does their mean.
    assert (seen > 0).all() and (seen < 4.0 / FLOOR).all()
    torch.testing.assert_close(state.run.normalizer(algorithm.config).scale, torch.full((2,), 1.0 / FLOOR))


@pytest.mark.parametrize("name", NORMALISING)
def test_policies_and_exports_are_bounded(worlds, name):
    algorithm = build(name, obs_clip=CLIP, obs_std_min=0.5)
    state, _ = run(algorithm, algorithm.init(worlds(), 0), 2)
    policy = algorithm.policy(state)
    stats = state.run.stats
    std = np.maximum(np.sqrt(stats.var.numpy() + 1e-5), 0.5)
    obs = 3.0 * torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    expected = np.clip((obs.numpy() - stats.mean.numpy()) / std, -CLIP, CLIP)
    np.testing.assert_allclose(policy.normalize(obs).numpy(), expected, atol=1e-6)
    # The policy is the same function of what the bounds leave of an observation.
    inside = torch.from_numpy(expected * std + stats.mean.numpy()).float()
    torch.testing.assert_close(policy(obs), policy(inside), rtol=0, atol=1e-5)
    free = build(name).policy(state)
    assert (free(obs) - policy(obs)).abs().max() > 1e-3
    exported = torch_policy(torch_bytes(export_policy(policy, 2), {}))
    torch.testing.assert_close(exported(obs), policy(obs), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["sapo", "pods"])
def test_bounds_in_onnxruntime(worlds, name):
    algorithm = build(name, obs_clip=CLIP, obs_std_min=0.5)
    policy = algorithm.policy(run(algorithm, algorithm.init(worlds(), 0), 2)[0])
    exported = onnx_policy(onnx_bytes(export_policy(policy, 2), {}, 2))
    obs = 3.0 * torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(exported(obs), policy(obs), rtol=0, atol=2e-6)


def test_a_run_keeps_its_bounds(tmp_path, capfd):
    """From the command line into the run, its evaluation and its export."""
    path, out = tmp_path / "run", tmp_path / "policy.pt2"
    bounds = ["--obs-clip", "0.1", "--obs-std-min", "0.5"]
    assert main(["train", "shac", "toy", *SMALL, *bounds, "--import", TOY, "--out", str(path)]) == 0
    config = json.loads((path / "run.json").read_text())["config"]
    assert (config["obs_clip"], config["obs_std_min"]) == (0.1, 0.5)
    capfd.readouterr()
    assert main(["eval", str(path), "--json"]) == 0
    summary = json.loads((path / "summary.json").read_text())
    assert json.loads(capfd.readouterr().out)["return_mean"] == summary["return_mean"]
    export_run(path, out, form="torch")
    act = torch_policy(out.read_bytes())
    far = torch.tensor([[50.0, -50.0], [5000.0, -5000.0]])
    assert torch.equal(*act(far)) and not torch.equal(*act(torch.tensor([[0.0, 0.0], [0.01, 0.0]])))


@pytest.mark.parametrize("name", NORMALISING)
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"obs_clip": 0.0}, "is 0.0; it takes a finite number above 0 or none"),
        ({"obs_clip": np.inf}, "is inf; it takes a finite number above 0 or none"),
        ({"obs_std_min": -1.0}, "is -1.0; it takes a finite number of at least 0"),
        (
            {"obs_clip": 5.0, "normalize_obs": False},
            "obs_clip is 5.0; it must be left out where normalize_obs is false",
        ),
        ({"obs_std_min": 0.1, "normalize_obs": False}, "obs_std_min is 0.1; it must be left out"),
    ],
)
def test_bounds_that_mean_nothing_are_refused(name, fields, words):
    with pytest.raises(ValueError, match=words):
        build(name, **fields)


def test_gradients_stop_at_the_clip():
    stats = RunningStats.init(2, torch.device("cpu"))
    x = torch.tensor([[0.5, 3.0]], dtype=torch.float64, requires_grad=True)
    normalise = stats.normalizer(torch.float64, clip=1.0)
    normalise(x).sum().backward()
    assert x.grad is not None and x.grad[0, 0] == normalise.scale[0] and x.grad[0, 1] == 0
