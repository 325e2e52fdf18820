/* What ways can do, the packing of weights, and the pieces of work. */
#include "kernels/conv/conv_nhwc.h"

#include "kernels/conv/conv_nhwc_parts.h"

static const char *const way_names[CONV_NHWC_WAYS] = {
    [CONV_NHWC_AUTO] = "auto",         [CONV_NHWC_ROW] = "row",
    [CONV_NHWC_FLAT] = "flat",         [CONV_NHWC_PHASE] = "phase",
    [CONV_NHWC_KWMERGE] = "kwmerge",   [CONV_NHWC_WHMERGE] = "whmerge",
    [CONV_NHWC_COMPACT] = "compact",   [CONV_NHWC_PANEL] = "panel",
    [CONV_NHWC_INDIRECT] = "indirect", [CONV_NHWC_EXPLICIT] = "explicit",
};

const char *conv_nhwc_way_name(conv_nhwc_way way)
{
    return (unsigned)way < CONV_NHWC_WAYS ? way_names[way] : "unknown";
}

bool conv_nhwc_can(const conv_nhwc_problem *p, conv_nhwc_way way)
{
    enum { FEW_CHANNELS = 16 };
    const conv_f32_shape *s = &p->shape;
    bool is_narrow = p->type == BRGEMM_BF16;

    if (p->input_is_planar && (p->groups != 1 || p->type == BRGEMM_S8)) {
        return false;
    }
    switch (way) {
    case CONV_NHWC_ROW:
    case CONV_NHWC_PANEL:
    case CONV_NHWC_EXPLICIT: return true;
    case CONV_NHWC_FLAT: return s->stride_h == 1 && s->stride_w == 1;
    case CONV_NHWC_PHASE: return s->stride_h > 1 || s->stride_w > 1;
    case CONV_NHWC_KWMERGE: /* two bf16 at a time must not reach into the next pixel */
        return s->dilation_w == 1 && !(is_narrow && s->kernel_w * s->channels % 2 != 0);
    case CONV_NHWC_WHMERGE: return s->channels <= FEW_CHANNELS;
    case CONV_NHWC_COMPACT: return s->kernel_h == 1 && s->kernel_w == 1;
    case CONV_NHWC_INDIRECT:
        return !p->input_is_planar && !is_narrow && (p->type == BRGEMM_F32 || s->channels % 4 == 0);
    default: return false;
    }
}

void conv_nhwc_pack(const conv_nhwc *c, const void *weights, uint8_t flip, void *packed)
{
    const conv_f32_shape *s = &c->shape;
    int64_t positions = s->kernel_h * s->kernel_w;
    int64_t filter_size = positions * s->channels;
    int64_t per_group = filter_size * c->problem.filters;
    int64_t group_bytes = c->panel_bytes * conv_nhwc_pieces(c->problem.filters, c->kernel->nr);
    brgemm_source source = {.tap_stride = positions / c->taps, /* taps are positions or rows */
                            .k_stride = positions,
                            .column_stride = filter_size,
                            .flip = flip,
                            .k_inner = s->channels,
                            .k_outer_stride = 1};

    for (int64_t group = 0; group < c->problem.groups; group++) {
        source.data = (const char *)weights + group * per_group * conv_nhwc_x_size(c->problem.type);
        brgemm_pack(c->kernel, &source, c->taps, c->k, c->problem.filters,
                    (char *)packed + group * group_bytes);
    }
}

conv_nhwc_scratch conv_nhwc_scratch_of(const conv_nhwc *c)
{
    int64_t tile = conv_nhwc_round_up((int64_t)c->kernel->mr * c->kernel->nr * 4, CONV_NHWC_ALIGN);
    int64_t pixel =
        c->way == CONV_NHWC_INDIRECT ? c->shape.channels * brgemm_size(c->kernel->type) : 0;
    conv_nhwc_scratch at = {0};

    at.tile = conv_nhwc_round_up(c->taps * (int64_t)sizeof(int64_t), CONV_NHWC_ALIGN);
    at.residual = at.tile + tile;
    at.pixel = at.residual + tile;
    at.a = at.pixel + conv_nhwc_round_up(pixel, CONV_NHWC_ALIGN);
    return at;
}

void conv_nhwc_run(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_nhwc_call *call = context;
    const conv_nhwc *c = call->c;
    int64_t filter_pieces = conv_nhwc_pieces(c->problem.filters, c->filter_slice);
    int64_t row_pieces = conv_nhwc_pieces(c->shape.out_h, c->row_slice);
    int64_t panels = conv_nhwc_pieces(c->problem.filters, c->kernel->nr);

    for (int64_t i = begin; i < end; i++) {
        int64_t filter = i % filter_pieces * c->filter_slice;
        int64_t row = i / filter_pieces % row_pieces * c->row_slice;
        int64_t plane = i / filter_pieces / row_pieces;
        conv_nhwc_piece piece = {
            .call = call,
            .image = plane / c->problem.groups,
            .group = plane % c->problem.groups,
            .row = row,
            .rows = conv_nhwc_least(c->shape.out_h - row, c->row_slice),
            .filter = filter,
            .filters = conv_nhwc_least(c->problem.filters - filter, c->filter_slice),
            .packed =
                (const char *)call->packed +
                (plane % c->problem.groups * panels + filter / c->kernel->nr) * c->panel_bytes,
            .worker = (char *)call->workspace + c->shared_bytes + worker * c->worker_bytes};

        conv_nhwc_run_piece(&piece);
    }
}

void conv_nhwc_strip(const conv_nhwc *c, int64_t in_rows, int64_t out_rows, int64_t pad_h,
                     conv_nhwc *strip)
{
    conv_f32_shape *s = &strip->shape;
    bool is_column = c->shape.out_h != c->problem.shape.out_h; /* a product, as one tall column */

    *strip = *c;
    strip->problem.shape.in_h = in_rows;
    strip->problem.shape.out_h = out_rows;
    strip->problem.shape.pad_h = pad_h;
    s->in_h = is_column ? in_rows * c->problem.shape.in_w : in_rows;
    s->out_h = is_column ? out_rows * c->problem.shape.out_w : out_rows;
    s->pad_h = pad_h;
    strip->row_slice = conv_nhwc_least(c->row_slice, s->out_h);
    strip->pieces = c->problem.groups * conv_nhwc_pieces(s->out_h, strip->row_slice) *
                    conv_nhwc_pieces(c->problem.filters, c->filter_slice);
}

void conv_nhwc_lower(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_nhwc_call *call = context;
    const conv_nhwc *c = call->c;
    int64_t pixels = c->shape.out_h * c->shape.out_w;

    (void)worker;
    for (int64_t group = 0; group < c->problem.groups; group++) {
        char *to = (char *)call->workspace + (group * c->batch * pixels + begin) * c->pixel_pitch;

        for (int64_t i = begin; i < end;) {
            conv_nhwc_source source = conv_nhwc_source_of(call, i / pixels, group);
            int64_t count = conv_nhwc_least(end - i, pixels - i % pixels);

            conv_nhwc_copy_patches(&source, i % pixels, count, to);
            to += count * c->pixel_pitch;
            i += count;
        }
    }
}
