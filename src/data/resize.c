/* Separable resampling: first along rows, then along columns, each by a table of weights per output
 * position. Weights are rounded to 22 bits and sums are exact integers, so the order of additions
 * and the instruction set cannot matter. */
#include "data/resize.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

enum { WEIGHT_BITS = 22 };

/* Weights of one axis: output i is the sum over k < count[i] of input[first[i] + k] x
 * weight[i * most + k]. */
typedef struct axis {
    int64_t size;
    int64_t most;
    int64_t *first;
    int64_t *count;
    int32_t *weight;
} axis;

static double bilinear(double x)
{
    double distance = fabs(x);

    return distance < 1.0 ? 1.0 - distance : 0.0;
}

/* Keys' cubic convolution with a = -0.5 (IEEE Trans. ASSP 29, 1981). */
static double bicubic(double x)
{
    const double a = -0.5;
    double d = fabs(x);

    if (d < 1.0) {
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    }
    return d < 2.0 ? (((d - 5.0) * d + 8.0) * d - 4.0) * a : 0.0;
}

static void axis_fini(const spry_allocator *allocator, axis *a)
{
    alloc_release(allocator, a->first, (size_t)a->size * sizeof *a->first);
    alloc_release(allocator, a->count, (size_t)a->size * sizeof *a->count);
    alloc_release(allocator, a->weight, (size_t)(a->size * a->most) * sizeof *a->weight);
}

/* Normalised weights of one output position, rounded half away from zero. */
static void fill_weights(axis *a, int64_t i, double centre, double stretch, bool cubic)
{
    int32_t *weight = a->weight + i * a->most;
    double sum = 0.0;

    for (int64_t k = 0; k < a->count[i]; k++) {
        double x = ((double)(k + a->first[i]) - centre + 0.5) / stretch;

        sum += cubic ? bicubic(x) : bilinear(x);
    }
    for (int64_t k = 0; k < a->count[i]; k++) {
        double x = ((double)(k + a->first[i]) - centre + 0.5) / stretch;
        double w = (cubic ? bicubic(x) : bilinear(x)) / (sum != 0.0 ? sum : 1.0);

        weight[k] = (int32_t)(w * (1 << WEIGHT_BITS) + (w < 0.0 ? -0.5 : 0.5));
    }
}

static spry_status axis_init(const spry_allocator *allocator, int64_t from, int64_t to, bool cubic,
                             axis *a, spry_error *error)
{
    double scale = (double)from / (double)to;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = (cubic ? 2.0 : 1.0) * stretch;
    size_t cells;

    *a = (axis){.size = to, .most = (int64_t)ceil(support) * 2 + 1};
    if (!checked_mul((size_t)to, (size_t)a->most, &cells)) {
        return alloc_failed(error, SIZE_MAX);
    }
    a->first = alloc_array(allocator, (size_t)to, sizeof *a->first);
    a->count = alloc_array(allocator, (size_t)to, sizeof *a->count);
    a->weight = alloc_array(allocator, cells, sizeof *a->weight);
    if (a->first == NULL || a->count == NULL || a->weight == NULL) {
        axis_fini(allocator, a);
        return alloc_failed(error, cells * sizeof *a->weight);
    }
    for (int64_t i = 0; i < to; i++) {
        double centre = ((double)i + 0.5) * scale;
        int64_t first = (int64_t)(centre - support + 0.5);
        int64_t end = (int64_t)(centre + support + 0.5);

        first = centre - support + 0.5 < 0.0 ? 0 : first;
        end = end > from ? from : end;
        a->first[i] = first;
        a->count[i] = end - first;
        fill_weights(a, i, centre, stretch, cubic);
    }
    return SPRY_OK;
}

