/* GPTQ (gptq.h) on the Gram matrices of layers' inputs. */
#include <string.h>

#include "base/alloc.h"
#include "quantize/calibrate/gram.h"
#include "quantize/method/gptq.h"
#include "quantize/method/method.h"

/* The weights as [outputs][inputs][taps], in `*room` where they are not so already. */
static spry_status find_dense(const quantize_job *job, const weight *w, float **room,
                              const float **dense, spry_error *error)
{
    size_t bytes = (size_t)weight_count(w) * sizeof **room;

    *room = NULL;
    *dense = weight_dense(w);
    if (*dense != NULL) {
        return SPRY_OK;
    }
    *room = alloc_bytes(&job->m->allocator, bytes);
    if (*room == NULL) {
        return alloc_failed(error, bytes);
    }
    weight_gather(w, *room);
    *dense = *room;
    return SPRY_OK;
}

static void release(const quantize_job *job, const weight *w, float *room)
{
    alloc_release(&job->m->allocator, room, (size_t)weight_count(w) * sizeof *room);
}

/* Cuts, and rounds to the nearest: where GPTQ begins, and what layers without a Gram matrix keep.
 */
static spry_status begin_weight(quantize_job *job, weight_record *r, spry_error *error)
{
    squant_report report = {0};
    method_call call = {NULL, r, job, &report};
    float *room = NULL;
    spry_status status = method_cut_weight(job, r, error);

    if (status == SPRY_OK) {
        status = find_dense(job, &r->w, &room, &call.dense, error);
    }
    if (status == SPRY_OK) {
        status = method_round(&call, SQUANT_E, error);
    }
    release(job, &r->w, room);
    return status;
}

static void find_blocks(const weight_record *r, int32_t *block_of)
{
    for (int64_t n = 0; n < r->w.inputs; n++) {
        for (int64_t tap = 0; tap < r->w.taps; tap++) {
            *block_of++ = (int32_t)(n / r->column_block);
        }
    }
}

/* All outputs of the layer, group of a convolution by group. */
static spry_status round_layer(const quantize_job *job, const weight_record *r, const gram *sums,
                               const float *dense, int32_t *block_of, spry_error *error)
{
    grid_options grid = record_grid(r);
    int64_t rows = r->w.outputs / sums->groups;
    const double *matrix = sums->qq != NULL ? sums->qq : sums->xx;
    spry_status status = SPRY_OK;

    find_blocks(r, block_of);
    for (int64_t g = 0; status == SPRY_OK && g < sums->groups; g++) {
        gptq_layer l = {.rows = rows,
                        .size = sums->size,
                        .weights = dense + g * rows * sums->size,
                        .gram = matrix + g * sums->size * sums->size,
                        .limits = grid_codes_of(&grid),
                        .block_of = block_of,
                        .blocks = r->column_blocks,
                        .steps = r->steps + g * rows * r->column_blocks,
                        .zeros = r->zeros + g * rows * r->column_blocks,
                        .codes = r->codes + g * rows * sums->size};

        status = gptq_round(&l, &job->m->allocator, job->team, error);
    }
    return status;
}

static spry_status see_gram(void *context, int32_t index, const gram *sums, spry_error *error)
{
    quantize_job *job = context;
    const weight_record *r = &job->weights[index];
    size_t bytes = (size_t)sums->size * sizeof(int32_t);
    int32_t *block_of = alloc_bytes(&job->m->allocator, bytes);
    const float *dense;
    float *room;
    spry_status status;

    if (block_of == NULL) {
        return alloc_failed(error, bytes);
    }
    status = find_dense(job, &r->w, &room, &dense, error);
    if (status == SPRY_OK) {
        status = round_layer(job, r, sums, dense, block_of, error);
    }
    release(job, &r->w, room);
    alloc_release(&job->m->allocator, block_of, bytes);
    return status;
}

static spry_status search(quantize_job *job, spry_error *error)
{
    gram_options options = gram_options_default();
    spry_status status = SPRY_OK;

    options.quantized = job->activation_count > 0;
    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        status = begin_weight(job, &job->weights[i], error);
    }
    return status == SPRY_OK ? gram_for_each(job, &options, see_gram, job, error) : status;
}

/* The search has found them. */
static spry_status keep_codes(const method_call *call, spry_error *error)
{
    (void)call;
    (void)error;
    return SPRY_OK;
}

const method method_gptq = {
    .facts = {"gptq", "errors of a rounded weight are made up for by the next ones"},
    .needs_data = true,
    .search = search,
    .round = keep_codes};
