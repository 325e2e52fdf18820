/* Window geometry from attributes. */
#include "ops/sliding_window.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"

/* Copies an attribute of `count` numbers in [low, 2^31), or the fallback where it is absent. */
static bool read_numbers(const graph_node *node, const char *name, int count, int64_t low,
                         int64_t fallback, int64_t *to)
{
    int64_t given = 0;
    const int64_t *numbers = graph_attribute_ints(node, name, &given);

    for (int i = 0; i < count; i++) {
        to[i] = fallback;
    }
    if (numbers == NULL) {
        return true;
    }
    if (given != count) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (numbers[i] < low || numbers[i] > LIMIT_TENSOR_DIMENSION) {
            return false;
        }
        to[i] = numbers[i];
    }
    return true;
}

/* How far the window reaches on axis `i`. */
static int64_t extent(const window *w, int i)
{
    return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

/* SAME_UPPER, SAME_LOWER: ceil(in / stride) outputs, the odd pixel of padding at the named end. */
static void pad_same(window *w, bool at_end)
{
    for (int i = 0; i < w->rank; i++) {
        int64_t out = (w->in[i] + w->stride[i] - 1) / w->stride[i];
        int64_t total = (out - 1) * w->stride[i] + extent(w, i) - w->in[i];

        if (w->in[i] < 0) {
            continue;
        }
        total = total > 0 ? total : 0;
        w->pad_begin[i] = at_end ? total / 2 : (total + 1) / 2;
        w->pad_end[i] = total - w->pad_begin[i];
    }
}

/* The sum that shows why axis `i` has no output. */
static const char *too_large(window *w, int i)
{
    (void)snprintf(w->why, sizeof w->why,
                   "the window is larger than the padded input: on axis %d, %lld + %lld + %lld < "
                   "(%lld - 1) x %lld + 1",
                   i, (long long)w->in[i], (long long)w->pad_begin[i], (long long)w->pad_end[i],
                   (long long)w->kernel[i], (long long)w->dilation[i]);
    return w->why;
}

static bool find_out(window *w, bool ceil_mode, const char **reason)
{
    for (int i = 0; i < w->rank; i++) {
        int64_t room = w->in[i] + w->pad_begin[i] + w->pad_end[i] - extent(w, i);

        w->out[i] = -1;
        if (w->in[i] < 0) {
            continue;
        }
        if (room < 0 && w->in[i] > 0 && !ceil_mode) {
            *reason = too_large(w, i);
            return false;
        }
        if (room < 0) { /* rounded up, a window that hangs over the end still counts once */
            w->out[i] = ceil_mode && w->in[i] > 0 && -room < w->stride[i];
            continue;
        }
        w->out[i] = room / w->stride[i] + 1;
        if (ceil_mode && room % w->stride[i] != 0 &&
            w->out[i] * w->stride[i] < w->in[i] + w->pad_begin[i]) {
            w->out[i]++;
        }
    }
    return true;
}

static bool read_pads(const graph_node *node, window *w, const char **reason)
{
    const char *mode = graph_attribute_string(node, "auto_pad", "NOTSET");
    int64_t pads[2 * WINDOW_MOST_AXES] = {0};
    bool same_upper = strcmp(mode, "SAME_UPPER") == 0;

    if (same_upper || strcmp(mode, "SAME_LOWER") == 0) {
        pad_same(w, same_upper);
        return true;
    }
    if (strcmp(mode, "VALID") == 0) {
        return true;
    }
    if (strcmp(mode, "NOTSET") != 0 && mode[0] != '\0') {
        *reason = "auto_pad is none of NOTSET, SAME_UPPER, SAME_LOWER, VALID";
        return false;
    }
    if (!read_numbers(node, "pads", 2 * w->rank, 0, 0, pads)) {
        *reason = "pads must be two non-negative numbers per spatial axis";
        return false;
    }
    memcpy(w->pad_begin, pads, (size_t)w->rank * sizeof *pads);
    memcpy(w->pad_end, pads + w->rank, (size_t)w->rank * sizeof *pads);
    return true;
}

/* Everything but padding and result. */
static bool read_attributes(const graph_node *node, int rank, const int64_t *in,
                            const int64_t *kernel, window *w, const char **reason)
{
    *w = (window){.rank = rank};
    if (rank < 1 || rank > WINDOW_MOST_AXES) {
        *reason = "one to six spatial axes are supported";
        return false;
    }
    if (!read_numbers(node, "strides", rank, 1, 1, w->stride) ||
        !read_numbers(node, "dilations", rank, 1, 1, w->dilation)) {
        *reason = "strides and dilations must be one positive number per spatial axis";
        return false;
    }
    for (int i = 0; i < rank; i++) {
        if (kernel[i] < 1 || kernel[i] > LIMIT_TENSOR_DIMENSION) {
            *reason = "the window must be at least one pixel on every axis";
            return false;
        }
        w->in[i] = in[i];
        w->kernel[i] = kernel[i];
    }
    return true;
}

bool window_from_node(const graph_node *node, int rank, const int64_t *in, const int64_t *kernel,
                      bool ceil_mode, window *w, const char **reason)
{
    return read_attributes(node, rank, in, kernel, w, reason) && read_pads(node, w, reason) &&
           find_out(w, ceil_mode, reason);
}

/* Padding that gives the wanted size; the odd pixel at the end for SAME_UPPER. */
static void pad_to(window *w, int i, int64_t full, int64_t wanted, bool at_end)
{
    int64_t total = full > wanted ? full - wanted : 0;

    w->pad_begin[i] = at_end ? total / 2 : total - total / 2;
    w->pad_end[i] = total - w->pad_begin[i];
    w->out[i] = wanted;
}

bool window_transposed_from_node(const graph_node *node, int rank, const int64_t *in,
                                 const int64_t *kernel, window *w, const char **reason)
{
    const char *mode = graph_attribute_string(node, "auto_pad", "NOTSET");
    bool upper = strcmp(mode, "SAME_UPPER") == 0;
    bool same = upper || strcmp(mode, "SAME_LOWER") == 0;
    int64_t more[WINDOW_MOST_AXES];
    int64_t wanted[WINDOW_MOST_AXES];

    if (!read_attributes(node, rank, in, kernel, w, reason)) {
        return false;
    }
    if (!read_numbers(node, "output_padding", rank, 0, 0, more) ||
        !read_numbers(node, "output_shape", rank, 0, -1, wanted)) {
        *reason = "output_padding and output_shape must be one number per spatial axis";
        return false;
    }
    if (!same && !read_pads(node, w, reason)) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        int64_t full = (in[i] - 1) * w->stride[i] + extent(w, i) + more[i];

        w->out[i] = -1;
        if (in[i] < 0) {
            continue;
        }
        if (in[i] == 0) {
            w->out[i] = wanted[i] >= 0 ? wanted[i] : 0;
        } else if (wanted[i] >= 0 || same) {
            pad_to(w, i, full, wanted[i] >= 0 ? wanted[i] : in[i] * w->stride[i], upper);
        } else {
            w->out[i] = full - w->pad_begin[i] - w->pad_end[i];
        }
        if (w->out[i] < 0) {
            *reason = "padding is larger than the result";
            return false;
        }
    }
    return true;
}
