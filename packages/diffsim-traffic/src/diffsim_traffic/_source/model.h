// What a traffic simulator is made for: two flat tables, and the state of a block of worlds as rows of outside arrays.
#pragma once
#include "block.h"

namespace ds {

// columns of the two tables, as in _pack.py
enum { I_CONTROLLED, I_DRIVERS, I_SEMI_IMPLICIT, I_TABLES };
enum {
    C_DT, C_LIMIT, C_REACH, C_LANE_WIDTH, C_CIRCUMFERENCE, C_GAP_FLOOR, C_MAX_BRAKING, C_MIN_SPEED, C_MAX_SPEED, C_SMOOTHING,
    C_TABLES
};

struct Model {
    int nc, nd;            // controlled vehicles come first, then drivers, lane by lane from front to back
    bool semi_implicit;
    const int* lane;       // of each driver
    const int* leader;     // the driver ahead of each; -1 for the front of a straight lane
    const int* laps;       // 1 where that driver is ahead by the circumference more than its coordinate says
    const T *c, *length;   // constants; length of each vehicle
};

DS_FN Model unpack(const int* mi, const T* mr)
{
    int nd = mi[I_DRIVERS];
    const int* t = mi + I_TABLES;
    return {mi[I_CONTROLLED], nd, mi[I_SEMI_IMPLICIT] != 0, t, t + nd, t + 2 * nd, mr, mr + C_TABLES};
}

// The worlds of a block as offsets into arrays [N][row]. A block that is not full repeats its last world.
struct Rows {
    size_t world[DS_LANES];
    int count;
};
DS_FN Rows rows(int index, int n)
{
    Block b = block(index, n);
    Rows r;
    for (int l = 0; l < DS_LANES; l++) r.world[l] = Block::world(l, b);
    r.count = n - b.first < DS_LANES ? n - b.first : DS_LANES;
    return r;
}
DS_FN R get(const Rows& r, const T* a, int width, int i)
{
    R x = R{};
    for (int l = 0; l < DS_LANES; l++) set(x, l, a[r.world[l] * width + i]);
    return x;
}
DS_FN void put(const Rows& r, T* a, int width, int i, R x)
{
    for (int l = 0; l < r.count; l++) a[r.world[l] * width + i] = get(x, l);
}
DS_FN void add(const Rows& r, T* a, int width, int i, R x) { put(r, a, width, i, get(r, a, width, i) + x); }

// the worlds' rows of `to` become those of `from` (zero without one) where `keep` is false
DS_FN void restore(const Rows& r, R keep, const T* from, T* to, int width)
{
    for (int l = 0; l < r.count; l++)
        if (!(get(keep, l) > 0))
            for (int i = 0; i < width; i++) to[r.world[l] * width + i] = from ? from[r.world[l] * width + i] : T(0);
}

DS_FN Mask bounded(R x, T limit) { return abs_(x) <= splat(limit); }  // false for a NaN
DS_FN Mask everywhere()
{
    R zero = R{};
    return zero == zero;
}

}  // namespace ds
