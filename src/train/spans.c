/* Questions with their answers as samples: windows of tokens, and which of them the answer is. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "data/dataset_memory.h"
#include "spry/answer.h"
#include "text/window.h"

enum { LEAST_WINDOW = 8, MOST_WINDOW = 4096, ROLES = 3 };

typedef struct span_work {
    const spry_tokenizer *tokenizer;
    const spry_span_options *options;
    token_list question, context;
    arena windows_memory;
    text_window *windows;
    int64_t window_count;
    /* The samples: room for `room` of them. */
    int64_t *rows[ROLES];
    int32_t *labels;
    int64_t count, room;
} span_work;

spry_span_options spry_span_options_default(void)
{
    return (spry_span_options){.struct_size = sizeof(spry_span_options),
                               .window = 384,
                               .stride = 128,
                               .longest_question = 64};
}

static spry_status check_options(const spry_span_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o || o->window < LEAST_WINDOW || o->window > MOST_WINDOW ||
        o->stride < 1 || o->longest_question < 1 || o->limit < 0) {
        return spry_fail(error, SPRY_USAGE, "options",
                         "windows of 8 to 4096 tokens; strides and lengths of 1 or more",
                         "a window, a stride or a length is out of range");
    }
    return SPRY_OK;
}

/* ---- one question ---- */

