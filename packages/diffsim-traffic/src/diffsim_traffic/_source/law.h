// A law of car following: the acceleration of a driver, and its partial derivatives. A law's header defines
//     Rate follow(const R* p, R v, R vl, R s, T dt)   p parameters, v own speed, vl the leader's, s the gap to it, all > 0
//     Mask valid(const R* p)                          whether the parameters make sense
// A road that is free has a leader of the driver's own speed at FREE metres.
#pragma once
#include "model.h"

namespace ds {

struct Rate {
    R acc;         // [m/s^2]
    R v, vl, s;    // partial derivatives
    R p[TR_PARAMS];
};

constexpr T FREE = T(1e12);

}  // namespace ds

#include TR_LAW
