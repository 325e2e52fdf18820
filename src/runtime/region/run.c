/* Runs a region: what each mask wants of each layer, then the layers, then the pixels that no layer
 * touches. Everything is decided by the mask alone, never by the number of threads. */
#include <math.h>
#include <string.h>

#include "kernels/elementwise/elementwise_f32.h"
#include "kernels/elementwise/linear_s8.h"
#include "runtime/provider/providers.h"
#include "runtime/region/state.h"
#include "tensor/quantize.h"

typedef struct region_pass {
    region_state *s;
    op_call *call;
    char *room; /* the workspace */
    const char *x;
    const char *shortcut; /* or NULL */
    char *y;
    region_bytes bytes;
    const region_winograd *winograd[REGION_MOST_LAYERS]; /* how layers are done; NULL: directly */
    uint8_t *masks[REGION_MOST_LAYERS];
} region_pass;

/* ---- masks ---- */

static bool is_one(const tensor *mask, int64_t i)
{
    return mask->dtype == SPRY_DTYPE_F32 ? ((const float *)mask->data)[i] != 0.0f
                                         : ((const uint8_t *)mask->data)[i] != 0;
}

/* The mask of the result, from the input's. */
static void read_mask(const region_pass *p, uint8_t *to)
{
    const region_state *s = p->s;
    const conv_f32_shape *y = region_result(s);
    const tensor *mask = op_call_input(p->call, REGION_MASK);
    const int32_t *columns = s->from + y->out_h;

    for (int64_t image = 0; image < s->batch; image++) {
        int64_t first = s->mask_images == 1 ? 0 : image * s->mask_rows;

        for (int64_t row = 0; row < y->out_h; row++, to += y->out_w) {
            int64_t from = (first + s->from[row]) * s->mask_columns;

            if (row > 0 && s->from[row] == s->from[row - 1]) {
                memcpy(to, to - y->out_w, (size_t)y->out_w);
                continue;
            }
            for (int64_t i = 0; i < y->out_w; i++) {
                to[i] = is_one(mask, from + columns[i]);
            }
        }
    }
}

/* When nearly all pixels are wanted, all are: that costs less than going around the others. */
static void round_up(uint8_t *mask, int64_t n)
{
    enum { PARTS = 16 };

    if (pixel_list_count(mask, n) > n / PARTS * (PARTS - 1)) {
        memset(mask, 1, (size_t)n);
    }
}

/* Chooses how layer i makes what its mask wants, and says what of its input that takes. Winograd's
 * tiles are computed whole, so the layer before may have more to do for them. */
static void choose_way(region_pass *p, int i)
{
    region_state *s = p->s;
    const region_layer *l = &s->layers[i];
    const conv_f32_shape *shape = &l->shape;
    int64_t inputs = s->batch * shape->in_h * shape->in_w;
    uint8_t *before = i > 0 ? p->masks[i - 1] : (uint8_t *)p->room + s->x_mask;
    uint8_t *covered = (uint8_t *)p->room + s->covered;
    uint8_t *reached = (uint8_t *)p->room + s->reached;
    int32_t *tiles = (int32_t *)(void *)(p->room + s->winograd_tiles);
    double of_before = i > 0 ? s->layers[i - 1].listed.pixel_cost : 0;
    double least = 0;

    p->winograd[i] = NULL;
    if (i == 0 && l->in.bytes == 0) {
        return; /* all of x is there */
    }
    pixel_list_dilate(shape, s->batch, p->masks[i], before);
    if (l->winograd_count > 0) {
        int64_t pixels = s->batch * shape->out_h * shape->out_w;

        least = l->listed.pixel_cost * (double)pixel_list_count(p->masks[i], pixels) +
                of_before * (double)pixel_list_count(before, inputs);
    }
    for (int k = 0; k < l->winograd_count; k++) {
        const conv_winograd *plan = &l->winograd[k].plan;
        double cost = plan->predicted_cost / (double)plan->tiles *
                      (double)conv_winograd_list(plan, p->masks[i], tiles, covered);

        if (cost >= least) {
            continue;
        }
        pixel_list_dilate(shape, s->batch, covered, reached);
        cost += of_before * (double)pixel_list_count(reached, inputs);
        if (cost < least) {
            least = cost;
            p->winograd[i] = &l->winograd[k];
            memcpy(before, reached, (size_t)inputs);
        }
    }
    if (i > 0) {
        round_up(before, inputs);
    }
}

