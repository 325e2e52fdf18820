/* RepQ (arXiv 2212.08254): what a LayerNormalization gives differs by orders of magnitude between
 * channels. Steps per channel d_c and zero points z_c would fit, but an activation has one of each,
 * d and z. Numbers that are quantized with d and z after
 *
 *     y'_c = y_c / r_c - b_c        r_c = d_c / d        b_c = (z - z_c) d
 *
 * have the codes of y_c with d_c and z_c. The normalization's own factors and offsets give y'; the
 * weights of the layers behind it, W_c r_c, and their biases, plus sum W_c r_c b_c, take it
 * back. */
#include <math.h>

#include "base/alloc.h"
#include "quantize/prepare/norms.h"
#include "quantize/prepare/preparation.h"

/* r_c and b_c. Channels that never vary stay as they are. */
static void find_moves(const norm *n, double *r, double *b)
{
    double step = 0.0;
    double zero = 0.0;
    int64_t varying = 0;

    for (int64_t c = 0; c < n->channels; c++) {
        r[c] = ((double)n->high[c] - (double)n->low[c]) / 255.0; /* d_c */
        if (isfinite(r[c]) && r[c] > 1e-12) {
            b[c] = rint(-(double)n->low[c] / r[c]); /* z_c */
            step += r[c];
            zero += b[c];
            varying++;
        } else {
            r[c] = 0.0;
        }
    }
    step = varying != 0 ? step / (double)varying : 1.0;
    zero = varying != 0 ? rint(zero / (double)varying) : 0.0;
    for (int64_t c = 0; c < n->channels; c++) {
        b[c] = r[c] != 0.0 ? (zero - b[c]) * step : 0.0;
        r[c] = r[c] != 0.0 ? r[c] / step : 1.0;
    }
}

static spry_status move(norms *q, const norm *n, spry_error *error)
{
    double *r = arena_array(&q->memory, (size_t)n->channels, sizeof *r);
    double *b = arena_array(&q->memory, (size_t)n->channels, sizeof *b);

    if (r == NULL || b == NULL) {
        return alloc_failed(error, (size_t)n->channels * sizeof *r);
    }
    find_moves(n, r, b);
    return norms_move(q, n, r, b, error);
}

static spry_status reparameterise(quantize_job *job, spry_error *error)
{
    norms q;
    spry_status status = norms_find(job, &q, error);

    for (int32_t i = 0; status == SPRY_OK && i < q.count; i++) {
        status = move(&q, &q.list[i], error);
    }
    norms_release(&q);
    return status == SPRY_OK ? graph_sort(job->m->main, error) : status;
}

const preparation preparation_repq = {
    .facts = {"repq", "ranges of normalized channels made equal, the layers behind take it back"},
    .needs_data = true,
    .run = reparameterise};
