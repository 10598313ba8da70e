// A particle's numbers, or those of a block of DS_LANES particles, and what stress and momentum make of them.
#pragma once
#include "grid.h"
#include "materials.h"

namespace ds {

struct Particles {
    V3 x, v;
    M3 C, F;
    R h;
};

// The most that number k of a particle may be. One that moves by more than a cell in a sub-step is lost: it may have passed
// through a wall.
DS_FN T most(const Model& m, int k)
{
    T cell = m.dx / m.dt;
    return k >= 3 && k < 6 && cell < m.limit ? cell : m.limit;
}

// The deformation gradient after the velocity gradient was applied, and back: adds to gC, sets gF.
DS_FN M3 trial(T dt, const M3& C, const M3& F) { return plus(F, mul(C, F), splat(dt)); }
DS_FN void trial_vjp(T dt, const M3& C, const M3& F, const M3& gtrial, M3& gC, M3& gF)
{
    gF = plus(gtrial, mul_tn(C, gtrial), splat(dt));
    gC = plus(gC, mul_nt(gtrial, F), splat(dt));
}
// Momentum and mass around a particle, as an affine field by node (Hu et al. 2018, eq. 29 and 30).
DS_FN M3 momentum_gradient(const Model& m, R mass, R volume, const M3& C, const M3& tau)
{
    return C * (mass * m.dx) - tau * (volume * (T(4) * m.dt * m.inv_dx));
}

}  // namespace ds
