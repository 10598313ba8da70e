// A whole fit of critics to targets by Adam(W) with clipping, as fit_critic in _critic.py does it with torch.
#pragma once
#include "adam.h"
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
                   scratch + args.kept, nullptr, scratch + args.pull, scratch + args.sums};
    const Step* step = steps_of(args.constants);
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
            descend(int(all), args.constants, *step++, parameters, m, v, grad);
        }
        *args.loss = T(squares / (double(args.rows) * args.critics));
    }
    arrange(reorder<true>);
}

}  // namespace ds
