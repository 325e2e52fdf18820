/* Products of f32 with constant weights of eight bits, of four, or of two, which are read as four:
 * com.microsoft's MatMulNBits, and what nbits.h makes of DequantizeLinear and a product. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/brgemm/w4_product.h"
#include "ops/nbits.h"
#include "runtime/nbits.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"
#include "tensor/convert.h"

enum {
    MOST_GROUP = 4096,
    LONE_GROUP = 128 /* where all of k has one scale */
};

typedef struct nbits_state {
    spry_allocator allocator;
    w4_product product;
    const float *bias; /* or NULL */
    void *packed;
} nbits_state;

/* The node's constants. */
typedef struct nbits_operands {
    w4_problem problem;
    w4_source source;             /* all but scales and zeros */
    nbits sizes;                  /* of MatMulNBits; n == 0: the other kind */
    int bits;                     /* of the kernel: 4 or 8 */
    const tensor *scales, *zeros; /* zeros: or NULL */
    const tensor *bias;           /* or NULL */
    float zero;                   /* where zeros is NULL */
} nbits_operands;

/* ---- what is accepted ---- */

static bool is_omitted(const provider_site *site, int port)
{
    return port >= site->node->input_count || site->node->inputs[port] == GRAPH_NONE;
}

/* MatMulNBits: codes [n][blocks][block]. */
static bool read_operator(const provider_site *site, nbits_operands *w)
{
    const tensor *codes = provider_constant(site, NBITS_CODES);
    const nbits *b = &w->sizes;

    w->scales = provider_constant(site, NBITS_SCALES);
    w->zeros = provider_constant(site, NBITS_ZEROS);
    w->bias = provider_constant(site, NBITS_BIAS);
    if (!nbits_read(site->node, &w->sizes) || codes == NULL || w->scales == NULL ||
        (w->zeros == NULL && !is_omitted(site, NBITS_ZEROS)) || !is_omitted(site, NBITS_INDEX) ||
        (w->bias == NULL && !is_omitted(site, NBITS_BIAS)) ||
        !nbits_fits(b, codes, w->scales, w->zeros)) {
        return false;
    }
    w->problem = (w4_problem){.n = b->n, .k = b->k, .group = (int)b->block};
    w->bits = b->bits > 4 ? 8 : 4;
    w->source = (w4_source){.codes = codes->data,
                            .bits = b->bits,
                            .k_stride = 1,
                            .column_stride = b->blocks * b->block,
                            .lift = (uint8_t)(w4_centre(w->bits) - w4_centre(b->bits)),
                            .group_stride = 1,
                            .scale_stride = b->blocks};
    w->zero = (float)w4_centre(w->bits);
    return true;
}

/* Groups along k for a scale per column, or one for all. */
static int64_t lone_group(int64_t k)
{
    int64_t words = k / W4_WORD + (k % W4_WORD != 0);

    return words * W4_WORD < LONE_GROUP ? words * W4_WORD : LONE_GROUP;
}

/* Strides of the scales; false when there are not as many as there should be. */
static bool read_scales(nbits_operands *w, int64_t block, bool turned)
{
    int64_t blocks = block > 0 ? w->problem.k / block + (w->problem.k % block != 0) : 1;

    w->source.group_stride = block == 0 ? 0 : turned ? 1 : w->problem.n;
    w->source.scale_stride = block > 0 && turned ? blocks : 1;
    if (block == 0) {
        w->source.scale_stride = tensor_count(w->scales) == 1 ? 0 : 1;
        return w->scales->rank <= 1 &&
               (tensor_count(w->scales) == 1 || tensor_count(w->scales) == w->problem.n);
    }
    return w->scales->rank == 2 && w->scales->shape[turned] == blocks &&
           w->scales->shape[!turned] == w->problem.n;
}

/* As DequantizeLinear holds them: codes [k][n] or [n][k], scales alike with blocks for k, or one
 * per column, or one. */
static bool read_rewritten(const provider_site *site, nbits_operands *w)
{
    const tensor *codes = provider_constant(site, 1);
    bool turned = graph_attribute_int(site->node, NBITS_TURNED, 0) != 0;
    int64_t block = graph_attribute_int(site->node, NBITS_BLOCK, 0);
    bool is_signed;

    w->scales = provider_constant(site, 2);
    w->zeros = provider_constant(site, 3);
    w->bias = provider_constant(site, NBITS_GRAPH_BIAS);
    if (codes == NULL || w->scales == NULL || block > MOST_GROUP ||
        (w->zeros == NULL && !is_omitted(site, 3)) ||
        (w->bias == NULL && !is_omitted(site, NBITS_GRAPH_BIAS))) {
        return false;
    }
    w->problem = (w4_problem){.n = codes->shape[!turned], .k = codes->shape[turned]};
    w->problem.group = (int)(block > 0 ? block : lone_group(w->problem.k));
    w->bits = codes->dtype == SPRY_DTYPE_I8 || codes->dtype == SPRY_DTYPE_U8 ? 8 : 4;
    is_signed = codes->dtype == SPRY_DTYPE_I8 || codes->dtype == SPRY_DTYPE_I4;
    /* Signed codes with their highest bit turned are those around the centre. */
    w->source = (w4_source){.codes = codes->data,
                            .bits = w->bits,
                            .k_stride = turned ? 1 : w->problem.n,
                            .column_stride = turned ? w->problem.k : 1,
                            .flip = is_signed ? (uint8_t)w4_centre(w->bits) : 0};
    w->zero = w->source.flip;
    return read_scales(w, block, turned) &&
           (w->zeros == NULL || tensor_same_shape(w->zeros, w->scales));
}

