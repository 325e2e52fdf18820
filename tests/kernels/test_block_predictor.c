/* Weights of attention within blocks, and the network that reads them: hand-checked examples, every
 * variant against sums in doubles, blocks against slices of all weights. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/attention/block_features.h"
#include "kernels/attention/block_predictor.h"
#include "spry/random.h"

enum { TAPS = BLOCK_PREDICTOR_TAPS, STAGES = 2 };

/* A predictor as files hold it. */
typedef struct network {
    int64_t heads, block;
    float *weights[STAGES], *bias[STAGES];
    float *norms[STAGES][4]; /* factor, offset, mean, variance */
    float *last, *last_bias;
    float *image; /* [heads][block][block] */
} network;

static float *floats(int64_t count)
{
    float *made = aligned_alloc(64, (size_t)(count * 4 + 63) / 64 * 64 + 64);

    assert_non_null(made);
    memset(made, 0, (size_t)count * sizeof *made);
    return made;
}

static float *drawn(int64_t count, double low, double high, uint64_t *seed)
{
    spry_random r = spry_random_stream(7, (*seed)++);
    float *made = floats(count);

    spry_random_fill_uniform(&r, made, (size_t)count, (float)low, (float)high);
    return made;
}

static network make(int64_t heads, int64_t block, uint64_t seed)
{
    network n = {.heads = heads, .block = block};

    for (int s = 0; s < STAGES; s++) {
        n.weights[s] = drawn(heads * heads * TAPS, -0.5, 0.5, &seed);
        n.bias[s] = drawn(heads, -0.2, 0.2, &seed);
        n.norms[s][0] = drawn(heads, 0.5, 2, &seed);
        n.norms[s][1] = drawn(heads, -0.5, 0.5, &seed);
        n.norms[s][2] = drawn(heads, -0.2, 0.2, &seed);
        n.norms[s][3] = drawn(heads, 0.1, 2, &seed);
    }
    n.last = drawn(heads * block * block / 8, -1, 1, &seed);
    n.last_bias = drawn(2, -1, 1, &seed);
    n.image = drawn(heads * block * block, 0, 1, &seed);
    return n;
}

static void drop(network *n)
{
    for (int s = 0; s < STAGES; s++) {
        free(n->weights[s]);
        free(n->bias[s]);
        for (int i = 0; i < 4; i++) {
            free(n->norms[s][i]);
        }
    }
    free(n->last);
    free(n->last_bias);
    free(n->image);
}

/* ---- in doubles ---- */

static double at(const double *x, int64_t side, int64_t c, int64_t y, int64_t z)
{
    return y < 0 || z < 0 || y >= side || z >= side ? 0.0 : x[(c * side + y) * side + z];
}

static double *stage(const network *n, int s, const double *x, int64_t side)
{
    double *to = calloc((size_t)(n->heads * side * side / 4) + 1, sizeof *to);

    assert_non_null(to);
    for (int64_t o = 0; o < n->heads; o++) {
        for (int64_t i = 0; i < side * side; i++) {
            double sum = n->bias[s][o];

            for (int64_t c = 0; c < n->heads; c++) {
                for (int64_t t = 0; t < TAPS; t++) {
                    sum += n->weights[s][(o * n->heads + c) * TAPS + t] *
                           at(x, side, c, i / side + t / 3 - 1, i % side + t % 3 - 1);
                }
            }
            sum = (sum - n->norms[s][2][o]) / sqrt(n->norms[s][3][o] + 1e-5) * n->norms[s][0][o] +
                  n->norms[s][1][o];
            to[(o * side / 2 + i / side / 2) * (side / 2) + i % side / 2] += fmax(sum, 0.0) / 4;
        }
    }
    return to;
}

static void reference(const network *n, double logits[2])
{
    int64_t count = n->heads * n->block * n->block;
    double *image = calloc((size_t)count, sizeof *image);
    double *half;
    double *quarter;

    assert_non_null(image);
    for (int64_t i = 0; i < count; i++) {
        image[i] = n->image[i];
    }
    half = stage(n, 0, image, n->block);
    quarter = stage(n, 1, half, n->block / 2);
    for (int j = 0; j < 2; j++) {
        logits[j] = n->last_bias[j];
        for (int64_t i = 0; i < count / 16; i++) {
            logits[j] += quarter[i] * n->last[j * (count / 16) + i];
        }
    }
    free(image);
    free(half);
    free(quarter);
}

