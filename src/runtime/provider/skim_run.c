/* A layer over the rows that are kept: gather, products, attention within each sequence, norms,
 * and the decision about what comes next. */
#include <math.h>
#include <string.h>

#include "kernels/attention/block_features.h"
#include "kernels/elementwise/activation_f32.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/skim_state.h"

enum { ROWS_AT_ONCE = 16 };

typedef struct skim_pass {
    const skim_state *s;
    op_call *call;
    char *room;
    const float *keep;
    const float *x; /* kept rows, one behind the other */
    float *q, *k, *v, *mixed;
    float *inner, *middle, *sum, *bias;
    int64_t *rows;        /* of each kept row: its place in the batch */
    int64_t *row_first;   /* [batch + 1] among kept rows */
    int64_t *block_first; /* [batch + 1] among kept blocks */
    int64_t *blocks;      /* of each kept block: its place in the batch */
    float *images, *logits, *next;
    float *y;
    /* Of the loop that runs: a norm of rows of `sum`. */
    elementwise_f32_norm norm;
    float *norm_to; /* NULL: to the rows of y */
    /* Attention of one sequence. */
    attention_problem problem;
} skim_pass;

static const float *input(const skim_pass *p, int port)
{
    return op_call_input(p->call, port)->data;
}

/* ---- which rows ---- */

static void list_rows(skim_pass *p)
{
    const skim_form *f = &p->s->form;
    int64_t rows = 0;
    int64_t blocks = 0;

    for (int64_t n = 0; n < f->batch; n++) {
        p->row_first[n] = rows;
        p->block_first[n] = blocks;
        for (int64_t k = 0; k < f->blocks; k++) {
            int64_t end = provider_least((k + 1) * f->block, f->tokens);

            if (!(p->keep[n * f->blocks + k] > 0.0f)) {
                continue;
            }
            p->blocks[blocks++] = n * f->blocks + k;
            for (int64_t t = k * f->block; t < end; t++) {
                p->rows[rows++] = n * f->tokens + t;
            }
        }
    }
    p->row_first[f->batch] = rows;
    p->block_first[f->batch] = blocks;
}

/* Blocks [begin, end) of the batch: copies kept rows together, clears what is not computed. */
static void gather(void *context, int64_t begin, int64_t end, int worker)
{
    const skim_pass *p = context;
    const skim_form *f = &p->s->form;
    const float *all = input(p, SKIM_X);
    float *to = (float *)(void *)(p->room + p->s->x);
    size_t row = (size_t)f->hidden * sizeof *to;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t n = i / f->blocks;
        int64_t first = i % f->blocks * f->block;
        int64_t count = provider_least(f->block, f->tokens - first);

        if (!(p->keep[i] > 0.0f)) {
            memset(p->y + (n * f->tokens + first) * f->hidden, 0, (size_t)count * row);
        }
    }
    for (int64_t n = 0; n < f->batch && p->x != all; n++) {
        for (int64_t b = p->block_first[n]; b < p->block_first[n + 1]; b++) {
            int64_t first = p->blocks[b] % f->blocks * f->block;
            int64_t count = provider_least(f->block, f->tokens - first);

            if (p->blocks[b] >= begin && p->blocks[b] < end) {
                memcpy(to + (p->row_first[n] + (b - p->block_first[n]) * f->block) * f->hidden,
                       all + (n * f->tokens + first) * f->hidden, (size_t)count * row);
            }
        }
    }
}

/* ---- products and norms ---- */

static void multiply(const skim_pass *p, int which, const float *a, const float *residual, float *c)
{
    const skim_state *s = p->s;
    brgemm_product_problem problem =
        skim_product_problem(&s->form, which, p->row_first[s->form.batch]);
    brgemm_product plan;
    brgemm_product_call call = {
        .p = &plan,
        .a = a,
        .packed = s->packed[which].data,
        .c = c,
        .finish = {.bias = input(p, skim_product_port(which) + 1),
                   .residual = residual,
                   .activate = which == SKIM_TO_UP
                                   ? activation_f32_select()->run[ACTIVATION_F32_GELU]
                                   : NULL,
                   .lower = -INFINITY,
                   .upper = INFINITY},
        .workspace = p->room + s->workers};

    brgemm_product_plan(&problem, s->products[which], threads_count(p->call->team), &plan);
    threads_for(p->call->team, plan.pieces, 1, brgemm_product_run, &call);
}

