// A whole fit of critics to targets by Adam(W) with clipping, as fit_critic in _critic.py does it with torch.
#pragma once
#include "mlp.h"

namespace ds {

// From torch's order of one network's parameters to ours or, with BACK, from ours to torch's.
template <bool BACK> DS_ENTRY void reorder(const FitArgs& args, T* theirs, T* ours)
{
    auto move = [&](T* our) {
        if (BACK) *theirs = *our;
        else *our = *theirs;
        theirs++;
    };
    for (int k = 0; k < args.depth; k++) {
        const Layer& layer = ((const Layer*)args.layers)[k];
        for (int o = 0; o < layer.outputs; o++) {
            T* column = ours + layer.weight + o / PANEL * PANEL * layer.inputs + o % PANEL;
            for (int i = 0; i < layer.inputs; i++) move(column + i * PANEL);
        }
        for (int o = 0; o < layer.outputs; o++) move(ours + layer.bias + o);
        for (int o = 0; o < layer.outputs && args.layer_norm; o++) move(ours + layer.scale + o);
        for (int o = 0; o < layer.outputs && args.layer_norm; o++) move(ours + layer.shift + o);
    }
    for (int i = 0; i < args.last_inputs; i++) move(ours + args.last + i);
    move(ours + args.last_bias);
}

// The transposed weights of the layers after the first, in panels.
DS_ENTRY void turn(const FitArgs& args, const T* parameters, T* turned)
{
    const Layer* layers = (const Layer*)args.layers;
    for (int k = 1; k < args.depth; k++) {
        const Layer& layer = layers[k];
        T* to = turned + layer.turned;
        for (int o = 0; o < layer.outputs; o += PANEL) {
            const T* from = parameters + layer.weight + size_t(o) * layer.inputs;
            int count = layer.outputs - o < PANEL ? layer.outputs - o : PANEL;
            for (int i = 0; i < layers[k - 1].width; i++) {
                T* column = to + size_t(i / PANEL * PANEL) * layer.outputs + o * PANEL + i % PANEL;
                for (int q = 0; q < count; q++) column[q * PANEL] = i < layer.inputs ? from[i * PANEL + q] : T(0);
            }
        }
    }
}

// Constants of the optimiser, in the order of _native_fit.py; then two of every step: root and rate.
struct Constants {
    T beta1, one_less_beta1, beta2, one_less_beta2, eps, max_norm, decay;
};
struct Step {
    T root, rate;  // sqrt(1 - beta2^t) and lr / (1 - beta1^t)
};

// Clipping and one step of Adam(W) on `count` numbers, a multiple of PANEL.
DS_ENTRY void descend(int count, const Constants& c, Step step, T* parameters, T* m, T* v, const T* grad)
{
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
}

DS_ITEM void fit(int, const FitArgs& args)
{
    const size_t all = size_t(args.critics) * args.size;
    T *parameters = args.work, *m = parameters + all, *v = m + all, *grad = v + all, *turned = grad + all;
    for (size_t i = 0; i < 3 * all; i += DS_LANES) write(parameters + i, R{});
    for (int c = 0; c < args.critics; c++) {
        const size_t theirs = size_t(c) * args.flat_size, ours = size_t(c) * args.size;
        reorder<false>(args, args.parameters + theirs, parameters + ours);
        reorder<false>(args, args.m + theirs, m + ours);
        reorder<false>(args, args.v + theirs, v + ours);
    }
    Network net = {(const Layer*)args.layers, args.depth, args.layer_norm, args.inputs, args.stride,
                   args.last, args.last_bias, args.last_inputs, nullptr, turned, turned + args.turned_size, nullptr,
                   nullptr, nullptr};
    net.pull = net.scratch + args.cotangents;
    net.sums = net.pull + BLOCK * args.widest;
    const Step* step = (const Step*)(args.constants + sizeof(Constants) / sizeof(T));
    for (int epoch = 0; epoch < args.epochs; epoch++) {
        const int* order = args.order + size_t(epoch) * args.rows;
        double squares = 0;  // of the errors in this epoch
        for (int begin = 0; begin < args.rows; begin += args.batch) {
            const int end = begin + args.batch < args.rows ? begin + args.batch : args.rows;
            for (size_t i = 0; i < all; i += DS_LANES) write(grad + i, R{});
            for (int c = 0; c < args.critics; c++) {
                net.parameters = parameters + size_t(c) * args.size;
                net.grad = grad + size_t(c) * args.size;
                turn(args, net.parameters, turned);
                for (int first = begin; first < end; first += BLOCK) {
                    const int count = first + BLOCK < end ? BLOCK : end - first;
                    T y[BLOCK], errors[BLOCK];
                    for (int r = 0; r < count; r++) {
                        const T* row = args.x + size_t(order[first + r]) * args.inputs;
                        T* to = net.scratch + r * args.stride;
                        for (int i = 0; i < args.inputs; i++) to[i] = row[i];
                        y[r] = args.y[order[first + r]];
                    }
                    regress_rows(net, args.activation, count, y, T(2) / T(end - begin), errors);
                    for (int r = 0; r < count; r++) squares += double(errors[r]) * errors[r];
                }
            }
            descend(int(all), *(const Constants*)args.constants, *step++, parameters, m, v, grad);
        }
        *args.loss = T(squares / (double(args.rows) * args.critics));
    }
    for (int c = 0; c < args.critics; c++) {
        const size_t theirs = size_t(c) * args.flat_size, ours = size_t(c) * args.size;
        reorder<true>(args, args.parameters + theirs, parameters + ours);
        reorder<true>(args, args.m + theirs, m + ours);
        reorder<true>(args, args.v + theirs, v + ours);
    }
}

}  // namespace ds