/* ---- images between layers ---- */

/* Are the numbers that layer i reads bf16 in memory? What Winograd's method reads and writes is
 * f32. */
static bool is_narrow(const region_pass *p, int i)
{
    const region_layer *l = &p->s->layers[i];

    return l->listed.dense.problem.type == BRGEMM_BF16 && p->winograd[i] == NULL &&
           l->in.bytes > 0 && (i == 0 || p->winograd[i - 1] == NULL);
}

static int64_t size_of(const region_pass *p, int i)
{
    return p->s->layers[i].is_integer ? 1 : is_narrow(p, i) ? 2 : (int64_t)sizeof(float);
}

/* What layer i reads, from the first byte of padding on. */
static conv_listed_image image_of(const region_pass *p, int i)
{
    const region_layer *l = &p->s->layers[i];
    int64_t pixel = size_of(p, i) * l->listed.dense.problem.groups * l->shape.channels;

    if (l->in.bytes == 0) {
        return (conv_listed_image){(char *)p->x, pixel, l->shape.in_w * pixel,
                                   l->shape.in_h * l->shape.in_w * pixel};
    }
    return (conv_listed_image){p->room + l->in.offset, pixel, l->in.columns * pixel,
                               l->in.rows * l->in.columns * pixel};
}

/* The same without the padding: pixel (0, 0) of the image. */
static conv_listed_image inner_of(const region_pass *p, int i)
{
    conv_listed_image m = image_of(p, i);

    if (p->s->layers[i].in.bytes > 0) {
        m.data += p->s->layers[i].in.top * m.row + p->s->layers[i].in.left * m.pixel;
    }
    return m;
}

/* Where layer i writes. */
static conv_listed_image target_of(const region_pass *p, int i)
{
    const region_state *s = p->s;
    const conv_f32_shape *y = region_result(s);
    int64_t pixel = s->channels * (s->is_bytes ? 1 : (int64_t)sizeof(float));

    if (i + 1 < s->layer_count) {
        return inner_of(p, i + 1);
    }
    return (conv_listed_image){p->y, pixel, y->out_w * pixel, y->out_h * y->out_w * pixel};
}

/* The call of an integer layer's own node. */
static op_call call_of(const region_pass *p, int i)
{
    const region_layer *l = &p->s->layers[i];
    op_call c = *p->call;

    c.node = &l->view.node;
    c.inputs = p->call->inputs + l->first_port;
    c.input_count = l->view.node.input_count;
    return c;
}

/* Fills the padding around all images that layer i reads. */
static void pad_image(const region_pass *p, int i)
{
    const region_layer *l = &p->s->layers[i];
    const region_image *in = &l->in;
    conv_listed_image m = image_of(p, i);
    int64_t left = in->left * m.pixel;
    int64_t right = (in->left + l->shape.in_w) * m.pixel;
    uint8_t zero = 0;

    if (l->is_integer) {
        op_call c = call_of(p, i);

        zero = (uint8_t)integer_zero(&l->integer, &c);
    }
    if (in->bytes == 0 || (in->rows == l->shape.in_h && in->columns == l->shape.in_w)) {
        return;
    }
    for (int64_t row = 0; row < p->s->batch * in->rows; row++) {
        char *line = m.data + row * m.row;
        int64_t at = row % in->rows - in->top;

        if (at < 0 || at >= l->shape.in_h) {
            memset(line, zero, (size_t)m.row);
        } else {
            memset(line, zero, (size_t)left);
            memset(line + right, zero, (size_t)(m.row - right));
        }
    }
}

