// Joints that follow others, as the kernels read them (rigid/_pack_coupled.py writes the same columns). The kernels have a
// coordinate and a degree of freedom for every joint, in the order of the links; the model's own, which users hold, are some
// of them.
#pragma once
#include "algebra.h"

namespace ds {

// columns of the table of laws: coordinate and degree of freedom of the follower and of its leader, -1 without one
enum { CO_Q, CO_DOF, CO_LEADER_Q, CO_LEADER_DOF, COI_COLUMNS };
// the leader's and the follower's reference, and coefficients by rising power
enum { CO_X = 0, CO_Y, CO_C, COR_COLUMNS = CO_C + 5 };
enum { CO_HEADER = 8 };

struct Coupled {
    int n, nq, nv, nm;    // laws; own coordinates, degrees of freedom and entries of their mass matrix
    bool curved;          // whether a law is not linear
    const int* law;       // [n][COI_COLUMNS], leaders first
    const int *q, *dof;   // [nq], [nv] places of the own ones among those of all joints
    const int *depth, *row, *ancestor;  // rows of the own mass matrix, as Model has those of all joints
    const int* target;    // [entries of all joints] twice the own entry, plus one for what counts twice; -1 for none
    const T* lawr;        // [n][COR_COLUMNS]
};
DS_FN Coupled unpack_coupled(const int* i, const T* r)
{
    Coupled c;
    c.n = i[0], c.nq = i[1], c.nv = i[2], c.nm = i[3], c.curved = i[4];
    c.law = i + CO_HEADER;
    c.q = c.law + c.n * COI_COLUMNS;
    c.dof = c.q + c.nq;
    c.depth = c.dof + c.nv;
    c.row = c.depth + c.nv;
    c.ancestor = c.row + c.nv;
    c.target = c.ancestor + c.nm;
    c.lawr = r;
    return c;
}

}  // namespace ds
