// Ground height over x and y: bicubic (Catmull-Rom) interpolation of samples, which passes through them and has a
// continuous slope; beyond the border the nearest sample goes on.
#pragma once
#include "kinematics.h"

namespace ds {

struct Terrain {
    R h, hx, hy, hxx, hxy, hyy;  // height, slopes, and their derivatives
};

template <class X>
DS_FN Terrain level(X height)
{
    return {splat(height), R{}, R{}, R{}, R{}, R{}};
}

// weights of the four samples around a place t in [0, 1) of the middle interval, and their two derivatives
DS_FN void cubic_weights(R t, R* w, R* d, R* dd)
{
    R t2 = t * t, half = splat(T(0.5));
    w[0] = (t * (t * (splat(T(2)) - t) - T(1))) * half;
    w[1] = (t2 * (t * T(3) - T(5)) + T(2)) * half;
    w[2] = (t * (t * (splat(T(4)) - t * T(3)) + T(1))) * half;
    w[3] = (t2 * (t - T(1))) * half;
    d[0] = t * T(2) - t2 * T(1.5) - T(0.5);
    d[1] = t2 * T(4.5) - t * T(5);
    d[2] = t * T(4) - t2 * T(4.5) + T(0.5);
    d[3] = t2 * T(1.5) - t;
    dd[0] = splat(T(2)) - t * T(3);
    dd[1] = t * T(9) - T(5);
    dd[2] = splat(T(4)) - t * T(9);
    dd[3] = t * T(3) - T(1);
}

// index of the sample below, and the way from it
DS_FN R cell(R g, int samples, int* index)
{
    g = min_(max_(g, splat(T(-2))), splat(T(samples + 1)));
    for (int l = 0; l < DS_LANES; l++) {
        T below = wp::floor(get(g, l));
        index[l] = int(below);
        set(g, l, get(g, l) - below);
    }
    return g;
}
DS_FN int within(int i, int samples) { return i < 0 ? 0 : i >= samples ? samples - 1 : i; }

DS_FN Terrain terrain(const Contacts& f, R x, R y)
{
    int ix[DS_LANES], iy[DS_LANES];
    R wx[4], dx[4], ddx[4], wy[4], dy[4], ddy[4];
    cubic_weights(cell((x - f.x0) * f.per_dx, f.nx, ix), wx, dx, ddx);
    cubic_weights(cell((y - f.y0) * f.per_dy, f.ny, iy), wy, dy, ddy);
    Terrain t = level(T(0));
    for (int b = 0; b < 4; b++) {
        R along = R{}, slope = R{}, bend = R{};
        for (int a = 0; a < 4; a++) {
            R sample = R{};
            for (int l = 0; l < DS_LANES; l++)
                set(sample, l, f.heights[within(iy[l] + b - 1, f.ny) * f.nx + within(ix[l] + a - 1, f.nx)]);
            along = along + wx[a] * sample;
            slope = slope + dx[a] * sample;
            bend = bend + ddx[a] * sample;
        }
        t.h = t.h + wy[b] * along;
        t.hx = t.hx + wy[b] * slope;
        t.hy = t.hy + dy[b] * along;
        t.hxx = t.hxx + wy[b] * bend;
        t.hxy = t.hxy + dy[b] * slope;
        t.hyy = t.hyy + ddy[b] * along;
    }
    t.hx = t.hx * f.per_dx;
    t.hy = t.hy * f.per_dy;
    t.hxx = t.hxx * (f.per_dx * f.per_dx);
    t.hxy = t.hxy * (f.per_dx * f.per_dy);
    t.hyy = t.hyy * (f.per_dy * f.per_dy);
    return t;
}

DS_FN V3 terrain_normal(const Terrain& t)
{
    R scale = splat(T(1)) / sqrt_(t.hx * t.hx + t.hy * t.hy + T(1));
    return {-(t.hx * scale), -(t.hy * scale), scale};
}

// cotangent of the place, from those of the normal and of the height
DS_FN V3 terrain_vjp(const Terrain& t, V3 n, V3 by_n, R by_h)
{
    // n = (-hx, -hy, 1) / length: only the part of by_n across n matters
    R along = dot(n, by_n), by_hx = (n.x * along - by_n.x) * n.z, by_hy = (n.y * along - by_n.y) * n.z;
    return {by_h * t.hx + by_hx * t.hxx + by_hy * t.hxy, by_h * t.hy + by_hx * t.hxy + by_hy * t.hyy, R{}};
}

}  // namespace ds
