"""Configuration fields that algorithms share, in groups: updates, windows with an actor, Gaussian actors, critics.

Nothing here imports an array library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval

from diffsim_core.options import Count, Finite, Fraction, NotNegative, Positive

from ._fields import checked

Decay = Annotated[float, Interval(ge=0, lt=1)]
Widths = tuple[Count, ...]
Steps = Annotated[int, Interval(ge=1, lt=2**63)]
Activation = Literal["elu", "silu", "relu", "tanh"]
Code = Literal["torch", "native", "auto"]
OF_OLDER_RUNS = {"policy_step": "torch", "policy_fit": "torch", "critic_fit": "torch"}
"""Fields that the description of an older run lacks, with what it did."""


@dataclass(frozen=True, kw_only=True)
class UpdateConfig:
    """Fields of every algorithm; the defaults are SHAC's general setting (Xu et al. 2022, Table 5)."""

    iterations: Count = 2000
    """Updates of a full run; the learning rates fall over them."""
    schedule_steps: Steps | None = None
    """Control steps, summed over worlds, over which the learning rates fall in place of ``iterations``; ``--env-steps``
    sets it."""
    horizon: Count = 32
    """Control steps in a window."""
    gamma: Fraction = 0.99
    """Discount per control step."""
    lr_end: NotNegative = 1e-5
    """Learning rate at the last update, of actor and critic."""
    lr_schedule: Literal["linear", "constant"] = "linear"
    """How the learning rates change: linearly to ``lr_end``, or not at all."""
    betas: tuple[Decay, Decay] = (0.7, 0.95)
    """Decay rates of Adam's moments, for all networks."""
    max_grad_norm: Positive = 1.0
    """Gradients with a larger Euclidean norm are scaled down to this, for each optimiser."""
    weight_decay: NotNegative = 0.0
    """Decay of AdamW, for all networks; 0 gives Adam."""
    divergence_price: NotNegative | None = None
    """What a step costs in which a world leaves the finite range [reward]. With a number, 0 included, the step ends the
    episode as a failure does, and earns minus this. With none, its reward and what follows are left out: the episode
    ends before it, and it is taken to be as bad as the worst step that was learned from with it."""
    torch_threads: Count = 1
    """Threads of torch's own operations; at a few thousand rows more threads are slower. Results depend on it in
    the last bits, so it belongs to the configuration. The simulator has its own threads."""

    def __post_init__(self) -> None:
        for name, value in checked(type(self), vars(self)).items():
            object.__setattr__(self, name, value)

    def schedule(self, iteration: Any, env_steps: Any) -> tuple[Any, int]:
        """How much of the schedules so many updates and control steps are, and how much there is in all."""
        if self.schedule_steps is not None:
            return env_steps, self.schedule_steps
        return iteration, self.iterations

    def steps_of_update(self, num_envs: int, episode: Callable[[], int]) -> int:
        """The most control steps that an update takes, summed over worlds.

        Args:
            num_envs: number of worlds N.
            episode: gives the time limit of an episode [steps].
        """
        return num_envs * self.horizon


