// The model as the tables that `_pack.py` makes.
#pragma once
#include "tensor.h"

namespace ds {

enum { I_BODIES, I_PARTICLES, I_BLOCKS, I_CELLS, I_WALL = I_CELLS + 3 };
enum { I_MAX_NODES = I_WALL + 1, I_SUBSTEPS, I_KEPT, I_PARAMS, I_CHOSEN, I_HEAD };
// columns of a body: its material, its first particle and how many, its first block and how many, its first parameter
enum { B_MATERIAL, B_FIRST, B_COUNT, B_BLOCK, B_BLOCKS, B_PARAM, B_COLUMNS };
enum { R_DT, R_DX, R_GRAVITY, R_FRICTION = R_GRAVITY + 3, R_LIMIT, R_EMPTY, R_HEAD };

struct Model {
    const int *head, *bodies, *chosen;
    T dt, dx, inv_dx, gravity[3], friction, limit;
    T empty;  // mass below which a node has no velocity [kg]
    const T *params, *mass, *volume;
};
DS_FN Model read_model(const int* integers, const T* reals)
{
    Model m;
    m.head = integers;
    m.bodies = integers + I_HEAD;
    m.chosen = m.bodies + integers[I_BODIES] * B_COLUMNS;
    m.dt = reals[R_DT];
    m.dx = reals[R_DX];
    m.inv_dx = T(1) / m.dx;
    for (int k = 0; k < 3; k++) m.gravity[k] = reals[R_GRAVITY + k];
    m.friction = reals[R_FRICTION];
    m.limit = reals[R_LIMIT];
    m.empty = reals[R_EMPTY];
    m.params = reals + R_HEAD;
    m.mass = m.params + integers[I_PARAMS];
    m.volume = m.mass + integers[I_BLOCKS] * DS_LANES;
    return m;
}
struct Body {
    int material, first, count, block, blocks, param;
};
DS_FN Body body_at(const Model& m, int i)
{
    const int* row = m.bodies + i * B_COLUMNS;
    return {row[B_MATERIAL], row[B_FIRST], row[B_COUNT], row[B_BLOCK], row[B_BLOCKS], row[B_PARAM]};
}
// the materials' parameters in one world: the model's, and in the place of some the world's own
DS_FN void parameters(const Model& m, const T* own, int world, T* to)
{
    int chosen = m.head[I_CHOSEN];
    for (int i = 0; i < m.head[I_PARAMS]; i++) to[i] = m.params[i];
    for (int i = 0; i < chosen; i++) to[m.chosen[i]] = own[size_t(world) * chosen + i];
}

}  // namespace ds
