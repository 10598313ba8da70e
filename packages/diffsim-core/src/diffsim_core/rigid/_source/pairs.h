// Contact between two convex solids on two links, or one of them in the world. Each edge of one, or the segment of a
// sphere or capsule, is cut to the part that is near the other solid; two points on that part (Gauss), each a small sphere,
// meet the other solid at their signed distances. All points of a pair share its gains: a point counts as length of its
// part times depth, so that forces are continuous where edges begin or end to touch, or become parallel. See
// docs/development/adjoint.md, "Pairs".
#pragma once
#include "solids.h"
#include "touch.h"

namespace ds {

// gains of a pair
DS_FN const P* pair_row(const Model& m, int index) { return m.touchr + (m.contacts.nf + index) * CR_COLUMNS; }

// a link's axes and origin, and the world's place of its reference point
struct Frame {
    M3 E;
    V3 r, o;
};
DS_FN Frame frame(const Kinematics& k, int link)
{
    if (link < 0) return {identity(), zero3(), zero3()};
    return {k.E[link], k.r[link], {k.x[link], k.y[link], k.height[link]}};
}
DS_FN V3 into(const M3& E, V3 v) { return {dot(E.c[0], v), dot(E.c[1], v), dot(E.c[2], v)}; }
DS_FN SV into(const M3& E, SV v) { return {into(E, v.w), into(E, v.v)}; }

// two solids near each other, a against b
struct Meeting {
    Solid a, b;
    M3 Ea, Eb;
    V3 from_a, from_b;  // b's centre, from the reference points of the two links
    V3 apart;           // from b's centre to a's
    T rounding;
};

// false where no world of the block is near enough
DS_FN bool meet(const Model& m, const Kinematics& k, int index, T width, Meeting& g)
{
    const int* pair = m.contacts.pair + index * PI_COLUMNS;
    const T* row = m.contacts.pairr + index * PR_COLUMNS;
    g.a = solid(m.contacts, pair[P_A]), g.b = solid(m.contacts, pair[P_B]);
    Frame a = frame(k, g.a.link), b = frame(k, g.b.link);
    g.from_b = b.r + rotate(b.E, g.b.real + B_CENTRE);
    g.from_a = g.from_b + b.o - a.o;
    g.apart = a.r + rotate(a.E, g.a.real + B_CENTRE) - g.from_a;
    T reach = row[P_REACH] + width;
    if (!any(dot(g.apart, g.apart) < splat(reach * reach))) return false;
    g.Ea = a.E, g.Eb = b.E;
    g.rounding = row[P_ROUNDING];
    return true;
}

// Edges of one solid against the body of the other, in the body's axes from its centre.
struct Side {
    Solid edges, body;
    M3 turn;    // the edges' axes
    V3 move;    // the edges' centre
    T rounding, radius;
    V3 face;    // the face that is furthest towards the edges' centre
    R face_at;
    SV V, X;    // velocity and test velocity of the edges against the body
};

// What the points of a pair add up to, each counting with its weight: wrenches on the edges' solid, and cotangents of its
// displacement (`moved`, and `spread` for the sum of weights), of V and of X.
struct Sums {
    R weight, psi;
    SV force, moved, spread, u, x;
};
DS_FN void clear(Sums& s) { s.weight = s.psi = R{}, s.force = s.moved = s.spread = s.u = s.x = zero6(); }

enum { COUNT, FORCES, COTANGENTS, GAINS };
#if DS_PARAMS
DS_FN R touch_gains_vjp(const Model& m, const P* row, const Touch& at, V3 u, V3 x, R* bar);
#endif

// cotangents of one number that depends on an edge through its points and the ends of the part that is near
struct EdgeBar {
    V3 c, h;
    R t[2];
};
DS_FN void point_vjp(EdgeBar& bar, V3 h, R t, T share, V3 by_y)
{
    bar.c = bar.c + by_y;
    bar.h = bar.h + by_y * t;
    R by_t = dot(by_y, h);
    bar.t[0] = bar.t[0] + by_t * (1 - share);
    bar.t[1] = bar.t[1] + by_t * share;
}
DS_FN SV edge_vjp(EdgeBar& bar, const Strip& s, V3 c, V3 h, const R* per_rise)
{
    for (int k = 0; k < 2; k++) {
        V3 by = s.n[k] * (bar.t[k] * per_rise[k]);
        bar.c = bar.c - by;
        bar.h = bar.h - by * s.t[k];
    }
    return {cross(c, bar.c) + cross(h, bar.h), bar.c};
}

// how fast -min(d, 0), or its smoothed form, falls with d
DS_FN R depth_slope(R d, T width)
{
    if (width > 0) return min_(max_(splat(width) - d, R{}) * (T(0.5) / width), splat(T(1)));
    return one_if(d < R{});
}

template <int MODE>
DS_FN void add_edge(const Model& m, const P* row, const Side& side, int index, T width, Sums& sums, R* bar)
{
    const T* edge = side.edges.segment + index * E_COLUMNS;
    T at_rest[6];
    for (int i = 0; i < 6; i++) at_rest[i] = edge[i] + side.rounding * edge[E_SHRINK + i];
    V3 c = side.move + rotate(side.turn, at_rest), h = rotate(side.turn, at_rest + E_HALF);
    T r = side.radius;
    if (side.body.planes) {
        R low = dot(side.face, c) - abs_(dot(side.face, h)) - side.face_at;
        if (!any(low < splat(r + width))) return;
    }
    bool line = at_rest[3] != 0 || at_rest[4] != 0 || at_rest[5] != 0;
    R one = splat(T(1)), length = one, size = R{};
    Strip s;
    s.t[0] = s.t[1] = R{}, s.n[0] = s.n[1] = zero3();
    if (line) {
        clip(side.body, c, h, splat(r + width), s);
        size = sqrt_(dot(h, h));
        length = (s.t[1] - s.t[0]) * size;
        if (!any(length > R{})) return;
    }
    EdgeBar moved = {zero3(), zero3(), {R{}, R{}}}, spread = moved;
    for (int q = 0; q < (line ? 2 : 1); q++) {
        T share = line ? (q ? T(0.7886751345948129) : T(0.2113248654051871)) : T(0.5);
        R t = s.t[0] + (s.t[1] - s.t[0]) * share;
        V3 y = c + h * t;
        Distance z;
        distance_to(side.body, y, side.move, z);
        Touch at = {y - z.n * ((z.d + r) * T(0.5)), z.n, z.d - r};
        R depth = -inside_depth(at.d, width), weight = length * depth;
        if (!any(weight > R{})) continue;
        sums.weight = sums.weight + weight;
        if (MODE == COUNT) continue;
        V3 u = point_velocity(side.V, at.p);
        if (MODE == FORCES) {
            V3 f = touch_force(m, row, at, u, width) * weight;
            sums.force = sums.force + SV{cross(at.p, f), f};
            continue;
        }
        V3 x = point_velocity(side.X, at.p);
#if DS_PARAMS
        if (MODE == GAINS) {
            touch_gains_vjp(m, row, at, u, x * weight, bar);
            continue;
        }
#endif
        Psi g = touch_vjp(m, row, at, u, x, width);
        R psi = dot(x, g.x);
        V3 gu = g.u * weight, gx = g.x * weight, by_p = cross(gu, side.V.w) + cross(gx, side.X.w);
        sums.psi = sums.psi + psi * weight;
        sums.u = sums.u + SV{cross(at.p, gu), gu};
        sums.x = sums.x + SV{cross(at.p, gx), gx};
        // p = y - n (d + r) / 2
        R by_weight = -(length * depth_slope(at.d, width));
        R by_d = g.d * weight + psi * by_weight - dot(by_p, z.n) * T(0.5);
        V3 by_n = g.n * weight - by_p * ((z.d + r) * T(0.5));
        point_vjp(moved, h, t, share, by_p + z.n * by_d + turned(z, by_n));
        point_vjp(spread, h, t, share, z.n * by_weight);
        V3 by_centre = z.n * (by_d * z.behind), spread_centre = z.n * (by_weight * z.behind);
        sums.moved = sums.moved + SV{cross(side.move, by_centre), by_centre};
        sums.spread = sums.spread + SV{cross(side.move, spread_centre), spread_centre};
        for (int k = 0; k < 2; k++) {
            R longer = size * depth * T(k ? 1 : -1);
            moved.t[k] = moved.t[k] + psi * longer;
            spread.t[k] = spread.t[k] + longer;
        }
    }
    if (MODE != COTANGENTS) return;
    R per_rise[2];
    for (int k = 0; k < 2; k++) {
        R rise = dot(s.n[k], h);
        per_rise[k] = select(abs_(rise) > splat(T(1e-15)), one / rise, R{});
    }
    sums.moved = sums.moved + edge_vjp(moved, s, c, h, per_rise);
    sums.spread = sums.spread + edge_vjp(spread, s, c, h, per_rise);
}

// false where a face of the body parts it from a sphere about the other solid
template <int MODE>
DS_FN bool add_side(const Model& m, const P* row, Side& side, T width, Sums& sums, R* bar)
{
    side.face_at = side.face.x = side.face.y = side.face.z = R{};
    R furthest = splat(T(-1e30));
    for (int f = 0; f < side.body.planes; f++) {
        const T* plane = side.body.plane + f * N_COLUMNS;
        R d = along(plane, side.move) - plane[N_DISTANCE];
        Mask further = d > furthest;
        furthest = select(further, d, furthest);
        side.face = select3(further, splat3(plane), side.face);
        side.face_at = select(further, splat(plane[N_DISTANCE]), side.face_at);
    }
    if (side.body.planes && !any(furthest < splat(side.edges.real[B_BOUND] + width))) return false;
    for (int e = 0; e < side.edges.segments; e++) add_edge<MODE>(m, row, side, e, width, sums, bar);
    return true;
}

// from axes E about `at` to the world's about the origin
DS_FN SV out_of(const M3& E, V3 at, SV f)
{
    V3 v = E * f.v;
    return {E * f.w + cross(at, v), v};
}
DS_FN SV shifted(V3 at, SV f) { return {f.w + cross(at, f.v), f.v}; }

// Both sides of a pair, on a, in the world's axes about b's centre. V and X: a's velocity and test velocity against b.
template <int MODE>
DS_ENTRY void meet_solids(const Model& m, const P* row, const Meeting& g, SV V, SV X, T width, Sums& sums, R* bar)
{
    bool solid_a = g.a.planes > 0, solid_b = g.b.planes > 0, line_a = g.a.segment[E_PER_SQUARE] > 0;
    Side side;
    Sums one;
    clear(one);
    side.edges = g.a, side.body = g.b;
    for (int i = 0; i < 3; i++) side.turn.c[i] = into(g.Eb, g.Ea.c[i]);
    side.move = into(g.Eb, g.apart);
    side.rounding = solid_a ? g.rounding : T(0);
    side.radius = solid_a ? g.rounding : g.a.real[B_RADIUS];
    side.V = into(g.Eb, V), side.X = into(g.Eb, X);
    bool near = add_side<MODE>(m, row, side, width, one, bar);
    sums.weight = one.weight, sums.psi = one.psi;
    V3 origin = zero3();
    sums.force = out_of(g.Eb, origin, one.force), sums.moved = out_of(g.Eb, origin, one.moved);
    sums.spread = out_of(g.Eb, origin, one.spread);
    sums.u = out_of(g.Eb, origin, one.u), sums.x = out_of(g.Eb, origin, one.x);
    if (!near || !solid_b || !(solid_a || line_a)) return;

    clear(one);
    side.edges = g.b, side.body = g.a;
    for (int i = 0; i < 3; i++) side.turn.c[i] = into(g.Ea, g.Eb.c[i]);
    side.move = -into(g.Ea, g.apart);
    side.rounding = side.radius = solid_a ? g.rounding : T(0);
    side.V = into(g.Ea, SV{-V.w, -point_velocity(V, g.apart)}), side.X = into(g.Ea, SV{-X.w, -point_velocity(X, g.apart)});
    add_side<MODE>(m, row, side, width, one, bar);
    // here a is at rest: moving a instead of b also turns and shifts what V and X are told from
    one.moved = one.moved + cross_force(side.V, one.u) + cross_force(side.X, one.x);
    sums.weight = sums.weight + one.weight, sums.psi = sums.psi + one.psi;
    sums.force = sums.force - out_of(g.Ea, g.apart, one.force), sums.moved = sums.moved - out_of(g.Ea, g.apart, one.moved);
    sums.spread = sums.spread - out_of(g.Ea, g.apart, one.spread);
    sums.u = sums.u - out_of(g.Ea, g.apart, one.u), sums.x = sums.x - out_of(g.Ea, g.apart, one.x);
}

// a's field against b's, about b's centre
DS_FN SV against(const SV* field, const Meeting& g)
{
    SV a = g.a.link < 0 ? zero6() : field[g.a.link], b = g.b.link < 0 ? zero6() : field[g.b.link];
    return {a.w - b.w, point_velocity(a, g.from_a) - point_velocity(b, g.from_b)};
}
DS_FN R per_weight(R weight) { return select(weight > R{}, splat(T(1)) / select(weight > R{}, weight, splat(T(1))), R{}); }

// subtract the wrenches of contact between links from F
DS_ENTRY void pair_forces(const Model& m, const Kinematics& k, SV* F)
{
    T width = m.contacts.width;
    for (int index = 0; index < m.contacts.np; index++) {
        Meeting g;
        if (!meet(m, k, index, width, g)) continue;
        Sums sums;
        meet_solids<FORCES>(m, pair_row(m, index), g, against(k.V, g), zero6(), width, sums, nullptr);
        SV f = sums.force * per_weight(sums.weight);
        if (g.a.link >= 0) F[g.a.link] = F[g.a.link] - shifted(g.from_a, f);
        if (g.b.link >= 0) F[g.b.link] = F[g.b.link] + shifted(g.from_b, f);
    }
}

DS_ENTRY void pair_forces_vjp(const Model& m, const Kinematics& k, const SV* X, LinkBar* bar)
{
    T width = m.contacts.back;
    for (int index = 0; index < m.contacts.np; index++) {
        Meeting g;
        if (!meet(m, k, index, width, g)) continue;
        Sums sums;
        meet_solids<COTANGENTS>(m, pair_row(m, index), g, against(k.V, g), against(X, g), width, sums, nullptr);
        R per = per_weight(sums.weight);
        SV u = sums.u * per, x = sums.x * per, moved = (sums.moved - sums.spread * (sums.psi * per)) * per;
        // the weights do not change what displacing a with its fields and b with its own do together: nothing
        SV W = g.a.link < 0 ? moved : zero6();
        if (g.a.link >= 0) {
            LinkBar& A = bar[g.a.link];
            SV ua = shifted(g.from_a, u), xa = shifted(g.from_a, x);
            SV V = k.V[g.a.link], Xa = X[g.a.link];
            W = shifted(g.from_a, moved) + cross_force(V, ua) + cross_force(Xa, xa);
            A.V = A.V + ua;
            A.X = A.X + xa;
            A.W = A.W + W;
            W = shifted(-g.from_a, W);
        }
        if (g.b.link < 0) continue;
        LinkBar& B = bar[g.b.link];
        B.V = B.V - shifted(g.from_b, u);
        B.X = B.X - shifted(g.from_b, x);
        B.W = B.W - shifted(g.from_b, W);
    }
}

#if DS_PARAMS
DS_ENTRY void pair_gains_vjp(const Model& m, const Kinematics& k, const SV* X, R* bar)
{
    T width = m.contacts.back;
    for (int index = 0; index < m.contacts.np; index++) {
        Meeting g;
        if (!meet(m, k, index, width, g)) continue;
        Sums sums;
        SV V = against(k.V, g), test = against(X, g);
        meet_solids<COUNT>(m, pair_row(m, index), g, V, test, width, sums, bar);
        if (any(sums.weight > R{}))
            meet_solids<GAINS>(m, pair_row(m, index), g, V, test * per_weight(sums.weight), width, sums, bar);
    }
}
#endif

// pairs that overlap
DS_FN R pairs_touching(const Model& m, const Kinematics& k)
{
    R count = R{};
    for (int index = 0; index < m.contacts.np; index++) {
        Meeting g;
        Sums sums;
        if (!meet(m, k, index, T(0), g)) continue;
        meet_solids<COUNT>(m, pair_row(m, index), g, zero6(), zero6(), T(0), sums, nullptr);
        count = count + one_if(sums.weight > R{});
    }
    return count;
}

}  // namespace ds
