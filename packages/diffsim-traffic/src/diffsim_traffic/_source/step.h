// One step of a block of worlds, and its vector-Jacobian product; _kernels.py lists what they are handed. A driver meets
// only the driver ahead, whose place in the order of the lane never changes, and the vehicles under control: the work is
// linear in the drivers, and nothing is kept but the vehicles under control.
#pragma once
#include "law.h"
#include "vehicle.h"

namespace ds {

// Arrays from outside: state [N][nc + nd] x, v; [N][nc] y, psi; drivers [N][nd][TR_PARAMS]; controls [N][nc]. `Args` are the
// arguments of either function.

struct Driver {
    R x, v, p[TR_PARAMS];
};

// how the driver ahead, or a vehicle under control that is nearer, is followed
struct Following {
    Rate rate;
    Mask apart, brakes;  // the gap is above its floor; the acceleration above that of the hardest braking
    R acc;
};

template <class Args> DS_FN Driver driver(const Model& m, const Rows& r, const Args& a, int i)
{
    Driver d;
    int width = m.nc + m.nd;
    d.x = get(r, a.x, width, m.nc + i);
    d.v = get(r, a.v, width, m.nc + i);
    for (int k = 0; k < TR_PARAMS; k++) d.p[k] = get(r, a.drivers, m.nd * TR_PARAMS, i * TR_PARAMS + k);
    return d;
}

template <class Args> DS_FN Vehicle vehicle(const Model& m, const Rows& r, const Args& a, int c)
{
    int width = m.nc + m.nd;
    return {get(r, a.x, width, c), get(r, a.v, width, c), get(r, a.y, m.nc, c), get(r, a.psi, m.nc, c)};
}

DS_FN Following following(const Model& m, const Driver& d, R distance, R lead_v, R bumpers)
{
    Following f;
    R gap = distance - bumpers, least = splat(m.c[C_GAP_FLOOR]), hardest = splat(-m.c[C_MAX_BRAKING]);
    f.apart = gap > least;
    f.rate = follow(d.p, d.v, lead_v, select(f.apart, gap, least), m.c[C_DT]);
    f.brakes = f.rate.acc >= hardest;
    f.acc = select(f.rate.acc < hardest, hardest, f.rate.acc);
    return f;
}

// Whom a driver follows: the driver ahead, unless a vehicle under control is nearer in the lane.
struct Leader {
    R distance, v, bumpers;  // of centres; half the lengths of both
    R which;                 // number of the vehicle under control, or -1
};

DS_FN Leader driver_ahead(const Model& m, int i, const Driver& d, R x, R v)
{
    int j = m.leader[i];
    if (j < 0) return {splat(FREE), d.v, R{}, splat(T(-1))};
    T bumpers = T(0.5) * (m.length[m.nc + i] + m.length[m.nc + j]);
    return {x + splat(m.laps[i] * m.c[C_CIRCUMFERENCE]) - d.x, v, splat(bumpers), splat(T(-1))};
}

// how far a vehicle under control is ahead of a driver; on a ring road everybody is ahead of everybody
DS_FN R ahead(const Model& m, R x, const Driver& d)
{
    R distance = x - d.x;
    T ring = m.c[C_CIRCUMFERENCE];
    return ring > 0 ? distance - ring * floor_(distance / ring) : distance;
}

DS_FN R off_centre(const Model& m, int i, R y) { return y - splat(m.lane[i] * m.c[C_LANE_WIDTH]); }

#if TR_SMOOTH
// Share of a vehicle in a driver's lane: 1 in the lane, 0 outside, a cubic in between, C_SMOOTHING wide.
DS_FN R share(const Model& m, R off, R& slope)
{
    R zero = R{}, one = splat(T(1));
    R u = splat(T(0.5)) + (splat(T(0.5) * m.c[C_LANE_WIDTH]) - abs_(off)) / m.c[C_SMOOTHING];
    Mask inside = (u > zero) & (u < one);
    u = min_(max_(u, zero), one);
    slope = select(inside, T(6) * u * (one - u) * select(off > zero, -one, one) / m.c[C_SMOOTHING], zero);
    return u * u * (T(3) - T(2) * u);
}
#endif

DS_FN void join(Leader& lead, Mask nearer, R distance, R v, T bumpers, int c)
{
    lead.distance = select(nearer, distance, lead.distance);
    lead.v = select(nearer, v, lead.v);
    lead.bumpers = select(nearer, splat(bumpers), lead.bumpers);
    lead.which = select(nearer, splat(T(c)), lead.which);
}

// What a driver does, and why.
struct Decision {
    Leader lead;
    Following f;
#if TR_SMOOTH
    Leader other;  // the vehicle under control
    Following g;
    R weight, slope;
#endif
    R acc, next;
    Mask moves;
};

DS_FN Decision decide(const Model& m, int i, const Driver& d, R ahead_x, R ahead_v, const Vehicle* ego)
{
    Decision k;
    k.lead = driver_ahead(m, i, d, ahead_x, ahead_v);
    T half = T(0.5) * m.length[m.nc + i];
#if TR_SMOOTH
    k.other = k.lead;
    R distance = ahead(m, ego[0].x, d);
    Mask nearer = (distance > R{}) & (distance < k.lead.distance);
    join(k.other, nearer, distance, ego[0].v, half + T(0.5) * m.length[0], 0);
    R weight = share(m, off_centre(m, i, ego[0].y), k.slope);
    k.weight = select(nearer, weight, R{});
    k.slope = select(nearer, k.slope, R{});
    k.f = following(m, d, k.lead.distance, k.lead.v, k.lead.bumpers);
    k.g = following(m, d, k.other.distance, k.other.v, k.other.bumpers);
    k.acc = k.f.acc + k.weight * (k.g.acc - k.f.acc);
#else
    for (int c = 0; c < m.nc; c++) {
        R distance = ahead(m, ego[c].x, d);
        Mask in_lane = abs_(off_centre(m, i, ego[c].y)) < splat(T(0.5) * m.c[C_LANE_WIDTH]);
        Mask nearer = in_lane & (distance > R{}) & (distance < k.lead.distance);
        join(k.lead, nearer, distance, ego[c].v, half + T(0.5) * m.length[c], c);
    }
    k.f = following(m, d, k.lead.distance, k.lead.v, k.lead.bumpers);
    k.acc = k.f.acc;
#endif
    R next = d.v + m.c[C_DT] * k.acc;
    k.moves = next > R{};
    k.next = select(next < R{}, R{}, next);
    return k;
}

template <class Args> DS_FN void ahead_of(const Model& m, const Rows& r, const Args& a, int i, R& x, R& v)
{
    int j = m.leader[i], width = m.nc + m.nd;
    if (j < 0) return;
    x = get(r, a.x, width, m.nc + j);
    v = get(r, a.v, width, m.nc + j);
}

DS_ITEM void traffic_step(int index, const StepArgs& args)
{
    Model m = unpack(args.integers, args.reals);
    Rows r = rows(index, args.num_worlds);
    int width = m.nc + m.nd;
    T dt = m.c[C_DT], limit = m.c[C_LIMIT], reach = m.c[C_REACH];
    Mask ok = everywhere();
    Vehicle ego[TR_MAX_CONTROLLED];
    for (int c = 0; c < m.nc; c++) {
        ego[c] = vehicle(m, r, args, c);
        R wheel = get(r, args.steering, m.nc, c), push = get(r, args.acceleration, m.nc, c);
        Vehicle e = drive(m, ego[c], bicycle(m, ego[c], wheel, push), m.length[c]);
        // bounds on speed would hide what was not finite before
        ok = ok & bounded(wheel, T(DS_HUGE)) & bounded(push, T(DS_HUGE)) & bounded(ego[c].v, T(DS_HUGE));
        ok = ok & bounded(e.x, reach) & bounded(e.v, limit) & bounded(e.y, limit) & bounded(e.psi, limit);
        put(r, args.x_out, width, c, e.x);
        put(r, args.v_out, width, c, e.v);
        put(r, args.y_out, m.nc, c, e.y);
        put(r, args.psi_out, m.nc, c, e.psi);
    }
    R last_x = R{}, last_v = R{};
    for (int i = 0; i < m.nd; i++) {
        Driver d = driver(m, r, args, i);
        R ahead_x = last_x, ahead_v = last_v;
        if (m.leader[i] != i - 1) ahead_of(m, r, args, i, ahead_x, ahead_v);
        Decision k = decide(m, i, d, ahead_x, ahead_v, ego);
        R moved = d.x + dt * (m.semi_implicit ? k.next : d.v);
        ok = ok & valid(d.p) & bounded(d.v, T(DS_HUGE)) & bounded(moved, reach) & bounded(k.next, limit);
        for (int j = 0; j < TR_PARAMS; j++) ok = ok & bounded(d.p[j], T(DS_HUGE));
        put(r, args.x_out, width, m.nc + i, moved);
        put(r, args.v_out, width, m.nc + i, k.next);
        last_x = d.x;
        last_v = d.v;
    }
    // a world that is lost keeps the state it had
    R keep = select(ok, splat(T(1)), R{});
    if (any(keep < splat(T(0.5)))) {
        restore(r, keep, args.x, args.x_out, width);
        restore(r, keep, args.v, args.v_out, width);
        restore(r, keep, args.y, args.y_out, m.nc);
        restore(r, keep, args.psi, args.psi_out, m.nc);
    }
    for (int l = 0; l < r.count; l++) args.ok[r.world[l]] = int(get(keep, l));
}

// Cotangents of what a driver follows, given that of the acceleration.
struct Pull {
    R distance, v;
};
DS_FN Pull following_vjp(const Following& f, R gacc, R& gv, R* gp)
{
    R g = select(f.brakes, gacc, R{});
    gv = gv + g * f.rate.v;
    for (int j = 0; j < TR_PARAMS; j++) gp[j] = gp[j] + g * f.rate.p[j];
    return {select(f.apart, g * f.rate.s, R{}), g * f.rate.vl};
}

DS_ITEM void traffic_step_vjp(int index, const StepVjpArgs& args)
{
    Model m = unpack(args.integers, args.reals);
    Rows r = rows(index, args.num_worlds);
    int width = m.nc + m.nd, pwidth = m.nd * TR_PARAMS;
    T dt = m.c[C_DT], huge = T(DS_HUGE);
    R zero = R{}, flag = R{};
    for (int l = 0; l < DS_LANES; l++) set(flag, l, T(args.ok[r.world[l]]));
    Mask keep = flag > zero;
    Vehicle ego[TR_MAX_CONTROLLED], gego[TR_MAX_CONTROLLED];
    for (int c = 0; c < m.nc; c++) {
        ego[c] = vehicle(m, r, args, c);
        gego[c] = {zero, zero, zero, zero};
    }
    // from back to front: what a driver pulls at the one ahead waits in carry_x, carry_v
    R carry_x = zero, carry_v = zero;
    for (int i = m.nd - 1; i >= 0; i--) {
        Driver d = driver(m, r, args, i);
        R ahead_x = zero, ahead_v = zero;
        ahead_of(m, r, args, i, ahead_x, ahead_v);
        Decision k = decide(m, i, d, ahead_x, ahead_v, ego);
        R gmoved = get(r, args.gx_out, width, m.nc + i), gnext = get(r, args.gv_out, width, m.nc + i);
        R own_x = gmoved + carry_x, own_v = carry_v;
        if (m.semi_implicit) gnext = gnext + dt * gmoved;
        else own_v = own_v + dt * gmoved;
        gnext = select(k.moves, gnext, zero);
        own_v = own_v + gnext;
        R ga = dt * gnext, own_p[TR_PARAMS];
        for (int j = 0; j < TR_PARAMS; j++) own_p[j] = zero;
#if TR_SMOOTH
        Pull pull = following_vjp(k.f, ga * (splat(T(1)) - k.weight), own_v, own_p);
        Pull other = following_vjp(k.g, ga * k.weight, own_v, own_p);
        own_x = own_x - pull.distance - other.distance;
        gego[0].x = gego[0].x + other.distance;  // nothing where the weight is zero
        gego[0].v = gego[0].v + other.v;
        gego[0].y = gego[0].y + ga * (k.g.acc - k.f.acc) * k.slope;
#else
        Pull pull = following_vjp(k.f, ga, own_v, own_p);
        own_x = own_x - pull.distance;
        for (int c = 0; c < m.nc; c++) {
            Mask this_one = k.lead.which == splat(T(c));
            gego[c].x = gego[c].x + select(this_one, pull.distance, zero);
            gego[c].v = gego[c].v + select(this_one, pull.v, zero);
        }
#endif
        own_v = own_v + select(k.lead.distance >= splat(FREE), pull.v, zero);  // on a free road the leader's speed is one's own
        Mask by_driver = k.lead.which < zero;
        R pull_x = select(by_driver, pull.distance, zero), pull_v = select(by_driver, pull.v, zero);
        for (int j = 0; j < TR_PARAMS; j++) {
            keep = keep & bounded(own_p[j], huge);
            put(r, args.gdrivers, pwidth, i * TR_PARAMS + j, own_p[j]);
        }
        keep = keep & bounded(own_x, huge) & bounded(own_v, huge);
        put(r, args.gx, width, m.nc + i, own_x);
        put(r, args.gv, width, m.nc + i, own_v);
        carry_x = carry_v = zero;
        int j = m.leader[i];
        if (j == i - 1) {
            if (j >= 0) {
                carry_x = pull_x;
                carry_v = pull_v;
            }
        } else if (j >= 0) {  // the back of the lane, where a ring closes; it has been written already
            add(r, args.gx, width, m.nc + j, pull_x);
            add(r, args.gv, width, m.nc + j, pull_v);
        }
    }
    for (int c = 0; c < m.nc; c++) {
        Bicycle k = bicycle(m, ego[c], get(r, args.steering, m.nc, c), get(r, args.acceleration, m.nc, c));
        Vehicle g = {get(r, args.gx_out, width, c), get(r, args.gv_out, width, c), get(r, args.gy_out, m.nc, c),
                     get(r, args.gpsi_out, m.nc, c)};
        R gs = zero, ga = zero;
        Vehicle e = drive_vjp(m, k, m.length[c], g, gs, ga);
        e = {e.x + gego[c].x, e.v + gego[c].v, e.y + gego[c].y, e.psi};
        keep = keep & bounded(e.x, huge) & bounded(e.v, huge) & bounded(e.y, huge) & bounded(e.psi, huge);
        keep = keep & bounded(gs, huge) & bounded(ga, huge);
        put(r, args.gx, width, c, e.x);
        put(r, args.gv, width, c, e.v);
        put(r, args.gy, m.nc, c, e.y);
        put(r, args.gpsi, m.nc, c, e.psi);
        put(r, args.gsteering, m.nc, c, gs);
        put(r, args.gacceleration, m.nc, c, ga);
    }
    // whole worlds contribute or do not, never single numbers
    flag = select(keep, splat(T(1)), zero);
    if (any(flag < splat(T(0.5)))) {
        restore(r, flag, nullptr, args.gx, width);
        restore(r, flag, nullptr, args.gv, width);
        restore(r, flag, nullptr, args.gy, m.nc);
        restore(r, flag, nullptr, args.gpsi, m.nc);
        restore(r, flag, nullptr, args.gdrivers, pwidth);
        restore(r, flag, nullptr, args.gsteering, m.nc);
        restore(r, flag, nullptr, args.gacceleration, m.nc);
    }
}

}  // namespace ds
