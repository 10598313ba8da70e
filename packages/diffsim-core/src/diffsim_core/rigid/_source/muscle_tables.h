// The muscles of a model as the kernels read them (rigid/_pack_muscles.py writes the same columns).
#pragma once
#include "algebra.h"

namespace ds {

// columns of the table of units; MU_ACT is -1 where the control itself is the force
enum { MU_CONTROL, MU_FIRST, MU_COUNT, MU_ACT, MUI_COLUMNS };
enum {
    MR_GEAR, MR_SLACK, MR_OFFSET, MR_LENGTH, MR_VELOCITY, MR_FORCE, MR_LMIN, MR_LMAX, MR_FVMAX, MR_FPMAX, MR_TAU_ACT,
    MR_TAU_DEACT, MR_SMOOTH, MUR_COLUMNS
};
// columns of the table of segments; SG_APART where its ends have different reference points
enum { SG_A, SG_B, SG_APART, SGI_COLUMNS };
enum { SG_POS_A = 0, SG_POS_B = 3, SG_SCALE = 6, SGR_COLUMNS };

struct Muscles {
    int n, na, apart;     // units, activations, whether any segment is apart
    const int* unit;      // [n][MUI_COLUMNS]
    const int* segment;   // [..][SGI_COLUMNS]
    const T* unitr;       // [n][MUR_COLUMNS]
    const T* segmentr;    // [..][SGR_COLUMNS]
};
DS_FN Muscles unpack_muscles(const int* i, const T* r)
{
    return {i[0], i[1], i[2], i + 4, i + 4 + i[0] * MUI_COLUMNS, r, r + i[0] * MUR_COLUMNS};
}

}  // namespace ds
