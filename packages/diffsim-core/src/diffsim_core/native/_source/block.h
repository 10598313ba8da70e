// The worlds that one task of a kernel advances, and how they are read and written.
#pragma once
#include "lanes.h"

namespace ds {

// The worlds of a block. Arrays from outside are row-major [N][n]; past the end a block repeats the last world.
struct Block {
    int first, n;
    DS_FN size_t world(int lane, const Block& b) { return b.first + lane < b.n ? b.first + lane : b.n - 1; }
};
DS_FN Block block(int index, int n) { return {index * DS_LANES, n}; }

DS_FN void load(const Block& b, const T* from, int n, R* to)
{
    for (int l = 0; l < DS_LANES; l++) {
        const T* row = from + Block::world(l, b) * n;
        for (int i = 0; i < n; i++) set(to[i], l, row[i]);
    }
}
DS_FN void store(const Block& b, const R* from, int n, T* to)
{
    for (int l = 0; l < DS_LANES && b.first + l < b.n; l++) {
        T* row = to + size_t(b.first + l) * n;
        for (int i = 0; i < n; i++) row[i] = get(from[i], l);
    }
}

}  // namespace ds
