// The muscles and tendons of a model as the kernels read them (rigid/_pack_muscles.py writes the same columns).
#pragma once
#include "algebra.h"

namespace ds {

// Columns of the table of units. MU_CONTROL and MU_ACT are -1 without one; MU_DYNAMICS is how the activation follows the
// control, MU_TERM and MU_TERMS are joints whose coordinates the length adds up, by degree of freedom, MU_SITE the link of a
// wrench or -1, MU_DAMPS whether the implicit part of the sub-step has its damper: it damps a sum of joints alone.
enum { MU_CONTROL, MU_FIRST, MU_COUNT, MU_ACT, MU_LAW, MU_DYNAMICS, MU_TERM, MU_TERMS, MU_SITE, MU_DAMPS, MUI_COLUMNS };
// MU_LAW: a control is the force; a muscle; an actuator whose force is affine in length and rate, with bounds; a tendon's own
// spring, damper, limits and friction
enum { DIRECT, HILL, AFFINE, PASSIVE };
// MU_DYNAMICS: that of muscles; d act/dt = u; d act/dt = (u - act) / tau, by Euler or exactly
enum { ACTIVATION, INTEGRATOR, FILTER, FILTER_EXACT };
enum {
    MR_GEAR, MR_SLACK, MR_OFFSET, MR_LENGTH, MR_VELOCITY, MR_FORCE, MR_LMIN, MR_LMAX, MR_FVMAX, MR_FPMAX, MR_TAU_ACT,
    MR_TAU_DEACT, MR_SMOOTH, MR_WRENCH, MUR_COLUMNS = MR_WRENCH + 6
};
// the same places of the units whose law is AFFINE
enum {
    AR_GAIN = MR_OFFSET, AR_OFFSET, AR_BY_LENGTH, AR_BY_RATE, AR_LOWER, AR_UPPER, AR_TAU, AR_ACT_LOWER, AR_ACT_UPPER
};
// and of those whose law is PASSIVE
enum {
    PR_STIFFNESS = MR_OFFSET, PR_SPRING_LOWER, PR_SPRING_UPPER, PR_DAMPING, PR_LOWER, PR_UPPER, PR_LIMIT_STIFFNESS,
    PR_LIMIT_DAMPING, PR_LIMIT_WIDTH, PR_FRICTION, PR_SLIP
};
// columns of the table of segments; SG_APART where its ends have different reference points, SG_WRAP what it wraps around or -1
enum { SG_A, SG_B, SG_APART, SG_WRAP, SGI_COLUMNS };
enum { SG_POS_A = 0, SG_POS_B = 3, SG_SCALE = 6, SGR_COLUMNS };
// columns of the table of shapes that a path may wrap around; WR_SIDE is the link of the side site, -2 without one
enum { WRAP_SPHERE, WRAP_CYLINDER };
enum { WR_KIND, WR_LINK, WR_SIDE, WR_APART, WRI_COLUMNS };
enum { WR_POS = 0, WR_AXIS = 3, WR_RADIUS = 6, WR_SIDE_POS = 7, WRR_COLUMNS = 10 };
// columns of the table of terms
enum { TM_Q, TM_DOF, TMI_COLUMNS };

struct Muscles {
    int n, na, apart;     // units, activations, whether anything is apart
    const int* unit;      // [n][MUI_COLUMNS]
    const int* segment;   // [..][SGI_COLUMNS]
    const int* wrap;      // [..][WRI_COLUMNS]
    const int* term;      // [..][TMI_COLUMNS]
    const T* unitr;       // [n][MUR_COLUMNS]
    const T* segmentr;    // [..][SGR_COLUMNS]
    const T* wrapr;       // [..][WRR_COLUMNS]
    const T* termr;       // [..] what a unit of the coordinate adds to the length
};
DS_FN Muscles unpack_muscles(const int* i, const T* r)
{
    Muscles m;
    int segments = i[3], wraps = i[4];
    m.n = i[0], m.na = i[1], m.apart = i[2];
    m.unit = i + 5;
    m.segment = m.unit + m.n * MUI_COLUMNS;
    m.wrap = m.segment + segments * SGI_COLUMNS;
    m.term = m.wrap + wraps * WRI_COLUMNS;
    m.unitr = r;
    m.segmentr = m.unitr + m.n * MUR_COLUMNS;
    m.wrapr = m.segmentr + segments * SGR_COLUMNS;
    m.termr = m.wrapr + wraps * WRR_COLUMNS;
    return m;
}

}  // namespace ds
