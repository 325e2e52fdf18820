/* Answers from a model: windows through the session, spans from its logits, the best of all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "measure/text_feed.h"
#include "spry/answer.h"
#include "tensor/convert.h"
#include "tensor/value.h"
#include "text/window.h"

/* Lengths of what is run are rounded up to these, where a mask can hide the rest: a plan is made
 * per length. */
enum { DEFAULT_WINDOW = 384, LENGTH_STEP = 32, MOST_WINDOW = 1 << 20, MOST_TOP = 1000 };

struct spry_answers {
    spry_allocator allocator;
    spry_answer *list;
    int32_t count;
    size_t room;
    spry_answers_info info;
};

typedef struct answering {
    const spry_answer_options *options;
    const spry_tokenizer *tokenizer;
    text_feed feed;
    int32_t start, end; /* outputs; equal: one output with both */
    int32_t report;     /* output that tells which blocks were computed; -1: none */
    spry_answer_blocks blocks;
    token_list question, context;
    arena memory;
    int64_t length; /* most tokens of a window */
    text_window *windows;
    int64_t window_count;
    int64_t *ids, *mask, *segments;
    float *start_logits, *end_logits;
    span *found; /* of one window */
    span *best;  /* of all windows, best first */
    int64_t best_count;
    int64_t best_room;
    double none_score;
} answering;

spry_answer_options spry_answer_options_default(void)
{
    return (spry_answer_options){.struct_size = sizeof(spry_answer_options),
                                 .stride = 128,
                                 .longest_question = 64,
                                 .longest_answer = 30,
                                 .candidates = 20,
                                 .top = 1};
}

/* ---- what is to be run ---- */

static spry_status check_options(const spry_answer_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o || o->window < 0 || o->window > MOST_WINDOW || o->stride < 1 ||
        o->longest_question < 1 || o->longest_answer < 1 || o->candidates < 1 ||
        o->candidates > SPAN_MOST_CANDIDATES || o->top < 1 || o->top > MOST_TOP ||
        isnan(o->none_threshold)) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_answer_options_default()",
                         "a window, a length or a number is out of range");
    }
    return SPRY_OK;
}

static spry_status find_outputs(answering *x, spry_error *error)
{
    x->report = text_feed_output(&x->feed, "kept_blocks");
    x->start = text_feed_output(&x->feed, "start_logits");
    x->end = text_feed_output(&x->feed, "end_logits");
    if (x->start < 0 || x->end < 0) {
        int32_t others = x->feed.output_count - (x->report >= 0);

        x->start = 0;
        x->end = others > 1 ? 1 : 0;
    }
    for (int32_t i = 0; i < 2; i++) {
        spry_port port;
        spry_status status =
            spry_model_output(x->feed.model, i == 0 ? x->start : x->end, &port, error);

        if (status != SPRY_OK) {
            return status;
        }
        int rank = x->start == x->end ? 3 : 2;
        if (port.rank >= 0 && port.rank != rank) {
            return spry_fail(error, SPRY_USAGE, port.name,
                             "give a model with start_logits and end_logits, or one output [N,T,2]",
                             "an output of rank %d does not mark beginnings or ends of answers",
                             port.rank);
        }
    }
    return SPRY_OK;
}

static spry_status read_texts(answering *x, const char *question, const char *context,
                              spry_error *error)
{
    spry_status status =
        tokenizer_tokens(x->tokenizer, question, strlen(question), true, &x->question, error);

    if (status == SPRY_OK) {
        status = tokenizer_tokens(x->tokenizer, context, strlen(context), true, &x->context, error);
    }
    if (status == SPRY_OK && x->question.count == 0) {
        return spry_fail(error, SPRY_USAGE, "question", NULL, "the question is empty");
    }
    if (status == SPRY_OK && x->context.count == 0) {
        return spry_fail(error, SPRY_USAGE, "context", NULL, "the context is empty");
    }
    if (x->question.count > (size_t)x->options->longest_question) {
        x->question.count = (size_t)x->options->longest_question;
    }
    return status;
}

static spry_status make_windows(answering *x, spry_error *error)
{
    int64_t added = window_added(x->tokenizer);
    int64_t tokens = (int64_t)x->context.count;

    if (added < 0) {
        return spry_fail(error, SPRY_USAGE, "tokenizer", NULL,
                         "it does not say how a question and a context are put together");
    }
    x->length = x->feed.length > 0       ? x->feed.length
                : x->options->window > 0 ? x->options->window
                                         : DEFAULT_WINDOW;
    if (x->options->window > 0 && x->options->window < x->length) {
        x->length = x->options->window;
    }
    int64_t room = x->length - added - (int64_t)x->question.count;
    if (room < 1) {
        return spry_fail(error, SPRY_USAGE, "question", "shorten it, or use longer windows",
                         "its %zu tokens and %lld special ones leave no room in windows of %lld",
                         x->question.count, (long long)added, (long long)x->length);
    }
    int64_t stride = x->options->stride < room ? x->options->stride : room;
    x->window_count = window_cut(tokens, room, stride, 0, NULL);
    x->windows = arena_array(&x->memory, (size_t)x->window_count, sizeof *x->windows);
    if (x->windows == NULL) {
        return alloc_failed(error, (size_t)x->window_count * sizeof *x->windows);
    }
    (void)window_cut(tokens, room, stride, x->window_count, x->windows);
    return SPRY_OK;
}

