// Forces on single links that nothing controls: gravity compensation and fluid.
#pragma once
#include "fluid.h"
#include "gravcomp.h"

namespace ds {

#if DS_PASSIVE
DS_FN void passive_forces(const Model& m, const Kinematics& k, V3 up, SV* F)
{
    gravcomp_forces(m, k, up, F);
    if (m.passive.shapes) fluid_forces(m, k, F);
}

DS_FN void passive_vjp(const Model& m, const Kinematics& k, V3 up, const SV* X, LinkBar* bar)
{
    gravcomp_vjp(m, k, up, X, bar);
    if (m.passive.shapes) fluid_vjp(m, k, X, bar);
}
#endif

}  // namespace ds
