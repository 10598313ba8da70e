// A contact law: the normal force and the bound of friction. Its header defines one struct of static functions:
//
//     normal(row, depth, u)                                 -> Normal
//     gains_vjp(row, depth, u, n, by_force, by_bound)       -> Gains, with DS_PARAMS
//
// row: the contact's gains, row[C_KN], row[C_KD] and row[C_MU] (C_KT belongs to friction.h); depth: min(d, 0) of the signed
// distance d, or its smoothed form, never positive; u: the normal velocity, positive where the two separate.
#pragma once
#include "model.h"

namespace ds {

// Normal force, bound of friction, and their derivatives by depth and by normal velocity.
struct Normal {
    R force, by_d, by_u, bound, bound_by_d, bound_by_u;
};

// Cotangents of a contact's gains.
struct Gains {
    R kn, kd, mu;
};

}  // namespace ds
