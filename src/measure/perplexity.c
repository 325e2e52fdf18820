/* How well a language model predicts a text. */
#include "spry/perplexity.h"

#include <math.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/progress.h"
#include "measure/evaluate.h"
#include "measure/text_feed.h"
#include "tensor/convert.h"
#include "tensor/value.h"

enum { DEFAULT_WINDOW = 512, MOST_WINDOW = 1 << 20 };

typedef struct predicting {
    const spry_perplexity_options *options;
    spry_perplexity *result;
    const spry_token *tokens;
    int64_t count;
    int64_t length; /* of a window */
    int64_t stride;
    text_feed feed;
    int32_t output;
    arena memory;
    int64_t *ids, *mask;
    float *row;
    int64_t row_size;
    double sum; /* of -ln p */
    int64_t right;
} predicting;

spry_perplexity_options spry_perplexity_options_default(void)
{
    return (spry_perplexity_options){.struct_size = sizeof(spry_perplexity_options)};
}

/* ---- what is to be run ---- */

static spry_status choose_output(predicting *x, spry_error *error)
{
    const char *wanted = x->options->output;

    x->output = text_feed_output(&x->feed, wanted != NULL ? wanted : "logits");
    if (x->output < 0 && wanted != NULL) {
        return spry_fail(error, SPRY_USAGE, "output", "list them with: spry inspect MODEL",
                         "the model has no output '%s'", wanted);
    }
    x->output = x->output < 0 ? 0 : x->output;
    return SPRY_OK;
}

static spry_status choose_windows(predicting *x, spry_error *error)
{
    const spry_perplexity_options *o = x->options;
    int64_t fixed = x->feed.length;

    if (x->count < 2) {
        return spry_fail(error, SPRY_USAGE, "text", NULL, "there are fewer than two tokens");
    }
    x->length = o->window > 0 ? o->window : fixed > 0 ? fixed : DEFAULT_WINDOW;
    x->length = fixed > 0 && x->length > fixed ? fixed : x->length;
    x->stride = o->stride > 0 ? o->stride : x->length - 1;
    if (x->length < 2 || x->stride >= x->length) {
        return spry_fail(error, SPRY_USAGE, "window", NULL,
                         "windows of %lld tokens cannot lie %lld apart: each needs a token that "
                         "the one before has",
                         (long long)x->length, (long long)x->stride);
    }
    x->length = x->length < x->count ? x->length : x->count;
    size_t row = (size_t)(fixed > x->length ? fixed : x->length);
    x->ids = arena_array(&x->memory, row, sizeof *x->ids);
    x->mask = arena_array(&x->memory, row, sizeof *x->mask);
    return x->ids != NULL && x->mask != NULL ? SPRY_OK : alloc_failed(error, row * sizeof *x->ids);
}

/* ---- counting ---- */

/* -ln of the probability that the logits give to `id`. */
static double loss_of(const float *logits, int64_t count, int64_t id)
{
    float most = logits[evaluate_best(logits, count)];
    double sum = 0;

    for (int64_t i = 0; i < count; i++) {
        sum += exp((double)logits[i] - (double)most);
    }
    return log(sum) - ((double)logits[id] - (double)most);
}

static spry_status check_logits(predicting *x, const spry_tensor *t, int64_t tokens,
                                spry_error *error)
{
    int64_t count = t != NULL ? tensor_count(t) : 0;

    if (t == NULL || t->rank != 3 || count % tokens != 0 || count / tokens < 2 ||
        dtype_class_of(t->dtype) == DTYPE_CLASS_STRING) {
        return spry_fail(error, SPRY_USAGE, "model", "choose the output with --output NAME",
                         "its output does not have logits [N,T,V] for %lld tokens",
                         (long long)tokens);
    }
    if (x->row != NULL) {
        return count / tokens == x->row_size ? SPRY_OK
                                             : spry_fail(error, SPRY_BAD_INPUT, "model", NULL,
                                                         "the number of logits changes");
    }
    x->row_size = count / tokens;
    x->row = arena_array(&x->memory, (size_t)x->row_size, sizeof *x->row);
    return x->row != NULL ? SPRY_OK : alloc_failed(error, (size_t)x->row_size * sizeof *x->row);
}