/* Copies lines [begin, end) of what the first layer reads of x. */
static void copy_lines(void *context, int64_t begin, int64_t end, int worker)
{
    const region_pass *p = context;
    const region_layer *l = &p->s->layers[0];
    conv_listed_image m = inner_of(p, 0);
    int64_t channels = l->in.channels;
    int64_t pixel = channels * (l->is_integer ? 1 : (int64_t)sizeof(float));
    int64_t width = l->shape.in_w;

    (void)worker;
    for (int64_t line = begin; line < end; line++) {
        const uint8_t *mask = (const uint8_t *)p->room + p->s->x_mask + line * width;
        char *to = m.data + line / l->shape.in_h * m.image + line % l->shape.in_h * m.row;
        const char *from = p->x + line * width * pixel;

        for (int64_t i = 0; i < width;) {
            int64_t count = 1;

            while (i + count < width && mask[i + count] == mask[i]) {
                count++;
            }
            if (mask[i] != 0 && is_narrow(p, 0)) {
                l->listed.dense.narrow((uint16_t *)(void *)(to + i * m.pixel),
                                       (const float *)(const void *)(from + i * pixel),
                                       count * channels);
            } else if (mask[i] != 0) {
                memcpy(to + i * m.pixel, from + i * pixel, (size_t)(count * pixel));
            }
            i += count;
        }
    }
}

/* ---- what happens to results ---- */

static void put_narrow(const conv_listed_call *call, pixel_spot at, int64_t count, int64_t channel,
                       int64_t columns, const char *from)
{
    const region_layer *l = call->context;
    char *to = conv_listed_target(call, at) + channel * (int64_t)sizeof(uint16_t);

    for (int64_t i = 0; i < count; i++) {
        l->listed.dense.narrow((uint16_t *)(void *)(to + i * call->y.pixel),
                               (const float *)(const void *)from + i * columns, columns);
    }
}

/* Adds the shortcut. */
static void put_sums(const conv_listed_call *call, pixel_spot at, int64_t count, int64_t channel,
                     int64_t columns, const char *from)
{
    const region_bytes *b = call->context;
    const uint8_t *bytes = (const uint8_t *)from;
    int64_t all = b->s->channels;
    int64_t first = (at.line * call->width + at.column) * all + channel;
    bool is_whole = columns == all; /* pixels follow each other */
    int64_t runs = is_whole ? 1 : count;
    int64_t length = is_whole ? count * all : columns;

    for (int64_t i = 0; i < runs; i++, first += all, bytes += length) {
        b->kernel->add(b->y + first, bytes, b->grid, b->other + first, b->other_grid, length,
                       b->y_scale, b->y_target);
    }
}

static linear_s8_grid grid_at(const op_call *call, int port, spry_dtype dtype)
{
    return (linear_s8_grid){(float)op_call_scalar(call, port, 1.0),
                            (int32_t)op_call_scalar(call, port + 1, 0.0), dtype == SPRY_DTYPE_I8};
}

static void set_bytes(region_pass *p, spry_dtype dtype)
{
    region_bytes *b = &p->bytes;
    const op_call *call = p->call;
    const tensor *other = op_call_input(call, REGION_SHORTCUT);
    linear_s8_grid y;
    quantize_target whole;

    b->s = p->s;
    b->kernel = linear_s8_select();
    b->grid = grid_at(call, REGION_SCALE, dtype);
    b->y = (uint8_t *)p->y;
    if (other == NULL) {
        return;
    }
    b->other = other->data;
    b->other_grid = grid_at(call, REGION_SHORTCUT_SCALE, other->dtype);
    y = grid_at(call, REGION_Y_SCALE, dtype);
    b->y_scale = y.scale;
    whole = quantize_target_of(dtype, y.zero);
    b->y_target = whole;
    if (p->s->lower > -INFINITY) {
        b->y_target.low = quantize_f32(p->s->lower, y.scale, whole);
    }
    if (p->s->upper < INFINITY) {
        b->y_target.high = quantize_f32(p->s->upper, y.scale, whole);
    }
}

/* ---- layers ---- */

/* The last layer's sum with the shortcut and its clamp. */
static void set_end(const region_pass *p, brgemm_finish *f)
{
    const region_state *s = p->s;

    if (s->is_bytes || !s->has_shortcut) {
        return;
    }
    f->residual = (const float *)(const void *)p->shortcut;
    f->lower = s->lower;
    f->upper = s->upper;
}

