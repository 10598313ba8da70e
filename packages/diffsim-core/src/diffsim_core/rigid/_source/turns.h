// A joint turns in a sub-step by no more than the sub-step resolves. Forces that grow with the square of velocities act on the
// velocity before a sub-step, which is wrong, and makes light links run away, where a joint turns by much of a radian in it.
// So a rate whose turn x = |v| h is beyond a = 1 / DS_TURN_INVERSE bends over: v <- v a/x (2 - a/x), which joins smoothly at a and stays below
// 2 a/h. Slower rates keep their bits. Only with the implicit part; rigid/turns.py says which joints.
#pragma once
#include "model.h"

namespace ds {

#if DS_IMPLICIT
enum { DS_TURN_INVERSE = 4 };  // 1 / a, in 1/rad

// the rate, and its derivative by that before
struct SlowedTurn {
    R value, slope;
    Mask bent;
};
DS_FN SlowedTurn slowed(R v, T h)
{
    R size = abs_(v), limit = splat(T(1) / (DS_TURN_INVERSE * h));
    Mask bent = size > limit;
    R share = limit / select(bent, size, limit);
    return {select(bent, v * share * (splat(T(2)) - share), v), share * share, bent};
}

DS_FN void bend_turns(const Model& m, T h, R* v)
{
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        if (!link[L_BENT]) continue;
        for (int d = link[L_TURN]; d < link[L_TURN] + link[L_TURNS]; d++) v[d] = slowed(v[d], h).value;
    }
}

// accelerations that lead from v to the rates after bending, and the derivatives of these by v + qdd h
DS_FN void bent_rates(const Model& m, const R* v, const R* qdd, T h, R* out, R* slope)
{
    for (int d = 0; d < m.nv; d++) out[d] = qdd[d], slope[d] = splat(T(1));
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        if (!link[L_BENT]) continue;
        for (int d = link[L_TURN]; d < link[L_TURN] + link[L_TURNS]; d++) {
            SlowedTurn b = slowed(v[d] + qdd[d] * h, h);
            out[d] = select(b.bent, (b.value - v[d]) / splat(h), qdd[d]), slope[d] = b.slope;
        }
    }
}
#endif

}  // namespace ds
