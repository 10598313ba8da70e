"""Articulated rigid bodies: models, the engine, and its NumPy twin (``diffsim_core.rigid.twin``).

Importing this loads NumPy alone; the engine brings Warp when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from diffsim_core.rigid.contact_laws import CONTACT_LAWS as CONTACT_LAWS
from diffsim_core.rigid.contact_laws import ContactLaw as ContactLaw
from diffsim_core.rigid.contact_laws import Gains as Gains
from diffsim_core.rigid.contact_laws import register_contact_law as register_contact_law
from diffsim_core.rigid.contacts import ContactPairs as ContactPairs
from diffsim_core.rigid.contacts import HeightField as HeightField
from diffsim_core.rigid.contacts import PointKind as PointKind
from diffsim_core.rigid.coupled import FullState as FullState
from diffsim_core.rigid.coupled import couple as couple
from diffsim_core.rigid.coupled import full_state as full_state
from diffsim_core.rigid.coupled import own_state as own_state
from diffsim_core.rigid.coupled import uncoupled as uncoupled
from diffsim_core.rigid.couplings import Coupling as Coupling
from diffsim_core.rigid.couplings import Couplings as Couplings
from diffsim_core.rigid.fluid import Fluid as Fluid
from diffsim_core.rigid.fluid import FluidCoefficients as FluidCoefficients
from diffsim_core.rigid.fluid import FluidShape as FluidShape
from diffsim_core.rigid.hulls import Hull as Hull
from diffsim_core.rigid.joints import JOINTS as JOINTS
from diffsim_core.rigid.joints import Joint as Joint
from diffsim_core.rigid.joints import Placed as Placed
from diffsim_core.rigid.joints import register_joint as register_joint
from diffsim_core.rigid.loops import Loops as Loops
from diffsim_core.rigid.model import Body as Body
from diffsim_core.rigid.model import Geom as Geom
from diffsim_core.rigid.model import JointType as JointType
from diffsim_core.rigid.model import RigidModel as RigidModel
from diffsim_core.rigid.model import Site as Site
from diffsim_core.rigid.muscles import HillConstants as HillConstants
from diffsim_core.rigid.muscles import Muscles as Muscles
from diffsim_core.rigid.parameters import Parameters as Parameters
from diffsim_core.rigid.paths import Paths as Paths
from diffsim_core.rigid.paths import WrapKind as WrapKind
from diffsim_core.rigid.solids import Solid as Solid
from diffsim_core.rigid.tendons import ActuatorDynamics as ActuatorDynamics
from diffsim_core.rigid.tendons import AffineConstants as AffineConstants
from diffsim_core.rigid.tendons import PassiveConstants as PassiveConstants
from diffsim_core.rigid.tendons import Tendons as Tendons

if TYPE_CHECKING:
    from diffsim_core.rigid.dynamics import ModelParameters as ModelParameters
    from diffsim_core.rigid.dynamics import MuscleState as MuscleState
    from diffsim_core.rigid.dynamics import Probe as Probe
    from diffsim_core.rigid.dynamics import RigidDynamics as RigidDynamics
    from diffsim_core.rigid.dynamics import RigidState as RigidState
    from diffsim_core.rigid.ground_contacts import GroundContacts as GroundContacts
    from diffsim_core.rigid.sensors import Sensors as Sensors
    from diffsim_core.rigid.tendon_bounds import TendonRates as TendonRates
    from diffsim_core.rigid.tendon_bounds import tendon_rates as tendon_rates

_LAZY: dict[str, str] = dict.fromkeys(
    ("ModelParameters", "MuscleState", "Probe", "RigidDynamics", "RigidState"), "dynamics"
)
_LAZY["GroundContacts"] = "ground_contacts"
_LAZY["Sensors"] = "sensors"
_LAZY |= dict.fromkeys(("TendonRates", "tendon_rates"), "tendon_bounds")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"diffsim_core.rigid.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