static brgemm_finish finish_of(const region_pass *p, int i)
{
    const region_layer *l = &p->s->layers[i];
    brgemm_finish f = l->finish;

    if (l->is_integer) {
        op_call c = call_of(p, i);

        f = integer_channel_finish(&l->integer, &c, &l->channels, p->room + l->room);
    }
    if (i + 1 == p->s->layer_count) {
        set_end(p, &f);
    }
    return f;
}

static void run_winograd(region_pass *p, int i)
{
    region_state *s = p->s;
    const region_layer *l = &s->layers[i];
    conv_listed_image x = image_of(p, i);
    conv_listed_image y = target_of(p, i);
    conv_winograd plan = p->winograd[i]->plan;
    int32_t *tiles = (int32_t *)(void *)(p->room + s->winograd_tiles);
    bool is_last = i + 1 == s->layer_count;
    conv_winograd_call c = {.c = &plan,
                            .x = (const float *)(const void *)x.data,
                            .packed = p->winograd[i]->packed.data,
                            .y = (float *)(void *)y.data,
                            .y_pitch = y.pixel,
                            .y_row = y.row,
                            .y_image = y.image,
                            .finish = finish_of(p, i),
                            .workspace = p->room + s->own,
                            .listed = tiles,
                            .wanted = is_last ? p->masks[i] : NULL};

    c.listed_count = conv_winograd_list(&plan, p->masks[i], tiles, NULL);
    plan.problem.shape.in_h = l->in.rows; /* the image with its padding */
    plan.problem.shape.in_w = l->in.columns;
    plan.problem.shape.pad_h = plan.problem.shape.pad_w = 0;
    threads_for(p->call->team, conv_winograd_listed_pieces(&c), 1, conv_winograd_run, &c);
}

static void run_direct(region_pass *p, int i)
{
    region_state *s = p->s;
    const region_layer *l = &s->layers[i];
    const conv_f32_shape *shape = &l->shape;
    bool is_last = i + 1 == s->layer_count;
    int64_t lines = s->batch * shape->out_h;
    pixel_tiling tiling = l->listed.tiling;
    pixel_list list = {.tiles = (pixel_tile *)(void *)(p->room + s->tiles),
                       .spots = (pixel_spot *)(void *)(p->room + s->spots)};
    conv_listed_call c = {.c = &l->listed,
                          .list = &list,
                          .x = image_of(p, i),
                          .is_wide =
                              l->listed.dense.problem.type == BRGEMM_BF16 && !is_narrow(p, i),
                          .is_tight = l->in.bytes == 0,
                          .flip = l->is_integer ? l->integer.x_flip : 0,
                          .packed = l->packed.data,
                          .y = target_of(p, i),
                          .width = l->is_flat ? lines * shape->out_w : shape->out_w,
                          .finish = finish_of(p, i),
                          .workers = threads_count(p->call->team),
                          .workspace = p->room + s->own};

    if (is_last && s->is_bytes && s->has_shortcut) {
        c.put = put_sums;
        c.context = &p->bytes;
    } else if (!is_last && is_narrow(p, i + 1)) {
        c.put = put_narrow;
        c.context = &s->layers[i + 1];
    }
    if (!l->is_integer && c.put != NULL && shape->kernel_h * shape->kernel_w == 1) {
        /* Results are copied anyway, and pixels are small beside them: only full tiles. */
        tiling.least_run = INT32_MAX;
    }
    pixel_list_build(p->masks[i], l->is_flat ? 1 : lines, c.width, &tiling, &list);
    threads_for(p->call->team, conv_listed_pieces(&c), 1, conv_listed_run, &c);
}

static void run_layers(region_pass *p)
{
    const region_layer *first = &p->s->layers[0];

    for (int i = 0; i < p->s->layer_count; i++) {
        pad_image(p, i);
    }
    if (first->in.bytes > 0) {
        threads_for(p->call->team, p->s->batch * first->shape.in_h, 8, copy_lines, p);
    }
    for (int i = 0; i < p->s->layer_count; i++) {
        if (p->winograd[i] != NULL) {
            run_winograd(p, i);
        } else {
            run_direct(p, i);
        }
    }
}

