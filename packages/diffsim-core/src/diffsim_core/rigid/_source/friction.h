// Coulomb friction that sticks: f_t = -scale u_t with scale = min(kt, bound / |u_t|), so that slow contact is damped by kt and
// fast contact slides at the bound (SHAC paper, Eq. 3). The one place of this law: ground, terrain, pairs and sensors call it.
#pragma once
#include "lanes.h"

namespace ds {

// |u_t| from its square [m^2/s^2], with a derivative at rest
DS_FN R slip_speed(R square) { return sqrt_(square + T(1e-12)); }

DS_FN R friction(R kt, R bound, R square) { return min_(kt, bound / slip_speed(square)); }

// The gradient of scale (x . u_t) for a fixed vector x, given work = x . u_t: by_u is that of u_t through scale, per u_t.
struct FrictionBar {
    R scale, by_bound, by_u;
    Mask slipping;
};
DS_FN FrictionBar friction_vjp(R kt, R bound, R square, R work)
{
    FrictionBar f;
    R inverse = splat(T(1)) / slip_speed(square), slip = bound * inverse;
    f.scale = min_(kt, slip);
    f.slipping = slip < kt;
    f.by_bound = select(f.slipping, work * inverse, R{});
    f.by_u = -(f.by_bound * f.scale * inverse);
    return f;
}

}  // namespace ds