/* Sum of weighted samples `step` bytes apart, rounded and clamped to a pixel. */
static uint8_t mix(const uint8_t *from, int64_t step, const int32_t *weight, int64_t count)
{
    int32_t sum = 1 << (WEIGHT_BITS - 1);

    for (int64_t k = 0; k < count; k++) {
        sum += from[k * step] * weight[k];
    }
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void resample_rows(const resize_picture *from, const resize_picture *to, const axis *a)
{
    int64_t channels = from->channels;

    for (int64_t y = 0; y < to->height; y++) {
        const uint8_t *row = from->data + y * from->stride;
        uint8_t *out = to->data + y * to->stride;

        for (int64_t x = 0; x < to->width; x++) {
            const uint8_t *start = row + a->first[x] * channels;

            for (int64_t c = 0; c < channels; c++) {
                *out++ = mix(start + c, channels, a->weight + x * a->most, a->count[x]);
            }
        }
    }
}

static void resample_columns(const resize_picture *from, const resize_picture *to, const axis *a)
{
    int64_t bytes = to->width * to->channels;

    for (int64_t y = 0; y < to->height; y++) {
        const uint8_t *start = from->data + a->first[y] * from->stride;
        uint8_t *out = to->data + y * to->stride;

        for (int64_t i = 0; i < bytes; i++) {
            out[i] = mix(start + i, from->stride, a->weight + y * a->most, a->count[y]);
        }
    }
}

static void copy_rows(const resize_picture *from, const resize_picture *to)
{
    for (int64_t y = 0; y < to->height; y++) {
        memcpy(to->data + y * to->stride, from->data + y * from->stride,
               (size_t)(to->width * to->channels));
    }
}

/* The input position that holds the centre of output position `i`, in whole numbers. */
static int64_t nearest_position(int64_t i, int64_t from, int64_t to)
{
    return (2 * i + 1) * from / (2 * to);
}

static void take_nearest(const resize_picture *from, const resize_picture *to)
{
    for (int64_t y = 0; y < to->height; y++) {
        const uint8_t *row =
            from->data + nearest_position(y, from->height, to->height) * from->stride;
        uint8_t *out = to->data + y * to->stride;

        for (int64_t x = 0; x < to->width; x++) {
            memcpy(out, row + nearest_position(x, from->width, to->width) * from->channels,
                   (size_t)from->channels);
            out += from->channels;
        }
    }
}

static spry_status resize_width(const spry_allocator *allocator, const resize_picture *from,
                                const resize_picture *to, bool cubic, spry_error *error)
{
    axis columns;
    spry_status status;

    if (from->width == to->width) {
        copy_rows(from, to);
        return SPRY_OK;
    }
    status = axis_init(allocator, from->width, to->width, cubic, &columns, error);
    if (status == SPRY_OK) {
        resample_rows(from, to, &columns);
        axis_fini(allocator, &columns);
    }
    return status;
}

spry_status resize_u8(const spry_allocator *allocator, const resize_picture *from,
                      const resize_picture *to, spry_resize_method method, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    bool cubic = method == SPRY_RESIZE_BICUBIC;
    resize_picture middle = *to;
    axis rows;
    size_t bytes;
    spry_status status;

    if (method == SPRY_RESIZE_NEAREST) {
        take_nearest(from, to);
        return SPRY_OK;
    }
    if (from->height == to->height) {
        return resize_width(&resolved, from, to, cubic, error);
    }
    middle.height = from->height;
    middle.stride = to->width * to->channels;
    bytes = (size_t)(middle.height * middle.stride);
    middle.data = alloc_bytes(&resolved, bytes);
    if (middle.data == NULL) {
        return alloc_failed(error, bytes);
    }
    status = resize_width(&resolved, from, &middle, cubic, error);
    if (status == SPRY_OK) {
        status = axis_init(&resolved, from->height, to->height, cubic, &rows, error);
    }
    if (status == SPRY_OK) {
        resample_columns(&middle, to, &rows);
        axis_fini(&resolved, &rows);
    }
    alloc_release(&resolved, middle.data, bytes);
    return status;
}