/* ---- the kernel ---- */

static void run(const block_predictor_kernel *kernel, const network *n, float logits[2])
{
    int64_t groups = (n->heads + BLOCK_PREDICTOR_GROUP - 1) / BLOCK_PREDICTOR_GROUP;
    int64_t pitch = block_predictor_pitch(n->block);
    int64_t plane = block_predictor_plane(n->block);
    float *frame = floats(n->heads * plane);
    float *packed[STAGES];
    float *bias[STAGES];
    float *workspace;
    block_predictor p = {
        .channels = n->heads, .block = n->block, .last = n->last, .last_bias = n->last_bias};

    for (int s = 0; s < STAGES; s++) {
        const block_norm from = {n->weights[s],  n->bias[s],     n->norms[s][0],
                                 n->norms[s][1], n->norms[s][2], n->norms[s][3]};

        packed[s] = floats(block_predictor_weights(n->heads));
        bias[s] = floats(groups * BLOCK_PREDICTOR_GROUP);
        block_predictor_pack(&from, n->heads, packed[s], bias[s]);
    }
    p.first = (block_stage){n->heads, n->block, packed[0], bias[0]};
    p.second = (block_stage){n->heads, n->block / 2, packed[1], bias[1]};
    for (int64_t i = 0; i < n->heads * n->block * n->block; i++) {
        int64_t row = i / n->block % n->block;

        frame[i / n->block / n->block * plane + (row + 1) * pitch + i % n->block + 1] = n->image[i];
    }
    workspace = floats(block_predictor_workspace(&p));
    memset(workspace, 0x7f, (size_t)block_predictor_workspace(&p) * sizeof *workspace);
    block_predictor_run(kernel, &p, frame, workspace, logits);
    for (int s = 0; s < STAGES; s++) {
        free(packed[s]);
        free(bias[s]);
    }
    free(frame);
    free(workspace);
}

static double chance(const float logits[2])
{
    return 1 / (1 + exp((double)logits[0] - (double)logits[1]));
}

static void fill(float *x, int64_t count, float value)
{
    for (int64_t i = 0; i < count; i++) {
        x[i] = value;
    }
}

/* Batch norms that change nothing, convolutions that give the pixel itself. */
static void make_plain(network *n)
{
    for (int s = 0; s < STAGES; s++) {
        fill(n->weights[s], n->heads * n->heads * TAPS, 0);
        fill(n->bias[s], n->heads, 0);
        fill(n->norms[s][0], n->heads, 1);
        fill(n->norms[s][1], n->heads, 0);
        fill(n->norms[s][2], n->heads, 0);
        fill(n->norms[s][3], n->heads, 1 - 1e-5f);
    }
}

static void bias_alone_decides(void **state)
{
    network n = make(12, 32, 1);
    float logits[2];

    (void)state;
    make_plain(&n);
    n.last_bias[0] = 0;
    n.last_bias[1] = logf(3);
    run(block_predictor_select(), &n, logits);
    assert_true(fabs(chance(logits) - 0.75) < 1e-6);
    drop(&n);
}

static void smallest_block(void **state)
{
    network n = make(1, 4, 1);
    float logits[2];

    (void)state;
    make_plain(&n);
    n.weights[0][4] = n.weights[1][4] = 1;
    fill(n.image, 16, 0.25f);
    n.last[0] = 0;
    n.last[1] = 1;
    fill(n.last_bias, 2, 0);
    run(block_predictor_select(), &n, logits);
    assert_true(fabs(logits[1] - 0.25) < 1e-6 && logits[0] == 0);
    assert_true(fabs(chance(logits) - 0.5622) < 1e-4);
    drop(&n);
}

static void every_variant(void **state)
{
    static const int64_t heads[] = {1, 2, 3, 4, 5, 8, 12, 13};
    static const int64_t blocks[] = {4, 8, 12, 16, 20, 32, 36, 64};

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) {
            network n;
            double wanted[2];

            if (heads[i] * blocks[k] > 400) {
                continue;
            }
            n = make(heads[i], blocks[k], 100 * i + k);
            reference(&n, wanted);
            for (int v = 0; v < block_predictor_variant_count; v++) {
                float logits[2];

                if (!isa_usable(block_predictor_variants[v].level)) {
                    continue;
                }
                run(block_predictor_variants[v].table, &n, logits);
                for (int j = 0; j < 2; j++) {
                    assert_true(fabs(logits[j] - wanted[j]) < 2e-4 * (1 + fabs(wanted[j])));
                }
            }
            drop(&n);
        }
    }
}

