// Transfers between particles and grid on a CPU: one particle after the other, whole nodes in a register. What a block of
// particles needs is worked out lane by lane first.
//
// A field that is affine about a particle has at the node with offset o = -1, 0, 1 (in each axis, from the middle node) the
// value p + a_x o_x + a_y o_y + a_z o_z, where p is its value at the middle node: four numbers each.
#pragma once
#include "stencil.h"

namespace ds {

// Of a block of particles: where each one's stencil begins on the grid, and its weights, ready to be spread.
struct Stencils {
    T w[3][3][DS_LANES], s[3][3][DS_LANES];
    int at[DS_LANES];
};
DS_FN void stencils(const Place& p, const Box& box, Stencils& s)
{
    R w[3][3], d[3][3];
    weights(p.f.x, w[0]);
    weights(p.f.y, w[1]);
    weights(p.f.z, w[2]);
    slopes(p.f.x, d[0]);
    slopes(p.f.y, d[1]);
    slopes(p.f.z, d[2]);
    for (int axis = 0; axis < 3; axis++)
        for (int k = 0; k < 3; k++) {
            write(s.w[axis][k], w[axis][k]);
            write(s.s[axis][k], d[axis][k]);
        }
    Ints x = to_ints(p.base.x) - box.first[0], y = to_ints(p.base.y) - box.first[1], z = to_ints(p.base.z) - box.first[2];
    Ints at = ((x * box.count[1] + y) * box.count[2] + z) * 4;
    for (int l = 0; l < DS_LANES; l++) s.at[l] = at[l];
}

// An affine field of four numbers a node, of each particle of a block.
struct Affine {
    T p[DS_LANES][4], a[3][DS_LANES][4];
};
// from its value `p` and gradient `A` (by node) at the particle; the fourth number is constant
DS_FN void affine(V3 p, const M3& A, R fourth, V3 f, Affine& to)
{
    V3 middle = p - mul(A, f);
    R row[4] = {middle.x, middle.y, middle.z, fourth};
    to_nodes(row, to.p[0]);
    for (int k = 0; k < 3; k++) {
        R column[4] = {A.c[k].x, A.c[k].y, A.c[k].z, R{}};
        to_nodes(column, to.a[k][0]);
    }
}
DS_FN R offsets(int r)
{
    R to[ROW];
    per_node(T(-1), T(0), T(1), to);
    return to[r];
}

// Adds the field, weighted, to the nodes around particle `l`.
DS_FN void scatter(const Stencils& s, int l, const Affine& field, const Box& box, T* grid)
{
    R p = spread4(field.p[l]), ax = spread4(field.a[0][l]), ay = spread4(field.a[1][l]), az = spread4(field.a[2][l]);
    R wz[ROW], rise[ROW];
    per_node(s.w[2][0][l], s.w[2][1][l], s.w[2][2][l], wz);
    for (int r = 0; r < ROW; r++) rise[r] = az * offsets(r);
    int sx = Box::along_x(box), sy = Box::along_y(box);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            T* row = grid + s.at[l] + i * sx + j * sy;
            R level = p + ax * T(i - 1) + ay * T(j - 1), w = splat(s.w[0][i][l] * s.w[1][j][l]);
            for (int r = 0; r < ROW; r++) {
                T* to = row + r * DS_LANES;
                write(to, read(to) + (w * wz[r]) * (level + rise[r]));
            }
        }
}

