// Sums over nodes or particles that come in any order: of impulses on shapes, of cotangents of poses and of parameters. On a CPU
// a world has one worker, so their order is fixed and a sum is a number. On CUDA it is exact, and so the same in any order.
#pragma once
#include "tensor.h"

namespace ds {

#if DS_LANES > 1
typedef T Sum;

// *p += a, summed over the lanes
DS_FN void add_to(Sum* p, R a)
{
    T sum = T(0);
    for (int l = 0; l < DS_LANES; l++) sum += get(a, l);
    *p += sum;
}
#else
#if DS_DOUBLE
enum { FRACTION_BITS = 52, EXPONENT_BITS = 11, LOWEST = 34, PAD = 14, DIGITS = 67 };
typedef unsigned long long Bits;
#else
enum { FRACTION_BITS = 23, EXPONENT_BITS = 8, LOWEST = 5, PAD = 11, DIGITS = 11 };
typedef unsigned int Bits;
#endif
// A number in fixed point, wide enough for every T (a long accumulator, Kulisch 2013): digit k counts 2^(32 (k - LOWEST)). A
// digit has 64 bits, of which 32 are for carries: it holds 2^31 additions.
struct Sum {
    long long digits[DIGITS];
    long long strange;  // how many numbers were infinite or none
};
static_assert(sizeof(Sum) == (DS_DOUBLE ? 68 * 8 : 24 * 4), "not as Python reserves it");
DS_FN void clear(Sum* s)
{
    for (int k = 0; k < DIGITS; k++) s->digits[k] = 0;
    s->strange = 0;
}
DS_FN void add_digit(Sum* s, int k, unsigned long long digit, bool negative)
{
    if (digit) wp::atomic_add((wp::int64*)s->digits + k, negative ? -wp::int64(digit) : wp::int64(digit));
}
DS_FN void add_to(Sum* s, T a)
{
    union {
        T number;
        Bits bits;
    } as = {a};
    const int infinite = (1 << EXPONENT_BITS) - 1;
    int exponent = int(as.bits >> FRACTION_BITS) & infinite;
    unsigned long long fraction = as.bits & ((Bits(1) << FRACTION_BITS) - 1);
    bool negative = (as.bits >> (FRACTION_BITS + EXPONENT_BITS)) != 0;
    if (exponent == infinite) {
        wp::atomic_add((wp::int64*)&s->strange, wp::int64(1));
        return;
    }
    if (exponent) fraction |= 1ull << FRACTION_BITS;
    int at = (exponent ? exponent - 1 : 0) + PAD, first = at / 32, shift = at % 32;
    unsigned long long low = fraction << shift, mask = 0xffffffffull;
    add_digit(s, first, low & mask, negative);
    add_digit(s, first + 1, low >> 32, negative);
    if (shift) add_digit(s, first + 2, fraction >> (64 - shift), negative);
}
// the sum, rounded once or twice; not a number if one of those added was strange
DS_FN T total(const Sum& s)
{
    const long long mask = 0xffffffffll;
    long long digits[DIGITS], carry = 0;
    for (int k = 0; k < DIGITS; k++) {
        carry += s.digits[k];
        digits[k] = carry & mask;
        carry >>= 32;
    }
    bool negative = carry < 0;
    if (negative) {  // the complement, so that the first digits count
        carry = 1;
        for (int k = 0; k < DIGITS; k++) {
            carry += digits[k] ^ mask;
            digits[k] = carry & mask;
            carry >>= 32;
        }
    }
    int top = DIGITS - 1;
    while (top > 2 && !digits[top]) top--;
    const double wide = 4294967296.0;
    double sum = (double(digits[top]) * wide + double(digits[top - 1])) * wide + double(digits[top - 2]);
    for (int k = top - 2; k > LOWEST; k--) sum *= wide;
    for (int k = top - 2; k < LOWEST; k++) sum /= wide;
    if (s.strange) sum = (sum - sum) / (sum - sum);
    return T(negative ? -sum : sum);
}
#endif

DS_FN void add_to(Sum* p, V3 a)
{
    add_to(p, a.x);
    add_to(p + 1, a.y);
    add_to(p + 2, a.z);
}

}  // namespace ds
