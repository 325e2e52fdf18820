/* Attention against its definition, one score at a time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 60, MOST = 20000, MOST_KEYS = 32 };

typedef struct problem {
    const op_harness *h;
    bool joined; /* [batch, positions, heads * size] */
    bool causal;
    int64_t batch, heads, kv_heads, rows, past, fresh, size, v_size;
} problem;

/* Element `i` of head `head` at position `p` in input `input`. */
static double element(const problem *p, int input, int64_t image, int64_t heads, int64_t head,
                      int64_t position, int64_t i, int64_t size)
{
    int64_t positions = input == 0 ? p->rows : p->fresh;
    int64_t row = p->joined ? (image * positions + position) * heads + head
                            : (image * heads + head) * positions + position;

    return convert_get_f64(&p->h->inputs[input].tensor, row * size + i);
}

/* Key (which 0) or value (which 1) `j`, those of the cache first. */
static double stored(const problem *p, int which, int64_t image, int64_t head, int64_t j, int64_t i)
{
    int64_t size = which == 0 ? p->size : p->v_size;

    if (j < p->past) {
        int64_t row = (image * p->kv_heads + head) * p->past + j;

        return convert_get_f64(&p->h->inputs[4 + which].tensor, row * size + i);
    }
    return element(p, 1 + which, image, p->kv_heads, head, j - p->past, i, size);
}

static double expected_at(const problem *p, int64_t image, int64_t head, int64_t row, int64_t i)
{
    int64_t source = head * p->kv_heads / p->heads;
    int64_t total = p->past + p->fresh;
    double scores[MOST_KEYS];
    double sum = 0.0;
    double result = 0.0;

    for (int64_t j = 0; j < total; j++) {
        double score = 0.0;

        for (int64_t k = 0; k < p->size; k++) {
            score += element(p, 0, image, p->heads, head, row, k, p->size) *
                     stored(p, 0, image, source, j, k);
        }
        score /= sqrt((double)p->size);
        if (p->h->present[3] && p->h->input_count > 3) {
            score += convert_get_f64(&p->h->inputs[3].tensor, row * total + j);
        }
        scores[j] = p->causal && j > row + p->past ? 0.0 : exp(score);
        sum += scores[j];
    }
    for (int64_t j = 0; j < total; j++) {
        result += scores[j] / sum * stored(p, 1, image, source, j, i);
    }
    return result;
}

static void draw(op_harness *h, spry_dtype dtype, const problem *p, int64_t heads,
                 int64_t positions, int64_t size)
{
    if (p->joined) {
        op_harness_any(h, dtype, 3, (int64_t[]){p->batch, positions, heads * size}, false);
    } else {
        op_harness_any(h, dtype, 4, (int64_t[]){p->batch, heads, positions, size}, false);
    }
}

static void draw_problem(op_harness *h, problem *p, spry_dtype dtype, int round)
{
    p->h = h;
    p->joined = round % 2 == 0;
    p->causal = round % 3 == 0;
    p->batch = 1 + op_harness_next(h, 2);
    p->kv_heads = 1 + op_harness_next(h, 2);
    p->heads = p->kv_heads * (1 + op_harness_next(h, 3));
    p->rows = 1 + op_harness_next(h, 5);
    p->fresh = p->rows + op_harness_next(h, 5);
    p->past = round % 4 == 0 ? 1 + op_harness_next(h, 4) : 0;
    p->size = 1 + op_harness_next(h, 9);
    p->v_size = 1 + op_harness_next(h, 9);
    op_harness_int(h, "q_num_heads", p->heads);
    op_harness_int(h, "kv_num_heads", p->kv_heads);
    op_harness_int(h, "is_causal", p->causal);
    draw(h, dtype, p, p->heads, p->rows, p->size);
    draw(h, dtype, p, p->kv_heads, p->fresh, p->size);
    draw(h, dtype, p, p->kv_heads, p->fresh, p->v_size);
    if (round % 5 < 2) {
        op_harness_any(h, dtype, 2, (int64_t[]){p->rows, p->past + p->fresh}, false);
    } else {
        op_harness_omit(h);
    }
    if (p->past > 0) {
        op_harness_any(h, dtype, 4, (int64_t[]){p->batch, p->kv_heads, p->past, p->size}, false);
        op_harness_any(h, dtype, 4, (int64_t[]){p->batch, p->kv_heads, p->past, p->v_size}, false);
    }
}

static void test_attention(void **state)
{
    static const spry_dtype dtypes[] = {SPRY_DTYPE_F32, SPRY_DTYPE_F64, SPRY_DTYPE_F16};
    static const double tolerances[] = {1e-5, 1e-10, 5e-3};
    static double expected[MOST];

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        problem p;
        op_harness h;

        op_harness_init(&h, "", "Attention", 23);
        h.state = (uint64_t)round;
        draw_problem(&h, &p, dtypes[round % 3], round);
        op_harness_run(&h, 3);
        for (int64_t k = 0; k < tensor_count(op_harness_output(&h, 0)); k++) {
            int64_t i = k % p.v_size;
            int64_t inner = k / p.v_size;
            int64_t head = p.joined ? inner % p.heads : inner / p.rows % p.heads;
            int64_t row = p.joined ? inner / p.heads % p.rows : inner % p.rows;

            expected[k] = expected_at(&p, inner / (p.heads * p.rows), head, row, i);
        }
        op_harness_expect_f64(&h, 0, expected, tolerances[round % 3]);
        op_harness_expect(&h, 1, dtypes[round % 3], 4,
                          (int64_t[]){p.batch, p.kv_heads, p.past + p.fresh, p.size});
        op_harness_fini(&h);
    }
}

static void test_refusals(void **state)
{
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Attention", 23); /* three heads of keys for two of queries */
    op_harness_any(&h, SPRY_DTYPE_F32, 4, (int64_t[]){1, 2, 3, 4}, false);
    op_harness_any(&h, SPRY_DTYPE_F32, 4, (int64_t[]){1, 3, 3, 4}, false);
    op_harness_any(&h, SPRY_DTYPE_F32, 4, (int64_t[]){1, 3, 3, 4}, false);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Attention", 23); /* no number of heads */
    op_harness_any(&h, SPRY_DTYPE_F32, 3, (int64_t[]){1, 2, 4}, false);
    op_harness_any(&h, SPRY_DTYPE_F32, 3, (int64_t[]){1, 2, 4}, false);
    op_harness_any(&h, SPRY_DTYPE_F32, 3, (int64_t[]){1, 2, 4}, false);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
