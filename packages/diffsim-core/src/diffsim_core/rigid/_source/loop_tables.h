// The closed loops of a model as the kernels read them (rigid/_pack_loops.py writes the same columns).
#pragma once
#include "algebra.h"

namespace ds {

// columns of the table of loops; LP_APART where its ends have different reference points, LP_WELD where it holds the
// attitude too, LP_FIRST and LP_COUNT its degrees of freedom: those that move one end alone, in their order
enum { LP_A, LP_B, LP_APART, LP_WELD, LP_FIRST, LP_COUNT, LPI_COLUMNS };
enum {
    LP_POS_A = 0, LP_POS_B = 3, LP_AXES_A = 6, LP_AXES_B = 15, LP_STIFFNESS = 24, LP_DAMPING, LP_TORSION, LP_TWIST_DAMPING,
    LPR_COLUMNS
};
// columns of the table of degrees of freedom; LD_END is 0 where it moves end A, 1 for B
enum { LD_DOF, LD_END, LDI_COLUMNS };

struct Loops {
    int n, apart;      // loops, whether any is apart
    const P* place;    // [n][3] the end in the world of those that have one, a real that may be an input
    const int* loop;   // [n][LPI_COLUMNS]
    const int* dof;    // [..][LDI_COLUMNS]
    const T* loopr;    // [n][LPR_COLUMNS]
};
DS_FN Loops unpack_loops(const int* i, const P* place, const T* r)
{
    return {i[0], i[1], place, i + 2, i + 2 + i[0] * LPI_COLUMNS, r};
}

}  // namespace ds
