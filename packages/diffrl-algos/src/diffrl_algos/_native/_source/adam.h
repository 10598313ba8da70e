// Adam(W) with clipping, as Optimizer in _adam.py does it with torch.
#pragma once
#include "mlp.h"

namespace ds {

// Constants of the optimiser, in the order of adam_constants in _native_fit.py; then two of every step: root and rate.
struct Constants {
    T beta1, one_less_beta1, beta2, one_less_beta2, eps, max_norm, decay;
};
struct Step {
    T root, rate;  // sqrt(1 - beta2^t) and lr / (1 - beta1^t)
};
DS_FN const Step* steps_of(const T* constants) { return (const Step*)(constants + sizeof(Constants) / sizeof(T)); }

// Clipping and one step of Adam(W) on `count` numbers, a multiple of PANEL; the gradient's norm before clipping.
DS_ENTRY T descend(int count, const T* constants, Step step, T* parameters, T* m, T* v, const T* grad)
{
    const Constants& c = *(const Constants*)constants;
    R squares[4] = {};
    for (int i = 0; i < count; i += DS_LANES) {
        R g = read(grad + i);
        squares[i / DS_LANES % 4] = fma_(g, g, squares[i / DS_LANES % 4]);
    }
    T norm = __builtin_elementwise_sqrt(total((squares[0] + squares[1]) + (squares[2] + squares[3])));
    T clip = c.max_norm / (norm + T(1e-6));
    if (clip > T(1)) clip = T(1);
    for (int i = 0; i < count; i += DS_LANES) {
        R g = read(grad + i) * clip, p = read(parameters + i) * c.decay;
        R m_new = fma_(broadcast(c.one_less_beta1), g - read(m + i), read(m + i));
        R v_new = fma_(g * c.one_less_beta2, g, read(v + i) * c.beta2);
        write(m + i, m_new);
        write(v + i, v_new);
        write(parameters + i, p - step.rate * m_new / (sqrt_(v_new) / step.root + c.eps));
    }
    return norm;
}

}  // namespace ds
