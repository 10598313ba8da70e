"""Estimators over time-major ``[T, N]`` arrays: one source for NumPy, torch and JAX.

Every function is pure. It is differentiable in its floating-point arguments where the array library differentiates.
It works on the arrays that it is given: it converts, moves or changes no argument.

Names used throughout, for step ``t`` of a window of ``T`` steps in ``N`` independent worlds:

- ``reward[t]`` is ``r(s_t, a_t, s_{t+1})``.
- ``value[t]`` is ``V(s_t)``. ``value_next[t]`` is ``V(final_obs_t)``: the value of the observation after step ``t``,
  before any reset.
- ``terminated[t]``: the task itself ended with step ``t``, so its return has no bootstrap value.
- ``done[t] = terminated[t] | truncated[t]``: step ``t + 1`` belongs to another episode. A step that is done but not
  terminated was truncated, and ``value_next[t]`` is its bootstrap value.
- A segment is the part of an episode that lies inside the window. The window truncates the last one: its last step is
  bootstrapped too, unless it is terminated.
- ``gamma`` and ``lam`` are numbers, or arrays ``[T, N]`` whose entry at ``t`` is the weight of what follows step ``t``.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from ._adaptive import adaptive_ratio as adaptive_ratio
from ._alpha_controller import AlphaController as AlphaController
from ._alpha_controller import AlphaState as AlphaState
from ._alpha_order import AlphaOrderGradient as AlphaOrderGradient
from ._alpha_order import alpha_order_gradient as alpha_order_gradient
from ._alpha_order import alpha_order_weight as alpha_order_weight
from ._alpha_order import bernstein_radius as bernstein_radius
from ._alpha_policy import alpha_policy_log_prob as alpha_policy_log_prob
from ._alpha_policy import alpha_policy_loss as alpha_policy_loss
from ._alpha_policy import alpha_policy_target as alpha_policy_target
from ._alpha_policy import density_determinant as density_determinant
from ._alpha_policy import gaussian_determinant as gaussian_determinant
from ._alpha_policy import hessian_determinant as hessian_determinant
from ._alpha_policy import largest_alpha as largest_alpha
from ._bundle import bundle_mean as bundle_mean
from ._bundle import bundle_mean_quaternion as bundle_mean_quaternion
from ._corrected import VTrace as VTrace
from ._corrected import retrace as retrace
from ._corrected import vtrace as vtrace
from ._credit import CreditWeights as CreditWeights
from ._credit import credit_mean as credit_mean
from ._credit import credit_objective as credit_objective
from ._credit import credit_step as credit_step
from ._credit import credit_weights as credit_weights
from ._credit import effective_horizon as effective_horizon
from ._diagnostics import BiasEstimate as BiasEstimate
from ._diagnostics import cosine_similarity as cosine_similarity
from ._diagnostics import empirical_bias as empirical_bias
from ._diagnostics import horizon_of_trust as horizon_of_trust
from ._diagnostics import signal_to_noise as signal_to_noise
from ._diagnostics import variance_by_horizon as variance_by_horizon
from ._gae import gae as gae
from ._gae_gradient import gae_action_gradient as gae_action_gradient
from ._gae_gradient import gae_objective as gae_objective
from ._gate import gate_gradient as gate_gradient
from ._gate import gate_nonfinite as gate_nonfinite
from ._gate import gate_norm as gate_norm
from ._gaussian import gaussian_entropy as gaussian_entropy
from ._gaussian import gaussian_kl as gaussian_kl
from ._gaussian import recovered_noise as recovered_noise
from ._horizon import HorizonStep as HorizonStep
from ._horizon import adapt_horizon as adapt_horizon
from ._landscape import finite_difference_gradient as finite_difference_gradient
from ._landscape import landscape_line as landscape_line
from ._landscape import landscape_plane as landscape_plane
from ._landscape import random_directions as random_directions
from ._likelihood_ratio import leave_one_out_baseline as leave_one_out_baseline
from ._likelihood_ratio import likelihood_ratio_gradients as likelihood_ratio_gradients
from ._likelihood_ratio import likelihood_ratio_objective as likelihood_ratio_objective
from ._likelihood_ratio import optimal_baseline as optimal_baseline
from ._mixture import MixedGradient as MixedGradient
from ._mixture import inverse_variance_gradient as inverse_variance_gradient
from ._mixture import inverse_variance_weight as inverse_variance_weight
from ._mixture import mix_gradients as mix_gradients
from ._nstep import n_step_returns as n_step_returns
from ._off_policy import additional_return as additional_return
from ._off_policy import out_of_range_ratio as out_of_range_ratio
from ._outliers import clip_max_norm as clip_max_norm
from ._outliers import finite_mask as finite_mask
from ._outliers import masked_mean as masked_mean
from ._outliers import quantile_mask as quantile_mask
from ._per_step import StepMixture as StepMixture
from ._per_step import per_step_mixture as per_step_mixture
from ._reparameterised import reparameterised_objective as reparameterised_objective
from ._returns import bootstrapped_returns as bootstrapped_returns
from ._returns import discounted_returns as discounted_returns
from ._returns import td_lambda as td_lambda
from ._reuse import gated_ratio as gated_ratio
from ._reuse import reused_objective as reused_objective
from ._segments import segment_discounted as segment_discounted
from ._segments import segment_objective as segment_objective
from ._segments import segment_starts as segment_starts
from ._smoothness import CompositeGradient as CompositeGradient
from ._smoothness import SmoothnessTest as SmoothnessTest
from ._smoothness import composite_gradient as composite_gradient
from ._smoothness import smoothness_test as smoothness_test
from ._soft import soft_reward as soft_reward
from ._statistics import empirical_covariance as empirical_covariance
from ._statistics import empirical_variance as empirical_variance
from ._surrogate import clipped_surrogate as clipped_surrogate
from ._surrogate import virtual_log_prob as virtual_log_prob
from ._transition import NStepTransition as NStepTransition
from ._transition import n_step_transition as n_step_transition
from ._values import allow_nan as allow_nan

try:
    __version__ = version("gradest")
except PackageNotFoundError:
    __version__ = "0+unknown"

__all__ = [
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
    "__version__",
    "adapt_horizon",
    "adaptive_ratio",
    "additional_return",
    "allow_nan",
    "alpha_order_gradient",
    "alpha_order_weight",
    "alpha_policy_log_prob",
    "alpha_policy_loss",
    "alpha_policy_target",
    "bernstein_radius",
    "bootstrapped_returns",
    "bundle_mean",
    "bundle_mean_quaternion",
    "clip_max_norm",
    "clipped_surrogate",
    "composite_gradient",
    "cosine_similarity",
    "credit_mean",
    "credit_objective",
    "credit_step",
    "credit_weights",
    "density_determinant",
    "discounted_returns",
    "effective_horizon",
    "empirical_bias",
    "empirical_covariance",
    "empirical_variance",
    "finite_difference_gradient",
    "finite_mask",
    "gae",
    "gae_action_gradient",
    "gae_objective",
    "gate_gradient",
    "gate_nonfinite",
    "gate_norm",
    "gated_ratio",
    "gaussian_determinant",
    "gaussian_entropy",
    "gaussian_kl",
    "hessian_determinant",
    "horizon_of_trust",
    "inverse_variance_gradient",
    "inverse_variance_weight",
    "landscape_line",
    "landscape_plane",
    "largest_alpha",
    "leave_one_out_baseline",
    "likelihood_ratio_gradients",
    "likelihood_ratio_objective",
    "masked_mean",
    "mix_gradients",
    "n_step_returns",
    "n_step_transition",
    "optimal_baseline",
    "out_of_range_ratio",
    "per_step_mixture",
    "quantile_mask",
    "random_directions",
    "recovered_noise",
    "reparameterised_objective",
    "retrace",
    "reused_objective",
    "segment_discounted",
    "segment_objective",
    "segment_starts",
    "signal_to_noise",
    "smoothness_test",
    "soft_reward",
    "td_lambda",
    "variance_by_horizon",
    "virtual_log_prob",
    "vtrace",
]
