// A whole fit of critics to targets by Adam(W) with clipping, as fit_critic in _critic.py does it with torch.
#pragma once
#include "parameters.h"

namespace ds {

// Errors of up to BLOCK rows from targets y. The gradient of half the sum of their squares, times `weight`, is added to the
// network's, whose output is one number.
DS_FN void regress_rows(const Network& net, int rows, const T* y, T weight, T* errors)
{
    hidden_rows(net, rows);
    const Layer& last = net.layers[net.depth];
    const Input input = input_of(net, net.depth);
    const T* w = net.parameters + last.weight;
    T back[BLOCK], by_bias = T(0);
    for (int r = 0; r < rows; r++) {
        const T* row = input.rows + r * input.stride;
        R value = {};
        columns(last.inputs, [&](int i, Mask within) {
            value = value + select(within, read(row + i) * read(w + i), R{});
        });
        errors[r] = total(value) + net.parameters[last.bias] - y[r];
        back[r] = errors[r] * weight;
        by_bias += back[r];
        if (!net.depth) continue;
        columns(last.inputs, [&](int i, Mask) { write(net.pull + r * input.stride + i, back[r] * read(w + i)); });
    }
    net.grad[last.bias] += by_bias;
    add_columns(last.inputs, net.grad + last.weight, rows, [&](int r, int i) {
        return back[r] * read(input.rows + r * input.stride + i);
    });
    pull_back_hidden(net, rows);
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
    const Layer* layers = (const Layer*)args.layers;
    const size_t all = size_t(args.critics) * args.size;
    T *parameters = args.work, *m = parameters + all, *v = m + all, *grad = v + all, *turned = grad + all;
    T* scratch = turned + args.turned_size;
    auto arrange = [&](auto reorder) {
        for (int c = 0; c < args.critics; c++) {
            const size_t theirs = size_t(c) * args.flat_size, ours = size_t(c) * args.size;
            reorder(layers, args.depth, args.layer_norm, args.parameters + theirs, parameters + ours);
            reorder(layers, args.depth, args.layer_norm, args.m + theirs, m + ours);
            reorder(layers, args.depth, args.layer_norm, args.v + theirs, v + ours);
        }
    };
    clear(parameters, 3 * all);
    arrange(reorder<false>);
    Network net = {layers, args.depth, args.activation, args.layer_norm, args.inputs, args.stride, nullptr, turned, scratch,
                   nullptr, scratch + args.pull, scratch + args.sums};
    const Step* step = (const Step*)(args.constants + sizeof(Constants) / sizeof(T));
    for (int epoch = 0; epoch < args.epochs; epoch++) {
        const int* order = args.order + size_t(epoch) * args.rows;
        double squares = 0;  // of the errors in this epoch
        for (int begin = 0; begin < args.rows; begin += args.batch) {
            const int end = begin + args.batch < args.rows ? begin + args.batch : args.rows;
            clear(grad, all);
            for (int c = 0; c < args.critics; c++) {
                net.parameters = parameters + size_t(c) * args.size;
                net.grad = grad + size_t(c) * args.size;
                turn(layers, 1, args.depth, net.parameters, turned);
                for (int first = begin; first < end; first += BLOCK) {
                    const int count = first + BLOCK < end ? BLOCK : end - first;
                    T y[BLOCK], errors[BLOCK];
                    load_rows(net, args.x, order + first, count);
                    for (int r = 0; r < count; r++) y[r] = args.y[order[first + r]];
                    regress_rows(net, count, y, T(2) / T(end - begin), errors);
                    for (int r = 0; r < count; r++) squares += double(errors[r]) * errors[r];
                }
            }
            descend(int(all), *(const Constants*)args.constants, *step++, parameters, m, v, grad);
        }
        *args.loss = T(squares / (double(args.rows) * args.critics));
    }
    arrange(reorder<true>);
}

}  // namespace ds