/* Predicts tokens [from, end of the window) of a window that begins at `begin` < from. */
static spry_status run_window(predicting *x, int64_t begin, int64_t from, spry_error *error)
{
    int64_t length = x->feed.length > 0 ? x->feed.length : x->length;

    for (int64_t i = 0; i < length; i++) {
        x->ids[i] = i < x->length ? x->tokens[begin + i].id : 0; /* seen by no token before it */
        x->mask[i] = i < x->length;
    }
    spry_status status = text_feed_run(&x->feed, length, x->ids, x->mask, NULL, error);
    const spry_tensor *t = status == SPRY_OK ? spry_value_tensor(x->feed.outputs[x->output]) : NULL;

    status = status == SPRY_OK ? check_logits(x, t, length, error) : status;
    for (int64_t i = from; status == SPRY_OK && i < begin + x->length; i++) {
        int64_t id = x->tokens[i].id;

        if (id >= x->row_size) {
            return spry_fail(error, SPRY_USAGE, "tokenizer",
                             "give the tokenizer that the model was trained with",
                             "token %lld is not among the model's %lld logits", (long long)id,
                             (long long)x->row_size);
        }
        convert_read_f32(t, (i - 1 - begin) * x->row_size, x->row_size, x->row);
        x->sum += loss_of(x->row, x->row_size, id);
        x->right += evaluate_best(x->row, x->row_size) == id;
    }
    x->result->windows++;
    return status;
}

static spry_status run_all(predicting *x, spry_error *error)
{
    spry_status status = SPRY_OK;
    int64_t begin = 0;

    for (int64_t done = 1; status == SPRY_OK && done < x->count;) {
        status = run_window(x, begin, done, error);
        done = begin + x->length;
        /* The last window is filled up with tokens that were predicted before. */
        begin +=
            x->stride < x->count - x->length - begin ? x->stride : x->count - x->length - begin;
        if (status == SPRY_OK) {
            status = progress_report(x->options->progress, "predicting", (double)done,
                                     (double)x->count, error);
        }
    }
    return status;
}

/* Of the text behind the first token, which is not predicted. */
static int64_t bytes_of(const predicting *x)
{
    int64_t end = x->tokens[0].end;

    for (int64_t i = 1; i < x->count; i++) {
        end = x->tokens[i].end > end ? x->tokens[i].end : end;
    }
    return end - x->tokens[0].end;
}

static spry_status measure(predicting *x, const spry_model *model, spry_session *session,
                           spry_error *error)
{
    spry_perplexity *r = x->result;
    int64_t start = clock_ns();
    spry_status status = text_feed_open(&x->feed, model, session, x->options->allocator, error);

    status = status == SPRY_OK ? choose_output(x, error) : status;
    status = status == SPRY_OK ? choose_windows(x, error) : status;
    status = status == SPRY_OK ? run_all(x, error) : status;
    if (status == SPRY_OK) {
        r->tokens = x->count - 1;
        r->bytes = bytes_of(x);
        r->loss = x->sum / (double)r->tokens;
        r->perplexity = exp(r->loss);
        r->bits_per_byte = r->bytes > 0 ? x->sum / (double)r->bytes / log(2) : 0;
        r->accuracy = (double)x->right / (double)r->tokens;
        r->run_seconds = x->feed.run_seconds;
        r->seconds = (double)(clock_ns() - start) * 1e-9;
    }
    text_feed_close(&x->feed);
    return status;
}

spry_status spry_perplexity_measure(const spry_model *model, spry_session *session,
                                    const spry_tokenizer *tokenizer, const char *text, size_t size,
                                    const spry_perplexity_options *options, spry_perplexity *result,
                                    spry_error *error)
{
    predicting x = {.options = options, .result = result};
    spry_encode_options how = spry_encode_options_default();
    spry_encoding *encoding = NULL;

    *result = (spry_perplexity){0};
    if (options->struct_size != sizeof *options || options->window < 0 || options->stride < 0 ||
        options->limit < 0 || options->window > MOST_WINDOW) {
        return spry_fail(error, SPRY_USAGE, NULL, "start from spry_perplexity_options_default()",
                         "the options are not initialised, or out of range");
    }
    how.no_special_in_text = true;
    spry_status status = spry_tokenizer_encode(tokenizer, text, size, &how, &encoding, error);
    if (status != SPRY_OK) {
        return status;
    }
    x.count = spry_encoding_tokens(encoding, &x.tokens);
    x.count = options->limit > 0 && options->limit < x.count ? options->limit : x.count;
    arena_init(&x.memory, options->allocator, SIZE_MAX);
    status = measure(&x, model, session, error);
    arena_fini(&x.memory);
    spry_encoding_destroy(encoding);
    return status;
}