static void normalise_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const skim_pass *p = context;
    int64_t h = p->s->form.hidden;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *to = p->norm_to != NULL ? p->norm_to + i * h : p->y + p->rows[i] * h;

        (void)p->s->elementwise->layer_norm(to, p->sum + i * h, h, &p->norm);
    }
}

static void normalise(skim_pass *p, int port, float *to)
{
    p->norm = (elementwise_f32_norm){input(p, port), input(p, port + 1), p->s->form.epsilon};
    p->norm_to = to;
    threads_for(p->call->team, p->row_first[p->s->form.batch], ROWS_AT_ONCE, normalise_rows, p);
}

/* ---- attention ---- */

static void attend_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const skim_pass *p = context;
    char *room = p->room + p->s->workers + worker * p->s->worker_bytes;

    for (int64_t piece = begin; piece < end; piece++) {
        attention_run(p->s->attention, &p->problem, piece, (float *)(void *)room);
    }
}

/* The bias of kept keys of sequence n; false where it is zero for all. */
static bool gather_bias(const skim_pass *p, int64_t n)
{
    const skim_form *f = &p->s->form;
    const float *from = input(p, SKIM_BIAS) + n * f->bias_batch - n * f->tokens;
    bool is_there = false;

    for (int64_t i = p->row_first[n]; i < p->row_first[n + 1]; i++) {
        p->bias[i] = from[p->rows[i]];
        is_there = is_there || p->bias[i] != 0.0f;
    }
    return is_there;
}

static void attend(skim_pass *p, int64_t n)
{
    const skim_form *f = &p->s->form;
    int64_t h = f->hidden;
    int64_t size = h / f->heads;
    int64_t first = p->row_first[n];
    int64_t pitch = block_predictor_pitch(f->block);
    int64_t plane = block_predictor_plane(f->block);
    block_features features = {.block = f->block,
                               .images =
                                   p->images + p->block_first[n] * f->heads * plane + pitch + 1,
                               .image = f->heads * plane,
                               .plane = plane,
                               .pitch = pitch};
    attention_observer observer = block_features_observer(&features);

    p->problem = skim_attention_problem(f, p->row_first[n + 1] - first);
    if (p->problem.rows == 0) {
        return;
    }
    p->problem.q = (attention_operand){p->q + first * h, 0, size, h};
    p->problem.k = (attention_operand){p->k + first * h, 0, size, h};
    p->problem.v = (attention_operand){p->v + first * h, 0, size, h};
    p->problem.out = p->mixed + first * h;
    p->problem.out_head = size;
    p->problem.out_token = h;
    p->problem.blind = NAN;
    if (gather_bias(p, n)) {
        p->problem.mask = (attention_mask){.kind = ATTENTION_ADD, .data = p->bias + first};
    }
    p->problem.slice = attention_slice(p->s->attention, &p->problem, threads_count(p->call->team));
    p->problem.observer = f->decides ? &observer : NULL;
    threads_for(p->call->team, attention_pieces(&p->problem), 1, attend_pieces, p);
}

/* ---- the decision ---- */

static void clear_images(void *context, int64_t begin, int64_t end, int worker)
{
    const skim_pass *p = context;
    int64_t image = p->s->form.heads * block_predictor_plane(p->s->form.block);

    (void)worker;
    memset(p->images + begin * image, 0, (size_t)((end - begin) * image) * sizeof(float));
}

static void predict_blocks(void *context, int64_t begin, int64_t end, int worker)
{
    const skim_pass *p = context;
    const skim_state *s = p->s;
    int64_t image = s->form.heads * block_predictor_plane(s->form.block);
    char *room = p->room + s->workers + worker * s->worker_bytes;

    for (int64_t b = begin; b < end; b++) {
        block_predictor_run(s->predictor_kernel, &s->predictor, p->images + b * image,
                            (float *)(void *)room, p->logits + 2 * p->blocks[b]);
    }
}

