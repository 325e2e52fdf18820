/* Layers of encoders that skip blocks of tokens: only rows that are kept are gathered, computed and
 * put where they belong. Sequences of a batch keep what each of them keeps. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/skim_state.h"

enum { LINE = 64 };

static int64_t rounded(int64_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

/* ---- what is accepted ---- */

static bool read_form(const provider_site *site, skim_form *form)
{
    const graph_type *inputs[SKIM_PORTS] = {NULL};

    if (!provider_is_own(site, SKIM_LAYER) && !provider_is_own(site, SKIM_DECIDE)) {
        return false;
    }
    for (int i = 0; i < site->node->input_count && i < SKIM_PORTS; i++) {
        inputs[i] = provider_input_type(site, i);
    }
    return skim_read(site->node, inputs, site->node->input_count, form);
}

static bool accepts(const provider_site *site)
{
    skim_form form;

    if (!read_form(site, &form) || form.hidden / form.heads > ATTENTION_MOST_SIZE) {
        return false;
    }
    for (int i = SKIM_Q; i < site->node->input_count; i++) {
        bool varies = i == SKIM_PROTECTED || i == SKIM_THRESHOLD;

        if (!varies && provider_constant(site, i) == NULL) {
            return false;
        }
    }
    return true;
}

/* ---- packing ---- */

typedef struct pack_job {
    const provider_site *site;
    skim_state *s;
    int which;
} pack_job;

static spry_status pack_product(void *context, void *to, spry_error *error)
{
    const pack_job *j = context;
    brgemm_product_problem p = skim_product_problem(&j->s->form, j->which, 1);
    brgemm_source source = {.data = provider_constant(j->site, skim_product_port(j->which))->data,
                            .k_stride = p.n,
                            .column_stride = 1};

    (void)error;
    brgemm_pack(j->s->products[j->which], &source, 1, p.k, p.n, to);
    return SPRY_OK;
}

/* Two stages with their biases, then the last product with its bias. */
typedef struct predictor_layout {
    int64_t weights[2], bias[2], last, last_bias, floats;
} predictor_layout;

static predictor_layout lay_out_predictor(const skim_form *f)
{
    int64_t channels =
        (f->heads + BLOCK_PREDICTOR_GROUP - 1) / BLOCK_PREDICTOR_GROUP * BLOCK_PREDICTOR_GROUP;
    predictor_layout l = {.floats = 0};

    for (int i = 0; i < 2; i++) {
        l.weights[i] = l.floats;
        l.bias[i] = l.weights[i] + block_predictor_weights(f->heads);
        l.floats = l.bias[i] + channels;
    }
    l.last = l.floats;
    l.last_bias = l.last + 2 * f->heads * f->block * f->block / 16;
    l.floats = l.last_bias + 2;
    return l;
}

static const float *numbers(const provider_site *site, int port)
{
    return provider_constant(site, port)->data;
}

static spry_status pack_predictor(void *context, void *to, spry_error *error)
{
    static const int convs[] = {SKIM_CONV1, SKIM_CONV2};
    static const int norms[] = {SKIM_BATCH1, SKIM_BATCH2};
    const pack_job *j = context;
    predictor_layout l = lay_out_predictor(&j->s->form);
    float *floats = to;

    (void)error;
    for (int i = 0; i < 2; i++) {
        block_norm from = {.weights = numbers(j->site, convs[i]),
                           .bias = numbers(j->site, convs[i] + 1),
                           .factor = numbers(j->site, norms[i]),
                           .offset = numbers(j->site, norms[i] + 1),
                           .mean = numbers(j->site, norms[i] + 2),
                           .variance = numbers(j->site, norms[i] + 3)};

        block_predictor_pack(&from, j->s->form.heads, floats + l.weights[i], floats + l.bias[i]);
    }
    memcpy(floats + l.last, numbers(j->site, SKIM_LAST),
           (size_t)(l.last_bias - l.last) * sizeof *floats);
    memcpy(floats + l.last_bias, numbers(j->site, SKIM_LAST + 1), 2 * sizeof *floats);
    return SPRY_OK;
}

static spry_status make_predictor(pack_job *j, spry_error *error)
{
    skim_state *s = j->s;
    predictor_layout l = lay_out_predictor(&s->form);
    const float *floats;
    spry_status status;

    s->predictor_kernel = block_predictor_select();
    status = packed_make(j->site, "block_predictor", (size_t)l.floats * sizeof(float),
                         pack_predictor, j, &s->predictor_packed, error);
    floats = s->predictor_packed.data;
    if (status == SPRY_OK) {
        s->predictor = (block_predictor){
            .channels = s->form.heads,
            .block = s->form.block,
            .first = {s->form.heads, s->form.block, floats + l.weights[0], floats + l.bias[0]},
            .second = {s->form.heads, s->form.block / 2, floats + l.weights[1], floats + l.bias[1]},
            .last = floats + l.last,
            .last_bias = floats + l.last_bias};
    }
    return status;
}

/* ---- workspace ---- */

