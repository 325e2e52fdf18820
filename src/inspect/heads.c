/* Looking at the heads of a model: the steps, and what is told. */
#include "inspect/heads.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "model/model.h"

enum {
    DEFAULT_WINDOW = 128,
    DEFAULT_LIMIT = 64,
    LEAST_WINDOW = 8,
    MOST_WINDOW = 1 << 20,
    MOST_SEQUENCES = 10000
};

spry_heads_options spry_heads_options_default(void)
{
    return (spry_heads_options){.struct_size = sizeof(spry_heads_options)};
}

static spry_status check_options(const spry_heads_options *o, spry_error *error)
{
    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_heads_options_default()",
                         "not initialised");
    }
    if (o->window != 0 && (o->window < LEAST_WINDOW || o->window > MOST_WINDOW)) {
        return spry_fail(error, SPRY_USAGE, "window", "8 to 1048576, or 0",
                         "sequences of %lld tokens", (long long)o->window);
    }
    if (o->limit < 0 || o->limit > MOST_SEQUENCES) {
        return spry_fail(error, SPRY_USAGE, "limit", "1 to 10000, or 0", "%lld sequences",
                         (long long)o->limit);
    }
    if (o->clusters < 0 || o->clusters > SPRY_HEADS_MOST_CLUSTERS) {
        return spry_fail(error, SPRY_USAGE, "clusters", "1 to 10, or 0", "%d clusters",
                         (int)o->clusters);
    }
    return SPRY_OK;
}

/* Maps that a model shows as outputs would have to be held: only the first output stays. */
static void keep_one_output(model *m)
{
    graph *g = m->main;

    for (int32_t i = 1; i < g->output_count; i++) {
        g->values[g->outputs[i]].is_output = g->outputs[i] == g->outputs[0];
    }
    g->output_count = g->output_count > 1 ? 1 : g->output_count;
}

static bool has_segments(const text_feed *f)
{
    for (int32_t i = 0; i < f->input_count; i++) {
        if (f->roles[i] == TEXT_SEGMENTS) {
            return true;
        }
    }
    return false;
}

static spry_status open_session(spry_heads *h, const spry_model *source, spry_error *error)
{
    spry_session_options how = spry_session_options_default();
    spry_status status = model_copy(source, &h->model, error);

    how.threads = h->options.threads;
    how.seed = h->options.seed;
    how.allocator = &h->allocator;
    how.attention = &h->probe;
    if (status == SPRY_OK) {
        keep_one_output(h->model);
        status = spry_session_create(h->model, &how, &h->session, error);
    }
    return status == SPRY_OK ? text_feed_open(&h->feed, h->model, h->session, &h->allocator, error)
                             : status;
}

static spry_status open_text(spry_heads *h, const spry_tokenizer *tokenizer, const char *text,
                             size_t size, spry_error *error)
{
    const spry_heads_options *o = &h->options;
    spry_status status =
        heads_text_open(&h->text, tokenizer, text, size, has_segments(&h->feed),
                        o->window > 0 ? o->window : DEFAULT_WINDOW, h->feed.length,
                        o->limit > 0 ? o->limit : DEFAULT_LIMIT, &h->memory, error);

    h->text.keeps_special_rows = o->keep_special_rows;
    if (status == SPRY_OK && h->feed.length > h->text.window && !h->feed.has_mask) {
        status = spry_fail(error, SPRY_USAGE, "text", "give a longer text",
                           "the model takes sequences of %lld tokens and has no attention_mask",
                           (long long)h->feed.length);
    }
    return status;
}

spry_status heads_open(const spry_model *source, const spry_tokenizer *tokenizer, const char *text,
                       size_t size, const spry_heads_options *options, spry_heads **heads,
                       spry_error *error)
{
    spry_status status = check_options(options, error);

    *heads = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    spry_allocator allocator = alloc_resolve(options->allocator);
    spry_heads *made = alloc_zeroed(&allocator, sizeof *made);
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = allocator;
    made->options = *options;
    made->options.allocator = &made->allocator;
    arena_init(&made->memory, &made->allocator, SIZE_MAX);
    token_list_init(&made->text.tokens, &made->allocator);
    *heads = made;
    status = open_session(made, source, error);
    return status == SPRY_OK ? open_text(made, tokenizer, text, size, error) : status;
}

spry_status spry_heads_inspect(const spry_model *source, const spry_tokenizer *tokenizer,
                               const char *text, size_t size, const spry_heads_options *options,
                               spry_heads **heads, spry_error *error)
{
    int64_t start = clock_ns();
    spry_heads *made = NULL;
    spry_status status = heads_open(source, tokenizer, text, size, options, &made, error);

    *heads = NULL;
    status = status == SPRY_OK ? heads_gather(made, error) : status;
    status = status == SPRY_OK ? heads_group(made, error) : status;
    status = status == SPRY_OK && options->ablate ? heads_ablate(made, error) : status;
    if (status == SPRY_OK) {
        made->totals.seconds = (double)(clock_ns() - start) * 1e-9;
        *heads = made;
    } else {
        spry_heads_destroy(made);
    }
    return status;
}

void spry_heads_destroy(spry_heads *heads)
{
    spry_allocator allocator;

    if (heads == NULL) {
        return;
    }
    allocator = heads->allocator;
    text_feed_close(&heads->feed);
    spry_session_destroy(heads->session);
    spry_model_destroy(heads->model);
    heads_text_close(&heads->text);
    arena_fini(&heads->memory);
    alloc_release(&allocator, heads, sizeof *heads);
}

int32_t spry_heads_list(const spry_heads *heads, const spry_head **list)
{
    *list = heads->list;
    return heads->head_count;
}

int32_t spry_heads_clusters(const spry_heads *heads, const spry_heads_cluster **list)
{
    *list = heads->clusters;
    return heads->totals.clusters;
}

int32_t spry_heads_choices(const spry_heads *heads, const spry_heads_choice **list)
{
    *list = heads->choices;
    return heads->choice_count;
}

spry_heads_totals spry_heads_describe(const spry_heads *heads)
{
    return heads->totals;
}
