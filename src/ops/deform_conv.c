/* DeformConv over images: a convolution whose every tap reads the input at a place of its own,
 * between pixels (arXiv 1703.06211; with a mask, arXiv 1811.11168). Outside the image is zero. */
#include <math.h>
#include <string.h>

#include "ops/conv.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/whole.h"
#include "tensor/convert.h"

enum { IN_X, IN_WEIGHTS, IN_OFFSET, IN_BIAS, IN_MASK };

typedef struct deform {
    conv c;
    int64_t offset_groups, image_channels;
    const double *offset; /* [image][group][tap][y, x][out_size] */
    const double *mask;   /* [image][group][tap][out_size]; NULL: ones */
} deform;

static double pixel(const window *w, const double *plane, int64_t y, int64_t x)
{
    return y >= 0 && y < w->in[0] && x >= 0 && x < w->in[1] ? plane[y * w->in[1] + x] : 0.0;
}

/* Bilinear between the four pixels around (y, x). */
static double sample(const window *w, const double *plane, double y, double x)
{
    double top = floor(y);
    double left = floor(x);
    double down = y - top;
    double right = x - left;
    int64_t i;
    int64_t j;

    if (!(y > -1.0 && x > -1.0 && y < (double)w->in[0] && x < (double)w->in[1])) {
        return 0.0;
    }
    i = (int64_t)top;
    j = (int64_t)left;
    return (1.0 - down) *
               ((1.0 - right) * pixel(w, plane, i, j) + right * pixel(w, plane, i, j + 1)) +
           down *
               ((1.0 - right) * pixel(w, plane, i + 1, j) + right * pixel(w, plane, i + 1, j + 1));
}

/* Adds one tap of one input channel to the output plane. */
static void add_tap(const deform *d, const double *plane, int64_t shift, int64_t tap, double weight,
                    double *out)
{
    const window *w = &d->c.w;
    int64_t size = d->c.out_size;
    const double *dy = d->offset + (shift * d->c.taps + tap) * 2 * size;
    const double *mask = d->mask != NULL ? d->mask + (shift * d->c.taps + tap) * size : NULL;
    int64_t row = tap / w->kernel[1] * w->dilation[0] - w->pad_begin[0];
    int64_t column = tap % w->kernel[1] * w->dilation[1] - w->pad_begin[1];

    for (int64_t i = 0; i < size; i++) {
        double y = (double)(i / w->out[1] * w->stride[0] + row) + dy[i];
        double x = (double)(i % w->out[1] * w->stride[1] + column) + dy[size + i];

        out[i] += weight * sample(w, plane, y, x) * (mask != NULL ? mask[i] : 1.0);
    }
}

static void run_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const deform *d = context;
    const conv *c = &d->c;
    double *out = c->planes + worker * c->out_size;

    for (int64_t p = begin; p < end; p++) {
        int64_t channel = p % (c->groups * c->rows);
        int64_t image = p / (c->groups * c->rows);
        int64_t first = channel / c->rows * c->channels;

        for (int64_t i = 0; i < c->out_size; i++) {
            out[i] = c->bias != NULL ? c->bias[channel] : 0.0;
        }
        for (int64_t k = 0; k < c->channels * c->taps; k++) {
            int64_t from = first + k / c->taps;
            int64_t group = from / (d->image_channels / d->offset_groups);

            add_tap(d, c->x + (image * d->image_channels + from) * c->in_size,
                    image * d->offset_groups + group, k % c->taps,
                    c->weights[channel * c->channels * c->taps + k], out);
        }
        convert_write_f64(c->y, p * c->out_size, c->out_size, out);
    }
}

/* A tensor of one number per image, group, tap (and coordinate) and output pixel. */
static bool field_fits(const deform *d, const tensor *t, int64_t images, int64_t each)
{
    return t->rank == 4 && t->shape[0] == images &&
           t->shape[1] == d->offset_groups * d->c.taps * each && t->shape[2] == d->c.w.out[0] &&
           t->shape[3] == d->c.w.out[1];
}

static spry_status check_fields(op_call *call, deform *d)
{
    const tensor *x = op_call_input(call, IN_X);
    const tensor *offset = op_call_input(call, IN_OFFSET);
    const tensor *mask = op_call_input(call, IN_MASK);

    d->offset_groups = graph_attribute_int(call->node, "offset_group", 1);
    d->image_channels = x->shape[1];
    if (x->rank != 4) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "only images (two spatial axes) can deform");
    }
    if (d->offset_groups < 1 || d->image_channels % d->offset_groups != 0 ||
        d->image_channels < 1 || offset == NULL || !field_fits(d, offset, x->shape[0], 2) ||
        (mask != NULL && !field_fits(d, mask, x->shape[0], 1))) {
        return op_call_fail(call, SPRY_BAD_INPUT, "offsets or mask do not fit the result");
    }
    return SPRY_OK;
}

static spry_status run_deform(op_call *call)
{
    const tensor *x = op_call_input(call, IN_X);
    deform d = {.mask = NULL};
    const double **to[] = {&d.c.x, &d.c.weights, &d.offset, &d.c.bias, &d.mask};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    void *memory = NULL;
    spry_status status = conv_init(call, x, op_call_input(call, IN_WEIGHTS),
                                   op_call_input(call, IN_BIAS), &d.c, shape);

    if (status == SPRY_OK) {
        status = check_fields(call, &d);
    }
    if (status == SPRY_OK) {
        status = op_call_output(call, 0, x->dtype, x->rank, shape, &d.c.y);
    }
    if (status != SPRY_OK || d.c.y == NULL || tensor_count(d.c.y) == 0) {
        return status;
    }
    d.c.out_size = tensor_span(d.c.y, 2, 4);
    for (int i = 0; i < 5 && status == SPRY_OK; i++) {
        status = whole_f64(call, op_call_input(call, i), to[i]);
    }
    if (status == SPRY_OK) {
        status = whole_room(call, d.c.out_size, threads_count(call->team), sizeof(double), &memory);
    }
    if (status == SPRY_OK) {
        d.c.planes = memory;
        threads_for(call->team, shape[0] * shape[1], 1, run_planes, &d);
    }
    return status;
}

static spry_status infer_deform(op_shapes *s)
{
    return conv_infer(s, IN_WEIGHTS, operand_dtype(s, IN_X));
}

static void deform_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *weights = w->inputs[IN_WEIGHTS];
    int64_t rows = weights->dims[0].size;

    *macs = rows > 0 ? op_work_count(w->outputs[0]) * (op_work_count(weights) / rows) : 0;
    *flops = 10 * *macs; /* a weight for each of four pixels, and their sum */
}

/* clang-format off */
const op ops_deform_conv[] = {
    {.name = "DeformConv", .domain = "", .since = 19, .min_inputs = 3, .max_inputs = 5,
     .min_outputs = 1, .max_outputs = 1,
     .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS, OP_FLOATS, OP_FLOATS},
     .infer = infer_deform, .run = run_deform, .cost = deform_cost},
    {.name = NULL},
};
/* clang-format on */