// What a block of particles gathers: four numbers each, of sum w f, sum w f o_x, sum w f o_y, sum w f o_z.
struct Gathered {
    T sum[DS_LANES][4], moment[3][DS_LANES][4];
};
DS_FN void gather(const Stencils& s, int l, const Box& box, const T* grid, Gathered& to)
{
    R wz[ROW], oz[ROW], sum = R{}, mx = R{}, my = R{}, mz = R{};
    per_node(s.w[2][0][l], s.w[2][1][l], s.w[2][2][l], wz);
    for (int r = 0; r < ROW; r++) oz[r] = wz[r] * offsets(r);
    int sx = Box::along_x(box), sy = Box::along_y(box);
    for (int i = 0; i < 3; i++) {
        R level = R{}, tilt = R{}, rise = R{};
        for (int j = 0; j < 3; j++) {
            const T* row = grid + s.at[l] + i * sx + j * sy;
            R a = R{}, b = R{}, w = splat(s.w[1][j][l]);
            for (int r = 0; r < ROW; r++) {
                R f = read(row + r * DS_LANES);
                a += wz[r] * f;
                b += oz[r] * f;
            }
            a *= w;
            level += a;
            if (j == 0) tilt -= a;
            if (j == 2) tilt += a;
            rise += w * b;
        }
        R w = splat(s.w[0][i][l]);
        level *= w;
        sum += level;
        if (i == 0) mx -= level;
        if (i == 2) mx += level;
        my += w * tilt;
        mz += w * rise;
    }
    gather4(sum, to.sum[l]);
    gather4(mx, to.moment[0][l]);
    gather4(my, to.moment[1][l]);
    gather4(mz, to.moment[2][l]);
}
// lane by lane: the sum with its fourth number, and the moments about the particle
DS_FN void gathered(const Gathered& from, V3 f, V3& sum, R& fourth, M3& moment)
{
    R a[4];
    from_nodes(from.sum[0], a);
    sum = {a[0], a[1], a[2]};
    fourth = a[3];
    for (int k = 0; k < 3; k++) {
        from_nodes(from.moment[k][0], a);
        R o = k == 0 ? f.x : k == 1 ? f.y : f.z;
        moment.c[k] = V3{a[0], a[1], a[2]} - sum * o;
    }
}

// sum dw (f . field) over nodes, where dw are the slopes of the weights in each axis: four numbers of a particle each, to be
// added up. It is what moving the particle changes, at fixed numbers on the nodes and a fixed field.
struct Slopes {
    T along[3][DS_LANES][4];
};
DS_FN void slope(const Stencils& s, int l, const Affine& field, const Box& box, const T* grid, Slopes& to)
{
    R p = spread4(field.p[l]), ax = spread4(field.a[0][l]), ay = spread4(field.a[1][l]), az = spread4(field.a[2][l]);
    R wz[ROW], sz[ROW], rise[ROW], gx = R{}, gy = R{}, gz = R{};
    per_node(s.w[2][0][l], s.w[2][1][l], s.w[2][2][l], wz);
    per_node(s.s[2][0][l], s.s[2][1][l], s.s[2][2][l], sz);
    for (int r = 0; r < ROW; r++) rise[r] = az * offsets(r);
    int sx = Box::along_x(box), sy = Box::along_y(box);
    for (int i = 0; i < 3; i++) {
        R x = R{}, y = R{}, z = R{};
        for (int j = 0; j < 3; j++) {
            const T* row = grid + s.at[l] + i * sx + j * sy;
            R level = p + ax * T(i - 1) + ay * T(j - 1), a = R{}, b = R{}, w = splat(s.w[1][j][l]);
            for (int r = 0; r < ROW; r++) {
                R f = read(row + r * DS_LANES) * (level + rise[r]);
                a += wz[r] * f;
                b += sz[r] * f;
            }
            x += w * a;
            y += splat(s.s[1][j][l]) * a;
            z += w * b;
        }
        R w = splat(s.w[0][i][l]);
        gx += splat(s.s[0][i][l]) * x;
        gy += w * y;
        gz += w * z;
    }
    gather4(gx, to.along[0][l]);
    gather4(gy, to.along[1][l]);
    gather4(gz, to.along[2][l]);
}
DS_FN V3 sloped(const Slopes& from)
{
    R g[3];
    for (int k = 0; k < 3; k++) {
        R a[4];
        from_nodes(from.along[k][0], a);
        g[k] = (a[0] + a[1]) + (a[2] + a[3]);
    }
    return {g[0], g[1], g[2]};
}

}  // namespace ds