static spry_status decide(const skim_pass *p)
{
    const skim_form *f = &p->s->form;
    float threshold = *input(p, SKIM_THRESHOLD);

    memset(p->logits, 0, (size_t)(2 * f->batch * f->blocks) * sizeof *p->logits);
    threads_for(p->call->team, p->block_first[f->batch], 1, predict_blocks, (void *)p);
    for (int64_t n = 0; n < f->batch; n++) {
        int64_t at = n * f->blocks;

        if (!skim_decide(f->blocks, p->keep + at, input(p, SKIM_PROTECTED) + at, threshold,
                         p->logits + 2 * at, p->next + at)) {
            return op_call_fail(p->call, SPRY_BAD_INPUT, "%s", SKIM_ODD);
        }
    }
    return SPRY_OK;
}

/* ---- the run ---- */

static void place(skim_pass *p, char *workspace)
{
    const skim_state *s = p->s;
    int64_t numbers = s->form.batch * s->form.tokens * s->form.hidden;

    p->room = workspace;
    p->q = (float *)(void *)(workspace + s->wide);
    p->k = p->q + numbers;
    p->v = p->k + numbers;
    p->mixed = p->v + numbers;
    p->inner = p->q;
    p->middle = (float *)(void *)(workspace + s->middle);
    p->sum = (float *)(void *)(workspace + s->sum);
    p->bias = (float *)(void *)(workspace + s->bias);
    p->rows = (int64_t *)(void *)(workspace + s->rows);
    p->row_first = (int64_t *)(void *)(workspace + s->firsts);
    p->block_first = p->row_first + s->form.batch + 1;
    p->blocks = (int64_t *)(void *)(workspace + s->blocks);
    p->images = (float *)(void *)(workspace + s->images);
    p->logits = (float *)(void *)(workspace + s->logits);
    p->next = p->logits + 2 * s->form.batch * s->form.blocks;
}

static spry_status make_outputs(skim_pass *p)
{
    const skim_form *f = &p->s->form;
    const int64_t pairs[] = {f->batch, f->blocks, 2};
    tensor *t = NULL;
    spry_status status =
        op_call_output_like(p->call, SKIM_Y, SPRY_DTYPE_F32, op_call_input(p->call, SKIM_X), &t);

    if (status == SPRY_OK && t != NULL) {
        p->y = t->data;
    }
    if (status == SPRY_OK && f->decides) {
        status = op_call_output(p->call, SKIM_NEXT, SPRY_DTYPE_F32, 2, pairs, &t);
        p->next = status == SPRY_OK && t != NULL ? t->data : p->next;
    }
    if (status == SPRY_OK && f->decides) {
        status = op_call_output(p->call, SKIM_LOGITS, SPRY_DTYPE_F32, 3, pairs, &t);
        p->logits = status == SPRY_OK && t != NULL ? t->data : p->logits;
    }
    return status;
}

static void run_rows(skim_pass *p)
{
    const skim_form *f = &p->s->form;

    multiply(p, SKIM_TO_Q, p->x, NULL, p->q);
    multiply(p, SKIM_TO_K, p->x, NULL, p->k);
    multiply(p, SKIM_TO_V, p->x, NULL, p->v);
    if (f->decides) {
        threads_for(p->call->team, p->block_first[f->batch], 1, clear_images, p);
    }
    for (int64_t n = 0; n < f->batch; n++) {
        attend(p, n);
    }
    multiply(p, SKIM_TO_OUT, p->mixed, p->x, p->sum);
    normalise(p, SKIM_NORM1, p->middle);
    multiply(p, SKIM_TO_UP, p->middle, NULL, p->inner);
    multiply(p, SKIM_TO_DOWN, p->inner, p->middle, p->sum);
    normalise(p, SKIM_NORM2, NULL);
}

spry_status skim_run(skim_state *s, op_call *call, void *workspace)
{
    skim_pass p = {.s = s, .call = call};
    int64_t all = s->form.batch * s->form.tokens;
    int64_t kept;
    spry_status status;

    place(&p, workspace);
    status = make_outputs(&p);
    if (status != SPRY_OK || p.y == NULL) {
        return status;
    }
    p.keep = input(&p, SKIM_KEEP);
    list_rows(&p);
    kept = p.row_first[s->form.batch];
    s->density = (double)kept / (double)all;
    p.x = kept == all ? input(&p, SKIM_X) : (float *)(void *)(p.room + s->x);
    threads_for(call->team, s->form.batch * s->form.blocks, 1, gather, &p);
    if (kept > 0) {
        run_rows(&p);
    }
    return s->form.decides ? decide(&p) : SPRY_OK;
}
