// Functions of lanes.h on an array, for tests of their accuracy.
#pragma once
#include "lanes.h"

namespace ds {

DS_ITEM void elementary(int item, const ElementaryArgs& args)
{
    R x = read(args.x + item * DS_LANES), s, c;
    sincos_(x, s, c);
    write(args.sine + item * DS_LANES, s);
    write(args.cosine + item * DS_LANES, c);
    write(args.exponential + item * DS_LANES, exp_(x));
    write(args.logarithm + item * DS_LANES, log_(x));
}

}  // namespace ds
