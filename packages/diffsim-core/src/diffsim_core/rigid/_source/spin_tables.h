// Contact points of a model at which friction also brakes turning, as the kernels read them (rigid/_pack_spins.py writes
// the same columns).
#pragma once
#include "algebra.h"

namespace ds {

// columns of the table: whether the point is one of the surface points or of those on level ground, and its place there
enum { SN_SURFACE, SN_POINT, SNI_COLUMNS };
// radii at which friction brakes turning about the normal and across it, times the lever of the slip, and its square
enum { SN_SPIN, SN_ROLL, SN_SQUARE, SNR_COLUMNS };

struct Spins {
    int n;
    const int* spin;   // [n][SNI_COLUMNS]
    const T* spinr;    // [n][SNR_COLUMNS]
};
DS_FN Spins unpack_spins(const int* i, const T* r) { return {i[0], i + 1, r}; }

}  // namespace ds