static spry_status make_room(answering *x, spry_error *error)
{
    int64_t most = x->feed.length > x->length ? x->feed.length : x->length;
    size_t pairs = (size_t)x->options->candidates * (size_t)x->options->candidates;
    size_t row = (size_t)most + LENGTH_STEP;

    x->best_room =
        x->options->top > x->options->candidates ? x->options->top : x->options->candidates;
    x->ids = arena_array(&x->memory, row, sizeof *x->ids);
    x->mask = arena_array(&x->memory, row, sizeof *x->mask);
    x->segments = arena_array(&x->memory, row, sizeof *x->segments);
    x->start_logits = arena_array(&x->memory, row, sizeof *x->start_logits);
    x->end_logits = arena_array(&x->memory, row, sizeof *x->end_logits);
    x->found = arena_array(&x->memory, pairs, sizeof *x->found);
    x->best = arena_array(&x->memory, (size_t)x->best_room + 1, sizeof *x->best);
    if (x->ids == NULL || x->mask == NULL || x->segments == NULL || x->start_logits == NULL ||
        x->end_logits == NULL || x->found == NULL || x->best == NULL) {
        return alloc_failed(error, row * sizeof *x->ids);
    }
    return SPRY_OK;
}

/* ---- running ---- */

/* Logits of `count` tokens: an output [1,T], or every second number of one [1,T,2]. */
static spry_status read_logits(const answering *x, int32_t output, int64_t which, int64_t count,
                               float *to, spry_error *error)
{
    const spry_tensor *t = spry_value_tensor(x->feed.outputs[output]);
    int64_t each = x->start == x->end ? 2 : 1;

    if (t == NULL || tensor_count(t) != count * each ||
        dtype_class_of(t->dtype) == DTYPE_CLASS_STRING) {
        return spry_fail(error, SPRY_USAGE, "model", NULL,
                         "its output does not have %s for each of %lld tokens",
                         each == 2 ? "two numbers" : "one number", (long long)count);
    }
    for (int64_t i = 0; i < count; i++) {
        convert_read_f32(t, i * each + which, 1, to + i);
    }
    return SPRY_OK;
}

/* Adds up the blocks that each layer computed: an output [1, layers, K] of zeros and ones. */
static spry_status count_blocks(answering *x, spry_error *error)
{
    const spry_tensor *t = x->report >= 0 ? spry_value_tensor(x->feed.outputs[x->report]) : NULL;

    if (x->report < 0) {
        return SPRY_OK;
    }
    if (t == NULL || t->rank != 3 || t->dtype != SPRY_DTYPE_F32) {
        return spry_fail(error, SPRY_USAGE, "kept_blocks", NULL,
                         "the output does not tell blocks by layer, f32 [1, layers, blocks]");
    }
    x->blocks.layer_count =
        t->shape[1] < SPRY_ANSWER_LAYERS ? (int32_t)t->shape[1] : SPRY_ANSWER_LAYERS;
    for (int64_t i = 0; i < x->blocks.layer_count * t->shape[2]; i++) {
        x->blocks.layers[i / t->shape[2]] += ((const float *)t->data)[i] > 0.0f;
    }
    return SPRY_OK;
}

/* How many tokens are run for a window of `used`. */
static int64_t run_length(const answering *x, int64_t used)
{
    int64_t rounded = (used + LENGTH_STEP - 1) / LENGTH_STEP * LENGTH_STEP;

    if (x->feed.length > 0) {
        return x->feed.length;
    }
    if (!x->feed.has_mask) {
        return used;
    }
    return rounded < x->length ? rounded : x->length;
}

/* The same text from another window or pair of tokens is no other answer. */
static void keep(answering *x, const span *s)
{
    int64_t place = x->best_count;

    for (int64_t i = 0; i < x->best_count; i++) {
        if (x->best[i].first == s->first && x->best[i].last == s->last) {
            return;
        }
    }
    while (place > 0 && s->score > x->best[place - 1].score) {
        place--;
    }
    if (place >= x->best_room) {
        return;
    }
    memmove(x->best + place + 1, x->best + place,
            (size_t)(x->best_count - place) * sizeof *x->best);
    x->best[place] = *s;
    x->best_count += x->best_count < x->best_room;
}

