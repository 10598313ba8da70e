// Gravity compensation and fluid of a model as the kernels read them (rigid/_pack_passive.py writes the same columns).
#pragma once
#include "algebra.h"

namespace ds {

// columns of the table of links whose weight is held
enum { GC_PART, GC_OFFSET, GCR_COLUMNS = GC_OFFSET + 3 };
// columns of the tables of shapes in the fluid; the reals from FL_DRAG on are those of either kind
enum { FLUID_BOX, FLUID_ELLIPSOID };
enum { FL_LINK, FL_KIND, FLI_COLUMNS };
enum { FL_POS = 0, FL_AXES = 3, FL_VISCOUS = 12, FL_VISCOUS_TURN, FL_DRAG };
enum { FL_BOX_DRAG = FL_DRAG, FL_BOX_TURN = FL_BOX_DRAG + 3 };
enum {
    FL_MASS = FL_DRAG, FL_INERTIA = FL_MASS + 3, FL_SHAPE = FL_INERTIA + 3, FL_TURN = FL_SHAPE + 3,
    FL_BLUNT = FL_TURN + 3, FL_SLENDER, FL_KUTTA, FL_MAGNUS, FLR_COLUMNS
};

struct Passive {
    int held, shapes;    // links whose weight is held, shapes in the fluid
    const int* link;     // [held]
    const int* shape;    // [shapes][FLI_COLUMNS]
    const T* wind;       // [3]
    const T* linkr;      // [held][GCR_COLUMNS]
    const T* shaper;     // [shapes][FLR_COLUMNS]
};
DS_FN Passive unpack_passive(const int* i, const T* r)
{
    return {i[0], i[1], i + 2, i + 2 + i[0], r, r + 3, r + 3 + i[0] * GCR_COLUMNS};
}

}  // namespace ds