/* ---- pixels without a sum ---- */

static void fill_bytes(const region_bytes *b, int64_t first, int64_t n)
{
    if (b->other == NULL) {
        memset(b->y + first, (uint8_t)b->grid.zero, (size_t)n);
    } else {
        b->kernel->look_up(b->y + first, b->other + first, n, b->table);
    }
}

static void fill_floats(const region_pass *p, int64_t first, int64_t n)
{
    const float *shortcut = (const float *)(const void *)p->shortcut;
    float *y = (float *)(void *)p->y;

    if (shortcut == NULL) {
        memset(y + first, 0, (size_t)n * sizeof *y);
    } else if (!p->s->keeps) {
        elementwise_f32_select()->clamp(y + first, shortcut + first, n, p->s->lower, p->s->upper);
    } else if (y != shortcut) {
        memcpy(y + first, shortcut + first, (size_t)n * sizeof *y);
    }
}

/* Lines [begin, end) of the result. */
static void fill_lines(void *context, int64_t begin, int64_t end, int worker)
{
    const region_pass *p = context;
    const region_state *s = p->s;
    int64_t width = region_result(s)->out_w;
    const uint8_t *mask = p->masks[s->layer_count - 1];

    (void)worker;
    for (int64_t i = begin * width; i < end * width;) {
        const uint8_t *one = mask[i] != 0 ? NULL : memchr(mask + i, 1, (size_t)(end * width - i));
        const uint8_t *zero = mask[i] != 0 ? memchr(mask + i, 0, (size_t)(end * width - i)) : NULL;
        int64_t next = one != NULL ? one - mask : zero != NULL ? zero - mask : end * width;

        if (mask[i] == 0 && s->is_bytes) {
            fill_bytes(&p->bytes, i * s->channels, (next - i) * s->channels);
        } else if (mask[i] == 0) {
            fill_floats(p, i * s->channels, (next - i) * s->channels);
        }
        i = next;
    }
}

/* What the sum makes of the byte for nothing and each byte of the shortcut. */
static void set_table(region_bytes *b)
{
    uint8_t zeros[256];

    for (int i = 0; i < 256; i++) {
        b->table[i] = (uint8_t)i;
        zeros[i] = (uint8_t)b->grid.zero;
    }
    if (b->other != NULL) {
        b->kernel->add(b->table, zeros, b->grid, b->table, b->other_grid, 256, b->y_scale,
                       b->y_target);
    }
}

/* ---- the run ---- */

spry_status region_run(region_state *s, op_call *call, void *workspace)
{
    const conv_f32_shape *shape = region_result(s);
    spry_dtype dtype = call->g->values[call->node->outputs[0]].type.dtype;
    region_pass p = {.s = s, .call = call, .room = workspace};
    const tensor *shortcut = op_call_input(call, REGION_SHORTCUT);
    int last = s->layer_count - 1;
    int64_t pixels = s->batch * shape->out_h * shape->out_w;
    int64_t wanted;
    tensor *y;
    spry_status status = provider_output(call, dtype, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    p.x = op_call_input(call, REGION_X)->data;
    p.shortcut = shortcut != NULL ? shortcut->data : NULL;
    p.y = y->data;
    for (int i = 0; i <= last; i++) {
        p.masks[i] = (uint8_t *)p.room + s->layers[i].mask;
    }
    read_mask(&p, p.masks[last]);
    wanted = pixel_list_count(p.masks[last], pixels);
    s->density = (double)wanted / (double)pixels;
    if (s->is_bytes) {
        set_bytes(&p, dtype);
        set_table(&p.bytes);
    }
    if (wanted > 0) {
        for (int i = last; i >= 0; i--) {
            choose_way(&p, i);
        }
        run_layers(&p);
    }
    if (wanted < pixels) {
        threads_for(call->team, s->batch * shape->out_h, 8, fill_lines, &p);
    }
    return SPRY_OK;
}
