// A vehicle under control: the kinematic bicycle with its centre of mass midway between the axles, and its adjoint.
//     beta = atan(tan(delta) / 2),  (x, y)' = v (cos, sin)(psi + beta),  psi' = 2 v sin(beta) / length
#pragma once
#include "model.h"

namespace ds {

struct Vehicle {
    R x, v, y, psi;
};

struct Bicycle {
    R t, cos_b, sin_b;  // tan(delta) / 2; of beta
    R cos_h, sin_h;     // of psi + beta
    R next, speed;      // speed after the step, and the one it moves with
    Mask free;          // the speed is not held at a bound
};

DS_FN Bicycle bicycle(const Model& m, const Vehicle& e, R steering, R acc)
{
    Bicycle k;
    R sin_d, cos_d, sin_p, cos_p;
    sincos_(steering, sin_d, cos_d);
    sincos_(e.psi, sin_p, cos_p);
    k.t = T(0.5) * sin_d / cos_d;
    k.cos_b = splat(T(1)) / sqrt_(splat(T(1)) + k.t * k.t);
    k.sin_b = k.t * k.cos_b;
    k.cos_h = cos_p * k.cos_b - sin_p * k.sin_b;
    k.sin_h = sin_p * k.cos_b + cos_p * k.sin_b;
    R wanted = e.v + m.c[C_DT] * acc, low = splat(m.c[C_MIN_SPEED]), high = splat(m.c[C_MAX_SPEED]);
    k.free = (wanted >= low) & (wanted <= high);
    // a NaN must stay one, so that its world is seen to be lost
    k.next = select(wanted < low, low, select(wanted > high, high, wanted));
    k.speed = m.semi_implicit ? k.next : e.v;
    return k;
}

DS_FN Vehicle drive(const Model& m, const Vehicle& e, const Bicycle& k, T length)
{
    R way = m.c[C_DT] * k.speed;
    return {e.x + way * k.cos_h, k.next, e.y + way * k.sin_h, e.psi + way * k.sin_b * (T(2) / length)};
}

// from the cotangent of the vehicle after the step to that before it, and those of the controls
DS_FN Vehicle drive_vjp(const Model& m, const Bicycle& k, T length, const Vehicle& g, R& gsteering, R& gacc)
{
    T dt = m.c[C_DT], turn = T(2) / length;
    R gspeed = dt * (g.x * k.cos_h + g.y * k.sin_h + g.psi * k.sin_b * turn);
    R gheading = dt * k.speed * (g.y * k.cos_h - g.x * k.sin_h);
    R gbeta = gheading + dt * k.speed * g.psi * k.cos_b * turn;
    R t2 = k.t * k.t, one = splat(T(1));
    gsteering = T(0.5) * gbeta * (one + T(4) * t2) / (one + t2);
    R gnext = select(k.free, m.semi_implicit ? g.v + gspeed : g.v, R{});
    gacc = dt * gnext;
    return {g.x, m.semi_implicit ? gnext : gnext + gspeed, g.y, g.psi + gheading};
}

}  // namespace ds
