// A multilayer perceptron with one output: a block of its rows forward, and back to the gradient of its parameters.
#pragma once
#include "activation.h"

namespace ds {

// A hidden layer, as _native_fit.py lays it out. `width` is `outputs` rounded up to whole panels. What lies in the columns
// between them is zero in parameters, gradients and activations.
struct Layer {
    int inputs, outputs, width;
    int weight, bias, scale, shift;   // where they begin among the parameters; the weight is [inputs, width], in panels
    int turned;                       // its transpose [outputs, width of the inputs], in panels, among the turned weights
    int stride;                       // from row to row of the following, which lie in the scratch
    int extra, active, normal;        // activations before and after normalisation; extra is what `slope` also needs
    int mean, inverse;                // of each row: its mean and the inverse of its deviation
};
static_assert(sizeof(Layer) == 14 * sizeof(int), "not as Python lays it out");

// A network, and what its rows are computed with.
struct Network {
    const Layer* layers;
    int depth, layer_norm, inputs, stride;  // hidden layers; the width of an input row and the numbers to the next
    int last, last_bias, last_inputs;       // the output layer among the parameters
    const T* parameters;
    const T* turned;
    T *scratch, *grad, *pull, *sums;        // the cotangents of a layer's output; its sums, and then their cotangents
};

constexpr T NORM_EPS = T(1e-5);

DS_FN T total(R a)
{
#if DS_LANES == 8
    typedef T Half __attribute__((vector_size(4 * sizeof(T))));
    Half b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
#else
    R b = a;
#endif
    return (b[0] + b[2]) + (b[1] + b[3]);
}

// Call `part(column, mask)` for the vectors of a row; the mask has the lanes that are columns.
template <class F> DS_FN void columns(int count, F part)
{
    int i = 0;
    for (; i + DS_LANES <= count; i += DS_LANES) part(i, first_lanes(DS_LANES));
    if (i < count) part(i, first_lanes(count - i));
}
// The same for what is written, `value(column, mask)`, with zeros up to `width`.
template <class F> DS_FN void write_columns(int count, int width, T* to, F value)
{
    columns(count, [&](int i, Mask within) { write(to + i, select(within, value(i, within), R{})); });
    for (int i = (count + DS_LANES - 1) / DS_LANES * DS_LANES; i < width; i += DS_LANES) write(to + i, R{});
}
// Add the sum over rows of `value(row, column)`.
template <class F> DS_FN void add_columns(int count, T* to, int rows, F value)
{
    columns(count, [&](int i, Mask within) {
        R sum = {};
        for (int r = 0; r < rows; r++) sum = sum + value(r, i);
        write(to + i, read(to + i) + select(within, sum, R{}));
    });
}

// Activation and normalisation of a layer's sums. Each pass handles all rows, so that no row waits for the totals, roots and
// quotients of the one before it. Nothing is changed in place: the compiler would make masked stores of it, which are slow.
template <int ACTIVATION> DS_ENTRY void activate_rows(const Network& net, const Layer& layer, int rows)
{
    T *active = net.scratch + layer.active, *extra = net.scratch + layer.extra, *normal = net.scratch + layer.normal;
    T *mean = net.scratch + layer.mean, *inverse = net.scratch + layer.inverse;
    const T *scale = net.parameters + layer.scale, *shift = net.parameters + layer.shift;
    const int n = layer.stride;
    const T share = T(1) / T(layer.outputs);
    for (int r = 0; r < rows; r++) {
        R all = {};
        write_columns(layer.outputs, layer.width, active + r * n, [&](int i, Mask within) {
            R s = {}, value = select(within, activate<ACTIVATION>(read(net.sums + r * n + i), s), R{});
            if (ACTIVATION == SILU) write(extra + r * n + i, s);
            all = all + value;
            return value;
        });
        mean[r] = share * total(all);
    }
    if (!net.layer_norm) return;
    for (int r = 0; r < rows; r++) {
        const T *e = active + r * n, m = mean[r];
        R squares = {};
        columns(layer.outputs, [&](int i, Mask within) {
            R d = select(within, read(e + i) - m, R{});
            squares = fma_(d, d, squares);
        });
        inverse[r] = T(1) / __builtin_elementwise_sqrt(share * total(squares) + NORM_EPS);
    }
    for (int r = 0; r < rows; r++) {
        const T *e = active + r * n, m = mean[r], inv = inverse[r];
        write_columns(layer.outputs, layer.width, normal + r * n, [&](int i, Mask) {
            return fma_((read(e + i) - m) * inv, read(scale + i), read(shift + i));
        });
    }
}

// The cotangents of a layer's sums from those of its output; the gradients of scale, shift and bias are added.
template <int ACTIVATION> DS_ENTRY void pull_back_rows(const Network& net, const Layer& layer, int rows)
{
    const T* pull = net.pull;
    const T *active = net.scratch + layer.active, *extra = net.scratch + layer.extra;
    const T *mean = net.scratch + layer.mean, *inverse = net.scratch + layer.inverse;
    const T* scale = net.parameters + layer.scale;
    const int n = layer.stride;
    const T share = T(1) / T(layer.outputs);
    auto normal = [&](int r, int i) { return (read(active + r * n + i) - mean[r]) * inverse[r]; };
    T level[BLOCK], tilt[BLOCK];
    if (net.layer_norm) {
        add_columns(layer.outputs, net.grad + layer.scale, rows, [&](int r, int i) { return read(pull + r * n + i) * normal(r, i); });
        add_columns(layer.outputs, net.grad + layer.shift, rows, [&](int r, int i) { return read(pull + r * n + i); });
        for (int r = 0; r < rows; r++) {
            R a = {}, b = {};
            columns(layer.outputs, [&](int i, Mask within) {
                R g = select(within, read(pull + r * n + i) * read(scale + i), R{});
                a = a + g;
                b = b + select(within, g * normal(r, i), R{});
            });
            level[r] = share * total(a);
            tilt[r] = share * total(b);
        }
    }
    for (int r = 0; r < rows; r++) {
        write_columns(layer.outputs, layer.width, net.sums + r * n, [&](int i, Mask) {
            R g = read(pull + r * n + i);
            if (net.layer_norm) g = inverse[r] * (g * read(scale + i) - level[r] - normal(r, i) * tilt[r]);
            return slope<ACTIVATION>(g, read(active + r * n + i), ACTIVATION == SILU ? read(extra + r * n + i) : R{});
        });
    }
    add_columns(layer.outputs, net.grad + layer.bias, rows, [&](int r, int i) { return read(net.sums + r * n + i); });
}

DS_FN void activate_rows(int activation, const Network& net, const Layer& layer, int rows)
{
    if (activation == ELU) return activate_rows<ELU>(net, layer, rows);
    if (activation == SILU) return activate_rows<SILU>(net, layer, rows);
    if (activation == RELU) return activate_rows<RELU>(net, layer, rows);
    activate_rows<TANH>(net, layer, rows);
}
DS_FN void pull_back_rows(int activation, const Network& net, const Layer& layer, int rows)
{
    if (activation == ELU) return pull_back_rows<ELU>(net, layer, rows);
    if (activation == SILU) return pull_back_rows<SILU>(net, layer, rows);
    if (activation == RELU) return pull_back_rows<RELU>(net, layer, rows);
    pull_back_rows<TANH>(net, layer, rows);
}

// Errors of up to BLOCK rows of inputs, at the start of the scratch, from targets y. The gradient of half the sum of their
// squares, times `weight`, is added to the network's.
DS_FN void regress_rows(const Network& net, int activation, int rows, const T* y, T weight, T* errors)
{
    const T* input = net.scratch;
    int stride = net.stride;
    for (int k = 0; k < net.depth; k++) {
        const Layer& layer = net.layers[k];
        const T *weight = net.parameters + layer.weight, *bias = net.parameters + layer.bias;
        times_panels(input, stride, rows, layer.inputs, weight, bias, net.sums, layer.stride, layer.width);
        activate_rows(activation, net, layer, rows);
        input = net.scratch + (net.layer_norm ? layer.normal : layer.active);
        stride = layer.stride;
    }
    const T* w = net.parameters + net.last;
    T back[BLOCK], by_bias = T(0);
    for (int r = 0; r < rows; r++) {
        const T* row = input + r * stride;
        R value = {};
        columns(net.last_inputs, [&](int i, Mask within) {
            value = value + select(within, read(row + i) * read(w + i), R{});
        });
        errors[r] = total(value) + net.parameters[net.last_bias] - y[r];
        back[r] = errors[r] * weight;
        by_bias += back[r];
        if (net.depth) {
            columns(net.last_inputs, [&](int i, Mask) { write(net.pull + r * stride + i, back[r] * read(w + i)); });
        }
    }
    net.grad[net.last_bias] += by_bias;
    add_columns(net.last_inputs, net.grad + net.last, rows, [&](int r, int i) { return back[r] * read(input + r * stride + i); });
    for (int k = net.depth - 1; k >= 0; k--) {
        const Layer& layer = net.layers[k];
        pull_back_rows(activation, net, layer, rows);
        const Layer* before = k ? net.layers + k - 1 : nullptr;
        input = net.scratch + (!before ? 0 : net.layer_norm ? before->normal : before->active);
        stride = before ? before->stride : net.stride;
        T* weight = net.grad + layer.weight;
        add_outer(input, stride, net.sums, layer.stride, rows, layer.inputs, layer.outputs, weight, layer.width);
        if (!before) break;
        const T* turned = net.turned + layer.turned;
        times_panels(net.sums, layer.stride, rows, layer.outputs, turned, nullptr, net.pull, before->stride, before->width);
    }
}

}  // namespace ds