static bool read_weights(const provider_site *site, nbits_operands *w)
{
    const graph_type *a = provider_input_type(site, 0);
    const char *domain = site->node->domain;
    bool known = false;

    *w = (nbits_operands){0};
    if (a == NULL || provider_output_type(site, 0) == NULL || a->dtype != SPRY_DTYPE_F32 ||
        a->rank < 1) {
        return false;
    }
    if (strcmp(domain, NBITS_DOMAIN) == 0) {
        known = read_rewritten(site, w);
    } else if (strcmp(domain, "com.microsoft") == 0 &&
               strcmp(site->node->type, "MatMulNBits") == 0) {
        known = read_operator(site, w);
    }
    if (!known || a->dims[a->rank - 1].size != w->problem.k || w->problem.group % W4_WORD != 0 ||
        w->problem.group > MOST_GROUP ||
        (w->bias != NULL &&
         (w->bias->dtype != SPRY_DTYPE_F32 || tensor_count(w->bias) != w->problem.n))) {
        return false;
    }
    w->problem.m = op_work_count(a) / w->problem.k;
    if (w->bits > 4 && w->problem.m > W4_FEW_ROWS &&
        precision_of_products(site, w->problem.k, w->problem.n) == BRGEMM_BF16) {
        return false; /* many rows are faster in bf16, with weights that are dequantized before */
    }
    w->problem.has_zeros = w->zeros != NULL || w->zero != (float)w4_centre(w->bits);
    return w->problem.m > 0 && w->problem.n > 0;
}

static bool accepts(const provider_site *site)
{
    nbits_operands w;

    return read_weights(site, &w);
}

/* ---- creation ---- */

static float zero_at(const nbits_operands *w, int64_t index)
{
    if (w->zeros == NULL) {
        return w->zero;
    }
    if (w->sizes.n > 0) {
        return nbits_zero(&w->sizes, w->zeros, index / w->sizes.blocks, index % w->sizes.blocks) +
               (float)w->source.lift;
    }
    return (float)convert_get_f64(w->zeros, index) + (float)w->source.flip;
}

/* Packs with scales and zero points as floats, which are needed no longer than that. */
static spry_status pack(nbits_state *s, nbits_operands *w, spry_error *error)
{
    int64_t count = tensor_count(w->scales);
    float *numbers = alloc_array(&s->allocator, (size_t)count, 2 * sizeof *numbers);

    if (numbers == NULL) {
        return alloc_failed(error, (size_t)count * 2 * sizeof *numbers);
    }
    convert_read_f32(w->scales, 0, count, numbers);
    for (int64_t i = 0; w->problem.has_zeros && i < count; i++) {
        numbers[count + i] = zero_at(w, i);
    }
    w->source.scales = numbers;
    w->source.zeros = w->problem.has_zeros ? numbers + count : NULL;
    w4_pack(s->product.kernel, &w->source, w->problem.k, w->problem.n, w->problem.group, s->packed);
    alloc_release(&s->allocator, numbers, (size_t)count * 2 * sizeof *numbers);
    return SPRY_OK;
}

static void destroy(void *state)
{
    nbits_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s->packed, (size_t)s->product.packed_bytes);
    alloc_release(&allocator, s, sizeof *s);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    nbits_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int workers = threads_count(site->team);
    nbits_operands w;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_weights(site, &w); /* accepted before */
    s->allocator = *site->allocator;
    s->bias = w.bias != NULL ? w.bias->data : NULL;
    w4_product_plan(&w.problem, w4_select(w.bits), workers, &s->product);
    s->packed = alloc_bytes(&s->allocator, (size_t)s->product.packed_bytes);
    status = s->packed != NULL ? pack(s, &w, error)
                               : alloc_failed(error, (size_t)s->product.packed_bytes);
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    step->state = s;
    step->kernel = s->product.kernel->name;
    step->plan = s->product.unpacks ? "unpacked" : "codes";
    step->threads = (int)provider_least(s->product.pieces, workers);
    step->packed_bytes = (size_t)s->product.packed_bytes;
    step->workspace_bytes =
        (size_t)s->product.shared_bytes + (size_t)s->product.worker_bytes * (size_t)workers;
    return SPRY_OK;
}

/* ---- running ---- */

static spry_status run(void *state, op_call *call, void *workspace)
{
    const nbits_state *s = state;
    w4_product_call product = {.p = &s->product,
                               .a = op_call_input(call, 0)->data,
                               .packed = s->packed,
                               .bias = s->bias,
                               .workspace = workspace};
    tensor *c;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &c);

    if (status != SPRY_OK || c == NULL) {
        return status;
    }
    product.c = c->data;
    w4_product_prepare(&product);
    threads_for(call->team, s->product.pieces, 1, w4_product_run, &product);
    return SPRY_OK;
}

const provider provider_nbits = {"nbits", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