/* The most that a worker wants of any product, whatever is kept. */
static int64_t product_bytes(const skim_state *s, int workers)
{
    int64_t rows = s->form.batch * s->form.tokens;
    int64_t most = 0;
    brgemm_product plan;

    for (int which = 0; which < SKIM_PRODUCTS; which++) {
        brgemm_product_problem p = skim_product_problem(&s->form, which, rows);

        brgemm_product_plan(&p, s->products[which], workers, &plan);
        for (p.m = plan.copies ? 1 : rows; p.m <= rows; p.m++) {
            brgemm_product_plan(&p, s->products[which], workers, &plan);
            most = plan.worker_bytes > most ? plan.worker_bytes : most;
        }
    }
    return most;
}

static int64_t attention_bytes(const skim_state *s)
{
    enum { MOST_SLICE = 1024 };
    attention_problem p = skim_attention_problem(&s->form, s->form.tokens);

    p.slice = provider_least(s->form.tokens, MOST_SLICE) + ATTENTION_MOST_MR;
    return attention_workspace(s->attention, &p) * (int64_t)sizeof(float);
}

static int64_t add_part(skim_state *s, int64_t count, size_t size)
{
    int64_t at = s->bytes;

    s->bytes += rounded(count * (int64_t)size);
    return at;
}

static void lay_out(skim_state *s, int workers)
{
    const skim_form *f = &s->form;
    int64_t rows = f->batch * f->tokens;
    int64_t blocks = f->batch * f->blocks;
    int64_t row = f->inner > 4 * f->hidden ? f->inner : 4 * f->hidden;
    int64_t most = product_bytes(s, workers);
    int64_t wanted = attention_bytes(s);

    s->x = add_part(s, rows * f->hidden, sizeof(float));
    s->wide = add_part(s, rows * row, sizeof(float)); /* q, k, v and what they mix; then the MLP */
    s->middle = add_part(s, rows * f->hidden, sizeof(float));
    s->sum = add_part(s, rows * f->hidden, sizeof(float));
    s->bias = add_part(s, rows, sizeof(float));
    s->rows = add_part(s, rows, sizeof(int64_t));
    s->firsts = add_part(s, 2 * (f->batch + 1), sizeof(int64_t));
    s->blocks = add_part(s, blocks, sizeof(int64_t));
    most = wanted > most ? wanted : most;
    if (f->decides) {
        wanted = block_predictor_workspace(&s->predictor) * (int64_t)sizeof(float);
        most = wanted > most ? wanted : most;
        s->images = add_part(s, blocks * f->heads * block_predictor_plane(f->block), sizeof(float));
        s->logits = add_part(s, 3 * blocks, sizeof(float)); /* and decisions that nobody reads */
    }
    s->worker_bytes = rounded(most);
    s->workers = add_part(s, workers * s->worker_bytes, 1);
}

/* ---- the provider ---- */

static void destroy(void *state)
{
    skim_state *s = state;
    spry_allocator allocator = s->allocator;

    for (int i = 0; i < SKIM_PRODUCTS; i++) {
        packed_release(&allocator, &s->packed[i]);
    }
    packed_release(&allocator, &s->predictor_packed);
    alloc_release(&allocator, s, sizeof *s);
}

static spry_status make_products(pack_job *j, provider_step *step, spry_error *error)
{
    skim_state *s = j->s;
    spry_status status = SPRY_OK;

    for (int i = 0; i < SKIM_PRODUCTS && status == SPRY_OK; i++) {
        brgemm_product_problem p = skim_product_problem(&s->form, i, 1);
        brgemm_product plan;

        s->products[i] = brgemm_select(precision_of_products(j->site, p.k, p.n));
        brgemm_product_plan(&p, s->products[i], 1, &plan);
        j->which = i;
        status = packed_make(j->site, s->products[i]->name, (size_t)plan.packed_bytes, pack_product,
                             j, &s->packed[i], error);
        step->packed_bytes += (size_t)plan.packed_bytes;
        step->spent |= 1U << skim_product_port(i);
    }
    return status;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    skim_state *s = alloc_zeroed(site->allocator, sizeof *s);
    pack_job job = {site, s, 0};
    int workers = threads_count(site->team);
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_form(site, &s->form); /* accepted before */
    s->allocator = *site->allocator;
    s->elementwise = elementwise_f32_select();
    s->attention = attention_select(site->options->precision == SPRY_PRECISION_BF16);
    s->attention = s->attention != NULL ? s->attention : attention_select(false);
    status = make_products(&job, step, error);
    if (status == SPRY_OK && s->form.decides) {
        status = make_predictor(&job, error);
        step->packed_bytes += s->predictor_packed.bytes;
    }
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    lay_out(s, workers);
    step->state = s;
    step->kernel = s->products[SKIM_TO_UP]->name;
    step->plan = s->form.decides ? "skim and decide" : "skim";
    step->threads = workers;
    step->workspace_bytes = (size_t)s->bytes;
    step->density = &s->density;
    return SPRY_OK;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    return skim_run(state, call, workspace);
}

const provider provider_skim = {"skim", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
