// Particles in a worker's memory, and what a sub-step does with a block of DS_LANES of them. A body begins a block of its own;
// the last block is filled up with copies of the last particle that have no mass and no volume, so they leave no trace.
#pragma once
#include "particles.h"
#include "transfer.h"

namespace ds {

// Arrays of a state from outside, row-major [N][n][...]; `h` may be null.
template <class P> struct Rows {
    P *x, *v, *C, *F, *h;
};
template <class P> DS_FN Rows<P> rows(P* x, P* v, P* C, P* F, P* h, const Model& m, int world)
{
    size_t first = size_t(world) * m.head[I_PARTICLES];
    return {x + 3 * first, v + 3 * first, C + 9 * first, F + 9 * first, h ? h + first : nullptr};
}
// a lane of consecutive registers, and back
DS_FN void set_lane(R* to, int l, const T* from, int n)
{
    for (int i = 0; i < n; i++) set(to[i], l, from ? from[i] : T(0));
}
DS_FN void get_lane(const R* from, int l, T* to, int n)
{
    for (int i = 0; i < n; i++) to[i] = get(from[i], l);
}
// `copies` of the last particle fill up a body's last block; without, its cotangents there are zero.
DS_ENTRY void load_particles(const Model& m, const Rows<const T>& from, bool copies, Particles* to)
{
    for (int i = 0; i < m.head[I_BODIES]; i++) {
        Body body = body_at(m, i);
        for (int b = 0; b < body.blocks; b++) {
            R x[3], v[3], C[9], F[9], h = R{};
            for (int l = 0; l < DS_LANES; l++) {
                int k = b * DS_LANES + l, last = body.count - 1;
                size_t p = body.first + (k < last ? k : last);
                bool real = copies || k <= last;
                set_lane(x, l, real ? from.x + 3 * p : nullptr, 3);
                set_lane(v, l, real ? from.v + 3 * p : nullptr, 3);
                set_lane(C, l, real ? from.C + 9 * p : nullptr, 9);
                set_lane(F, l, real ? from.F + 9 * p : nullptr, 9);
                if (from.h) set_lane(&h, l, real ? from.h + p : nullptr, 1);
            }
            to[body.block + b] = {{x[0], x[1], x[2]}, {v[0], v[1], v[2]}, from_rows(C), from_rows(F), h};
        }
    }
}
DS_ENTRY void store_particles(const Model& m, const Particles* from, const Rows<T>& to)
{
    for (int i = 0; i < m.head[I_BODIES]; i++) {
        Body body = body_at(m, i);
        for (int b = 0; b < body.blocks; b++) {
            const Particles& block = from[body.block + b];
            R C[9], F[9];
            to_rows(block.C, C);
            to_rows(block.F, F);
            for (int l = 0; l < DS_LANES && b * DS_LANES + l < body.count; l++) {
                size_t p = body.first + b * DS_LANES + l;
                get_lane(&block.x.x, l, to.x + 3 * p, 3);
                get_lane(&block.v.x, l, to.v + 3 * p, 3);
                get_lane(C, l, to.C + 9 * p, 9);
                get_lane(F, l, to.F + 9 * p, 9);
                if (to.h) get_lane(&block.h, l, to.h + p, 1);
            }
        }
    }
}

DS_FN R mass_of(const Model& m, int block) { return read(m.mass + block * DS_LANES); }
DS_FN R volume_of(const Model& m, int block) { return read(m.volume + block * DS_LANES); }

// The smallest box that holds the stencils of all particles; false if one is not inside the grid, or the box is too large.
DS_ENTRY bool active_box(const Model& m, const Particles* p, Box& box)
{
    V3 low = place_of(p->x, m.inv_dx).base, high = low;
    R outside = R{}, zero = R{}, one = splat(T(1));
    for (int b = 0; b < m.head[I_BLOCKS]; b++) {
        V3 base = place_of(p[b].x, m.inv_dx).base;
        Mask inside = (base.x >= zero) & (base.x <= splat(T(m.head[I_CELLS] - 2)));
        inside = inside & (base.y >= zero) & (base.y <= splat(T(m.head[I_CELLS + 1] - 2)));
        inside = inside & (base.z >= zero) & (base.z <= splat(T(m.head[I_CELLS + 2] - 2)));
        outside = outside + select(inside, zero, one);
        low = {min_(low.x, base.x), min_(low.y, base.y), min_(low.z, base.z)};
        high = {max_(high.x, base.x), max_(high.y, base.y), max_(high.z, base.z)};
    }
    if (any(outside > zero)) return false;
    R lows[3] = {low.x, low.y, low.z}, highs[3] = {high.x, high.y, high.z};
    for (int k = 0; k < 3; k++) {
        T a = get(lows[k], 0), c = get(highs[k], 0);
        for (int l = 1; l < DS_LANES; l++) {
            a = get(lows[k], l) < a ? get(lows[k], l) : a;
            c = get(highs[k], l) > c ? get(highs[k], l) : c;
        }
        box.first[k] = int(a);
        box.count[k] = int(c - a) + 3;
    }
    box.count[2]++;  // so that registers which hold more than a row do not reach into the next row
    return size_t(box.count[0]) * box.count[1] * box.count[2] <= size_t(m.head[I_MAX_NODES]);
}

// One body's particles leave momentum and mass on the grid. Writes the next F and h; `tau`, if not null, keeps the stress.
template <class Material>
DS_ENTRY void leave(const Model& m, const Body& body, const T* params, const Particles* now, const Box& box, T* grid,
                    Particles* next, M3* tau)
{
    for (int b = body.block; b < body.block + body.blocks; b++) {
        const Particles& p = now[b];
        R mass = mass_of(m, b), volume = volume_of(m, b), h = p.h;
        M3 F = trial(m.dt, p.C, p.F), stress;
        Material::stress(params + body.param, p.C, F, h, stress);
        if (tau) tau[b] = stress;
        Place place = place_of(p.x, m.inv_dx);
        Stencils s;
        Affine field;
        stencils(place, box, s);
        affine(p.v * mass, momentum_gradient(m, mass, volume, p.C, stress), mass, place.f, field);
        next[b].F = F;
        next[b].h = h;
        for (int l = 0; l < DS_LANES; l++) scatter(s, l, field, box, grid);
    }
}

// All particles take their velocity from the grid, and move with it.
DS_ENTRY void move(const Model& m, const Particles* now, const Box& box, const T* velocity, Particles* next)
{
    for (int b = 0; b < m.head[I_BLOCKS]; b++) {
        V3 x = now[b].x;
        Place place = place_of(x, m.inv_dx);
        Stencils s;
        Gathered got;
        stencils(place, box, s);
        for (int l = 0; l < DS_LANES; l++) gather(s, l, box, velocity, got);
        V3 v;
        M3 moment;
        R none;
        gathered(got, place.f, v, none, moment);
        next[b].x = x + v * splat(m.dt);
        next[b].v = v;
        next[b].C = moment * splat(T(4) * m.inv_dx);
    }
}
// Cotangents of the next x, v and C in `g`: adds those of the grid's velocities to `pull`, leaves that of x in g.
DS_ENTRY void move_vjp(const Model& m, const Particles* now, const Particles* next, const Box& box, const T* velocity,
                       T* pull, Particles* g)
{
    for (int b = 0; b < m.head[I_BLOCKS]; b++) {
        Place place = place_of(now[b].x, m.inv_dx);
        Stencils s;
        Affine field;
        Slopes slopes;
        stencils(place, box, s);
        M3 A = g[b].C * splat(T(4) * m.inv_dx);
        affine(g[b].v + g[b].x * splat(m.dt), A, R{}, place.f, field);
        for (int l = 0; l < DS_LANES; l++) {
            scatter(s, l, field, box, pull);
            slope(s, l, field, box, velocity, slopes);
        }
        g[b].x = g[b].x + (sloped(slopes) - mul_t(A, next[b].v)) * splat(m.inv_dx);
    }
}
// Cotangents of momentum and mass in `pull`, of x, F and h in `g`: leaves those of the particles in g, adds to gparams.
template <class Material>
DS_ENTRY void leave_vjp(const Model& m, const Body& body, const T* params, const Particles* now, const M3* tau,
                        const Box& box, const T* pull, Particles* g, R* gparams)
{
    for (int b = body.block; b < body.block + body.blocks; b++) {
        const Particles& p = now[b];
        R mass = mass_of(m, b), volume = volume_of(m, b);
        Place place = place_of(p.x, m.inv_dx);
        Stencils s;
        Affine field;
        Gathered got;
        Slopes slopes;
        stencils(place, box, s);
        M3 A = momentum_gradient(m, mass, volume, p.C, tau[b]), gA, gtrial, gF;
        affine(p.v * mass, A, mass, place.f, field);
        for (int l = 0; l < DS_LANES; l++) {
            gather(s, l, box, pull, got);
            slope(s, l, field, box, pull, slopes);
        }
        V3 gp;
        R none, gh = R{};
        gathered(got, place.f, gp, none, gA);
        M3 gtau = gA * (volume * (T(-4) * m.dt * m.inv_dx)), gC = gA * (mass * m.dx);
        M3 F = trial(m.dt, p.C, p.F);
        Material::stress_vjp(params + body.param, p.C, F, p.h, g[b].F, g[b].h, gtau, gC, gtrial, gh, gparams + body.param);
        trial_vjp(m.dt, p.C, p.F, gtrial, gC, gF);
        g[b].x = g[b].x + (sloped(slopes) - mul_t(A, gp)) * splat(m.inv_dx);
        g[b].v = gp * mass;
        g[b].C = gC;
        g[b].F = gF;
        g[b].h = gh;
    }
}

}  // namespace ds
