/* Windows over long contexts, and spans in them, against plain searches. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "support/sample.h"
#include "support/tokens.h"
#include "text/window.h"

enum { MOST = 200 };

static void windows_cover_the_context(void **state)
{
    spry_random random = spry_random_stream(31, 0);

    (void)state;
    for (int round = 0; round < 500; round++) {
        int64_t tokens = sample_integer(&random, 1, 150);
        int64_t room = sample_integer(&random, 1, 60);
        int64_t stride = sample_integer(&random, 1, room);
        text_window windows[MOST];
        int64_t count = window_cut(tokens, room, stride, MOST, windows);

        assert_true(count >= 1 && count <= MOST);
        assert_int_equal(window_cut(tokens, room, stride, 0, NULL), count);
        assert_int_equal(windows[0].first, 0);
        assert_int_equal(windows[count - 1].first + windows[count - 1].count, tokens);
        for (int64_t i = 0; i < count; i++) {
            assert_true(windows[i].count >= 1 && windows[i].count <= room);
            assert_true(i == 0 || windows[i].first - windows[i - 1].first == stride);
            assert_true(i + 1 == count || windows[i].count == room);
        }
        for (int64_t token = 0; token < tokens; token++) {
            int64_t best = -1;
            double most = -1;

            for (int64_t w = 0; w < count; w++) {
                int64_t left = token - windows[w].first;
                int64_t right = windows[w].first + windows[w].count - 1 - token;
                double score =
                    (double)(left < right ? left : right) + 0.01 * (double)windows[w].count;

                if (left >= 0 && right >= 0 && score > most) {
                    most = score;
                    best = w;
                }
            }
            for (int64_t w = 0; w < count; w++) {
                bool is_in =
                    token >= windows[w].first && token < windows[w].first + windows[w].count;
                assert_int_equal(is_in && window_is_best(windows, count, w, token), w == best);
            }
        }
    }
}

/* 384 tokens, a question of 10, three special ones: the windows of BERT's own script. */
static void windows_are_those_of_bert(void **state)
{
    text_window windows[8];

    (void)state;
    assert_int_equal(window_cut(500, 371, 128, 8, windows), 3);
    assert_int_equal(windows[1].first, 128);
    assert_int_equal(windows[1].count, 371);
    assert_int_equal(windows[2].first, 256);
    assert_int_equal(windows[2].count, 244);
    assert_true(window_is_best(windows, 3, 0, 249)); /* 121 to the right; 121 to the left */
    assert_true(window_is_best(windows, 3, 1, 250));
}

static void rows_are_question_and_window(void **state)
{
    static const int64_t expected_ids[] = {1, 3, 2, 4, 5, 2, 0, 0};
    static const int64_t expected_mask[] = {1, 1, 1, 1, 1, 1, 0, 0};
    static const int64_t expected_segments[] = {0, 0, 0, 1, 1, 1, 0, 0};
    spry_tokenizer *t = tokens_words("[UNK] [CLS] [SEP] q a b c");
    int64_t ids[8];
    int64_t mask[8];
    int64_t segments[8];
    token_list question;
    token_list context;

    (void)state;
    token_list_init(&question, NULL);
    token_list_init(&context, NULL);
    assert_int_equal(tokenizer_tokens(t, "q", 1, true, &question, NULL), SPRY_OK);
    assert_int_equal(tokenizer_tokens(t, "c a b c", 7, true, &context, NULL), SPRY_OK);
    assert_int_equal(window_added(t), 3);
    assert_int_equal(
        window_write(t, &question, &context, (text_window){1, 2}, 8, ids, mask, segments), 3);
    assert_memory_equal(ids, expected_ids, sizeof ids);
    assert_memory_equal(mask, expected_mask, sizeof mask);
    assert_memory_equal(segments, expected_segments, sizeof segments);
    token_list_fini(&question);
    token_list_fini(&context);
    spry_tokenizer_destroy(t);
}

/* With as many candidates as tokens, the best span is the best of all pairs. */
static void the_best_span_is_found(void **state)
{
    spry_random random = spry_random_stream(32, 0);

    (void)state;
    for (int round = 0; round < 300; round++) {
        enum { TOKENS = 24, OFFSET = 5 };
        float start[TOKENS + OFFSET];
        float end[TOKENS + OFFSET];
        static span found[TOKENS * TOKENS];
        int64_t size = sample_integer(&random, 1, TOKENS);
        int32_t longest = (int32_t)sample_integer(&random, 1, 8);
        text_window window = {40, size};
        const span_logits logits = {start, end, OFFSET};
        double best = -INFINITY;
        int64_t pairs = 0;

        sample_f32(&random, start, TOKENS + OFFSET);
        sample_f32(&random, end, TOKENS + OFFSET);
        for (int64_t s = 0; s < size; s++) {
            for (int64_t e = s; e < size && e - s < longest; e++) {
                double score = (double)start[OFFSET + s] + (double)end[OFFSET + e];
                best = score > best ? score : best;
                pairs++;
            }
        }
        int64_t count = span_search(&window, 1, 0, &logits, TOKENS, longest, found);
        assert_int_equal(count, pairs);
        assert_true(found[0].score == best);
        for (int64_t i = 0; i < count; i++) {
            assert_true(found[i].first >= 40 && found[i].last < 40 + size);
            assert_true(found[i].last >= found[i].first);
            assert_true(found[i].last - found[i].first < longest);
            assert_true(i == 0 || found[i].score <= found[i - 1].score);
        }
        /* Fewer candidates give spans of the best beginnings and ends only. */
        count = span_search(&window, 1, 0, &logits, 1, TOKENS, found);
        assert_true(count <= 1);
    }
}

static void odd_logits_are_not_chosen(void **state)
{
    const float start[] = {NAN, 1, -INFINITY, 3};
    const float end[] = {NAN, NAN, 2, -INFINITY};
    const span_logits logits = {start, end, 0};
    text_window window = {0, 4};
    span found[16];
    int64_t count = span_search(&window, 1, 0, &logits, 4, 30, found);

    (void)state;
    assert_true(count >= 1);
    assert_int_equal(found[0].first, 1);
    assert_int_equal(found[0].last, 2);
    assert_true(found[0].score == 3);
    for (int64_t i = 0; i < count; i++) {
        assert_true(found[i].score == found[i].score);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_cover_the_context),    cmocka_unit_test(windows_are_those_of_bert),
        cmocka_unit_test(rows_are_question_and_window), cmocka_unit_test(the_best_span_is_found),
        cmocka_unit_test(odd_logits_are_not_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