static spry_status read_question(span_work *w, const spry_squad_question *q, spry_error *error)
{
    const spry_span_options *o = w->options;
    int64_t added = window_added(w->tokenizer);
    int64_t room;
    int64_t stride;
    spry_status status;

    w->question.count = w->context.count = 0;
    status =
        tokenizer_tokens(w->tokenizer, q->question, strlen(q->question), true, &w->question, error);
    if (status == SPRY_OK) {
        status = tokenizer_tokens(w->tokenizer, q->context, strlen(q->context), true, &w->context,
                                  error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (w->question.count > (size_t)o->longest_question) {
        w->question.count = (size_t)o->longest_question;
    }
    room = o->window - added - (int64_t)w->question.count;
    if (added < 0 || room < 1 || w->context.count == 0) {
        return spry_fail(error, SPRY_USAGE, q->id, "use longer windows",
                         w->context.count == 0 ? "the context is empty"
                                               : "the question leaves no room for its context");
    }
    stride = o->stride < room ? o->stride : room;
    w->window_count = window_cut((int64_t)w->context.count, room, stride, 0, NULL);
    arena_fini(&w->windows_memory);
    arena_init(&w->windows_memory, &w->question.allocator, SIZE_MAX);
    w->windows = arena_array(&w->windows_memory, (size_t)w->window_count, sizeof *w->windows);
    if (w->windows == NULL) {
        return alloc_failed(error, (size_t)w->window_count * sizeof *w->windows);
    }
    (void)window_cut((int64_t)w->context.count, room, stride, w->window_count, w->windows);
    return SPRY_OK;
}

/* The tokens that bytes of the first answer come from; false where there are none. */
static bool find_answer(const span_work *w, const spry_squad_question *q, int64_t *first,
                        int64_t *last)
{
    int64_t begin = q->answer_count > 0 ? q->answers[0].begin : -1;
    int64_t end = begin >= 0 ? begin + (int64_t)strlen(q->answers[0].text) : -1;

    *first = *last = -1;
    for (size_t i = 0; i < w->context.count; i++) {
        const spry_token *t = &w->context.at[i];

        if (t->begin < end && t->end > begin) {
            *first = *first < 0 ? (int64_t)i : *first;
            *last = (int64_t)i;
        }
    }
    return *first >= 0;
}

static void write_samples(span_work *w, int64_t first, int64_t last)
{
    int64_t length = w->options->window;

    for (int64_t i = 0; i < w->window_count; i++, w->count++) {
        const text_window *window = &w->windows[i];
        int64_t at = w->count * length;
        int64_t offset = window_write(w->tokenizer, &w->question, &w->context, *window, length,
                                      w->rows[0] + at, w->rows[1] + at, w->rows[2] + at);
        bool is_inside = first >= window->first && last < window->first + window->count;

        w->labels[w->count] = is_inside ? (int32_t)(offset + first - window->first +
                                                    length * (offset + last - window->first))
                                        : 0;
    }
}

/* ---- all questions ---- */

/* Counts the samples, or writes them where there is room. */
static spry_status pass_over(span_work *w, const spry_squad *squad, bool is_counting,
                             spry_error *error)
{
    int64_t questions = spry_squad_count(squad);
    spry_status status = SPRY_OK;

    if (w->options->limit > 0 && w->options->limit < questions) {
        questions = w->options->limit;
    }
    for (int64_t i = 0; i < questions && status == SPRY_OK; i++) {
        spry_squad_question q = spry_squad_at(squad, i);
        int64_t first;
        int64_t last;

        status = read_question(w, &q, error);
        if (status != SPRY_OK) {
            break;
        }
        if (!find_answer(w, &q, &first, &last) && q.answer_count > 0) {
            status = spry_fail(error, SPRY_BAD_INPUT, q.id, "give answer_start",
                               "no token comes from the answer '%.60s'", q.answers[0].text);
        } else if (is_counting) {
            w->room += w->window_count;
        } else {
            write_samples(w, first, last);
        }
    }
    return status;
}

/* Arrays by the names that inputs have, with room for all samples. */
static spry_status make_arrays(span_work *w, const spry_allocator *allocator,
                               dataset_named arrays[2 * ROLES], spry_error *error)
{
    static const char *const names[] = {"input_ids", "attention_mask", "token_type_ids",
                                        "ids",       "input_mask",     "segment_ids"};
    const int64_t shape[] = {w->room, w->options->window};
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < 2 * ROLES; i++) {
        arrays[i] = (dataset_named){.name = names[i]};
    }
    for (int32_t i = 0; i < ROLES && status == SPRY_OK; i++) {
        status = tensor_init_owned(&arrays[i].rows, allocator, SPRY_DTYPE_I64, 2, shape, error);
        w->rows[i] = status == SPRY_OK ? arrays[i].rows.data : NULL;
        if (status == SPRY_OK) {
            status =
                tensor_init(&arrays[ROLES + i].rows, SPRY_DTYPE_I64, 2, shape, w->rows[i], error);
        }
    }
    w->labels = alloc_array(allocator, (size_t)w->room + 1, sizeof *w->labels);
    return status != SPRY_OK   ? status
           : w->labels != NULL ? SPRY_OK
                               : alloc_failed(error, (size_t)w->room * sizeof *w->labels);
}

static spry_status make_set(span_work *w, const spry_squad *squad, const spry_allocator *allocator,
                            spry_dataset **data, spry_error *error)
{
    dataset_named arrays[2 * ROLES];
    spry_status status = pass_over(w, squad, true, error);

    if (status != SPRY_OK) {
        return status;
    }
    status = make_arrays(w, allocator, arrays, error);
    if (status == SPRY_OK) {
        status = pass_over(w, squad, false, error);
    }
    if (status == SPRY_OK) {
        return dataset_of_arrays(allocator, "questions", arrays, 2 * ROLES, w->labels, data, error);
    }
    for (int32_t i = 0; i < 2 * ROLES; i++) {
        tensor_fini(&arrays[i].rows);
    }
    return status;
}

spry_status spry_span_data(const spry_squad *squad, const spry_tokenizer *tokenizer,
                           const spry_span_options *options, spry_dataset **data, spry_error *error)
{
    span_work w = {.tokenizer = tokenizer, .options = options};
    spry_allocator allocator;
    spry_status status = check_options(options, error);

    *data = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    allocator = alloc_resolve(options->allocator);
    token_list_init(&w.question, &allocator);
    token_list_init(&w.context, &allocator);
    arena_init(&w.windows_memory, &allocator, SIZE_MAX);
    status = make_set(&w, squad, &allocator, data, error);
    alloc_release(&allocator, w.labels, ((size_t)w.room + 1) * sizeof *w.labels);
    arena_fini(&w.windows_memory);
    token_list_fini(&w.question);
    token_list_fini(&w.context);
    return status;
}