@dataclass(frozen=True, kw_only=True)
class WindowConfig(UpdateConfig):
    """Fields of every algorithm with an actor; the defaults are SHAC's general setting."""

    actor_hidden: Widths = (256, 128)
    """Widths of the actor's hidden layers."""
    actor_lr: Positive = 2e-3
    """Learning rate of the actor at the first update."""
    activation: Activation = "elu"
    """Activation function of each hidden layer, for all networks."""
    layer_norm: bool = True
    """Normalise each hidden layer after its activation."""
    normalize_obs: bool = True
    """Shift and scale observations by their running mean and standard deviation."""
    obs_std_min: NotNegative = 0.0
    """Least standard deviation to divide by. What hardly varies in training is otherwise magnified, by up to 316 times,
    and a small change where the policy is used becomes a large one. With 0 there is no other bound than that."""
    obs_clip: Positive | None = None
    """Clip normalised observations to plus and minus this, 10 for instance; with none they are not clipped. The
    gradient beyond is zero. Point clouds are neither normalised nor clipped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("obs_std_min", "obs_clip") if not self.normalize_obs else ():
            fits = not getattr(self, name)
            require(name, getattr(self, name), fits, "left out where normalize_obs is false, or set normalize_obs")


@dataclass(frozen=True, kw_only=True)
class GaussianConfig(WindowConfig):
    """Fields of every algorithm with a Gaussian actor; the defaults are SHAC's general setting."""

    state_dependent_std: bool = False
    """Make the standard deviation an output of the network; otherwise it is one parameter for each action."""
    logstd_init: Finite = -1.0
    """Initial log standard deviation of the actions before tanh; where it depends on the state, the bias of that
    output."""
    logstd_min: Finite = -20.0
    """Lower bound of the log standard deviation."""
    logstd_max: Finite = 20.0
    """Upper bound of the log standard deviation."""
    policy_step: Code = "auto"
    """What computes the policy in the roll-out, and its gradient there. ``torch``: its operations. ``native``: compiled
    code, on a CPU, for actors without an encoder. ``auto``: compiled code where it can, else torch. The mathematics is
    the same, but not the last bits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # exp of twice the bound, which divergences contain, must be finite in float32.
        fits = self.logstd_min < self.logstd_max <= 40.0
        require("logstd_max", self.logstd_max, fits, f"above logstd_min, which is {self.logstd_min}, and at most 40")


@dataclass(frozen=True, kw_only=True)
class SpreadConfig(GaussianConfig):
    """Fields of algorithms whose noise depends on the state; the defaults are SAC's, SAPO's and AGPO's."""

    state_dependent_std: bool = True
    """Make the standard deviation an output of the network; otherwise it is one parameter for each action."""
    logstd_init: Finite = 0.0
    """Initial log standard deviation of the actions before tanh; where it depends on the state, the bias of that
    output."""
    logstd_min: Finite = -5.0
    """Lower bound of the log standard deviation."""
    logstd_max: Finite = 2.0
    """Upper bound of the log standard deviation."""


@dataclass(frozen=True, kw_only=True)
class FitConfig(WindowConfig):
    """Fields of every algorithm that fits critics."""

    critic_fit: Code = "auto"
    """What fits the critics, and gives their values where generalised advantages need them. ``torch``: its operations.
    ``native``: compiled code, several times faster, for runs on a CPU in one process whose critics have no encoder.
    ``auto``: compiled code where it can, else torch. The mathematics is the same, but not the last bits."""


@dataclass(frozen=True, kw_only=True)
class CriticConfig(FitConfig):
    """Fields of every algorithm that fits critics to a window; the defaults are SHAC's general setting."""

    lam: Fraction = 0.95
    """Lambda of the critic's TD(lambda) targets, and of advantages where there are any."""
    critic_hidden: Widths = (128, 128)
    """Widths of the critic's hidden layers."""
    critic_lr: Positive = 5e-4
    """Learning rate of the critic at the first update."""
    critic_iterations: Count = 16
    """Epochs of the critic over a window."""
    critic_minibatches: Count = 4
    """Minibatches in an epoch of the critic."""
    critic_shuffle: bool = True
    """Draw the critic's minibatches at random in each epoch; otherwise they are runs of consecutive steps, as in SHAC's
    released code. Its paper does not say; the page of SHAC compares both on Ant."""


@dataclass(frozen=True, kw_only=True)
class PolicyFitConfig(WindowConfig):
    """Fields of algorithms that fit their policy to a window in epochs, as PPO does."""

    policy_fit: Code = "auto"
    """What takes the policy's epochs over a window. ``torch``: its operations. ``native``: compiled code, faster, for
    runs on a CPU in one process whose actor has no encoder. ``auto``: compiled code where it can, else torch. The
    mathematics is the same, but not the last bits."""


@dataclass(frozen=True, kw_only=True)
class GraphConfig(UpdateConfig):
    """Fields of algorithms whose updates can be a graph of the device's work."""

    cuda_graph: bool = False
    """On CUDA, capture all that an update does on the device as one graph after the third update, and replay it from
    then on. What cannot be captured runs as without it, and a warning says why. It has not been run on a GPU yet."""


def require(name: str, value: object, holds: bool, expected: str) -> None:
    """Raise ``ValueError`` with field, value and remedy unless ``holds``."""
    if not holds:
        raise ValueError(f"{name} is {value}; it must be {expected}")