/* ---- blocks of attention ---- */

/* The weights of query `row` in a head, in doubles. */
static void weights_of(const attention_problem *p, int64_t head, int64_t row, double *to)
{
    const float *q = p->q.data + head * p->q.head + row * p->q.token;
    double most = -INFINITY;
    double sum = 0;

    for (int64_t key = 0; key < p->keys; key++) {
        const float *k = p->k.data + head * p->k.head + key * p->k.token;

        to[key] = p->mask.data != NULL ? ((const float *)p->mask.data)[key] : 0;
        for (int64_t i = 0; i < p->size; i++) {
            to[key] += (double)q[i] * k[i] * p->scale;
        }
        most = fmax(most, to[key]);
    }
    for (int64_t key = 0; key < p->keys; key++) {
        to[key] = exp(to[key] - most);
        sum += to[key];
    }
    for (int64_t key = 0; key < p->keys; key++) {
        to[key] /= sum;
    }
}

static void check_features(const attention_kernel *kernel, int64_t tokens, int64_t heads,
                           int64_t block, bool has_mask)
{
    enum { SIZE = 8, PITCH_MORE = 3 };
    uint64_t seed = (uint64_t)(tokens + 7 * heads + block);
    int64_t hidden = heads * SIZE;
    int64_t blocks = (tokens + block - 1) / block;
    int64_t pitch = block + PITCH_MORE;
    float *qkv = drawn(3 * tokens * hidden, -2, 2, &seed);
    float *mask = drawn(tokens, -3, 0, &seed);
    float *out = floats(tokens * hidden);
    float *images = floats(blocks * heads * block * pitch);
    double *row = calloc((size_t)tokens, sizeof *row);
    float *workspace;
    block_features f = {block, images, heads * block * pitch, block * pitch, pitch};
    attention_observer observer = block_features_observer(&f);
    attention_problem p = {.batch = 1,
                           .heads = heads,
                           .kv_heads = heads,
                           .rows = tokens,
                           .keys = tokens,
                           .size = SIZE,
                           .value_size = SIZE,
                           .scale = 0.35f,
                           .q = {qkv, 0, SIZE, hidden},
                           .k = {qkv + tokens * hidden, 0, SIZE, hidden},
                           .v = {qkv + 2 * tokens * hidden, 0, SIZE, hidden},
                           .out = out,
                           .out_head = SIZE,
                           .out_token = hidden,
                           .observer = &observer};

    assert_non_null(row);
    if (has_mask) {
        p.mask = (attention_mask){.kind = ATTENTION_ADD, .data = mask};
    }
    fill(images, blocks * heads * block * pitch, -7);
    p.slice = attention_slice(kernel, &p, 3);
    workspace = floats(attention_workspace(kernel, &p));
    for (int64_t piece = 0; piece < attention_pieces(&p); piece++) {
        attention_run(kernel, &p, piece, workspace);
    }
    for (int64_t head = 0; head < heads; head++) {
        for (int64_t r = 0; r < blocks * block; r++) {
            const float *image =
                images + (r / block * heads + head) * block * pitch + r % block * pitch;

            if (r < tokens) {
                weights_of(&p, head, r, row);
            }
            for (int64_t j = 0; j < pitch; j++) {
                int64_t key = r / block * block + j;
                bool is_there = r < tokens && j < block && key < tokens;

                assert_true(is_there ? fabs(image[j] - row[key]) < 2e-6 : image[j] == -7);
            }
        }
    }
    free(qkv);
    free(mask);
    free(out);
    free(images);
    free(row);
    free(workspace);
}

static void features_are_slices(void **state)
{
    static const int64_t sizes[][3] = {{1, 1, 4},   {4, 2, 4},    {31, 3, 8},   {64, 2, 32},
                                       {70, 5, 32}, {200, 1, 16}, {400, 2, 32}, {420, 1, 100}};

    (void)state;
    for (int v = 0; v < attention_f32_variant_count; v++) {
        if (!isa_usable(attention_f32_variants[v].level)) {
            continue;
        }
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            check_features(attention_f32_variants[v].table, sizes[i][0], sizes[i][1], sizes[i][2],
                           i % 2 == 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bias_alone_decides), cmocka_unit_test(smallest_block),
        cmocka_unit_test(every_variant), cmocka_unit_test(features_are_slices)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
