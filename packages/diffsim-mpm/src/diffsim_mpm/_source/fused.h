// Included first. Warp's clang fuses a b + c within an expression alone; this does it across functions and operators, as NVRTC
// does anyway, in all that comes after.
#pragma once
#ifdef __clang__
#pragma clang fp contract(fast)
#endif