static spry_status run_window(answering *x, int64_t which, spry_error *error)
{
    text_window w = x->windows[which];
    int64_t used = w.count + window_added(x->tokenizer) + (int64_t)x->question.count;
    int64_t length = run_length(x, used);
    int64_t offset = window_write(x->tokenizer, &x->question, &x->context, w, length, x->ids,
                                  x->mask, x->segments);
    spry_status status = text_feed_run(&x->feed, length, x->ids, x->mask, x->segments, error);

    if (status == SPRY_OK) {
        status = read_logits(x, x->start, 0, length, x->start_logits, error);
    }
    if (status == SPRY_OK) {
        status = read_logits(x, x->end, x->start == x->end, length, x->end_logits, error);
    }
    if (status == SPRY_OK) {
        status = count_blocks(x, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    const span_logits logits = {x->start_logits, x->end_logits, offset};
    int64_t count = span_search(x->windows, x->window_count, which, &logits, x->options->candidates,
                                x->options->longest_answer, x->found);
    for (int64_t i = 0; i < count; i++) {
        keep(x, &x->found[i]);
    }
    double none = (double)x->start_logits[0] + (double)x->end_logits[0];
    x->none_score = which == 0 || none < x->none_score ? none : x->none_score;
    return SPRY_OK;
}

/* ---- the result ---- */

static spry_status fill(const answering *x, spry_answers *a, spry_error *error)
{
    const spry_answer_options *o = x->options;
    int64_t given = x->best_count < o->top ? x->best_count : o->top;
    double most = x->best_count > 0 ? x->best[0].score : 0;
    double total = 0;

    a->info = (spry_answers_info){.windows = (int32_t)x->window_count,
                                  .context_tokens = (int64_t)x->context.count,
                                  .question_tokens = (int64_t)x->question.count,
                                  .none_score = x->none_score,
                                  .run_seconds = x->feed.run_seconds,
                                  .blocks = x->blocks};
    a->info.is_none = o->may_be_none &&
                      (x->best_count == 0 || x->none_score - x->best[0].score > o->none_threshold);
    a->list = alloc_array(&a->allocator, (size_t)given, sizeof *a->list);
    if (a->list == NULL) {
        return alloc_failed(error, (size_t)given * sizeof *a->list);
    }
    a->room = (size_t)given;
    most = o->may_be_none && x->none_score > most ? x->none_score : most;
    for (int64_t i = 0; i < x->best_count; i++) {
        total += exp(x->best[i].score - most);
    }
    total += o->may_be_none ? exp(x->none_score - most) : 0;
    for (int64_t i = 0; i < given; i++) {
        const span *s = &x->best[i];

        a->list[a->count++] = (spry_answer){.begin = x->context.at[s->first].begin,
                                            .end = x->context.at[s->last].end,
                                            .score = s->score,
                                            .probability = exp(s->score - most) / total,
                                            .window = s->window};
    }
    return SPRY_OK;
}

spry_status spry_answer_find(const spry_model *model, spry_session *session,
                             const spry_tokenizer *tokenizer, const char *question,
                             const char *context, const spry_answer_options *options,
                             spry_answers **answers, spry_error *error)
{
    answering x = {.options = options, .tokenizer = tokenizer};
    spry_status status = check_options(options, error);

    *answers = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    spry_allocator allocator = alloc_resolve(options->allocator);
    spry_answers *made = alloc_zeroed(&allocator, sizeof *made);
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = allocator;
    arena_init(&x.memory, &allocator, SIZE_MAX);
    token_list_init(&x.question, &allocator);
    token_list_init(&x.context, &allocator);
    status = text_feed_open(&x.feed, model, session, &allocator, error);
    status = status == SPRY_OK ? find_outputs(&x, error) : status;
    status = status == SPRY_OK ? read_texts(&x, question, context, error) : status;
    status = status == SPRY_OK ? make_windows(&x, error) : status;
    status = status == SPRY_OK ? make_room(&x, error) : status;
    for (int64_t i = 0; status == SPRY_OK && i < x.window_count; i++) {
        status = run_window(&x, i, error);
    }
    status = status == SPRY_OK ? fill(&x, made, error) : status;
    text_feed_close(&x.feed);
    token_list_fini(&x.question);
    token_list_fini(&x.context);
    arena_fini(&x.memory);
    if (status != SPRY_OK) {
        spry_answers_destroy(made);
        return status;
    }
    *answers = made;
    return SPRY_OK;
}

void spry_answers_destroy(spry_answers *answers)
{
    if (answers != NULL) {
        spry_allocator allocator = answers->allocator;

        alloc_release(&allocator, answers->list, answers->room * sizeof *answers->list);
        alloc_release(&allocator, answers, sizeof *answers);
    }
}

int32_t spry_answers_list(const spry_answers *answers, const spry_answer **list)
{
    *list = answers->list;
    return answers->count;
}

spry_answers_info spry_answers_describe(const spry_answers *answers)
{
    return answers->info;
}
