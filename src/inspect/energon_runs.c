/* Images one by one, or sequences of a text, through a session. */
#include <string.h>

#include "base/alloc.h"
#include "inspect/energon.h"
#include "model/model.h"

/* Maps that a model shows as outputs would have to be computed whole: only the first output stays.
 */
static void keep_one_output(model *m)
{
    graph *g = m->main;

    for (int32_t i = 1; i < g->output_count; i++) {
        g->values[g->outputs[i]].is_output = g->outputs[i] == g->outputs[0];
    }
    g->output_count = g->output_count > 1 ? 1 : g->output_count;
}

static spry_status open_images(energon_runs *r, const spry_model *source,
                               const spry_energon_options *o, spry_error *error)
{
    spry_session_options how = spry_session_options_default();
    spry_status status = model_copy(source, &r->model, error);

    how.threads = o->threads;
    how.allocator = &r->allocator;
    how.attention = &r->probe;
    if (status != SPRY_OK) {
        return status;
    }
    keep_one_output(r->model);
    if (spry_model_input_count(r->model) != 1) {
        return spry_fail(error, SPRY_USAGE, r->model->path,
                         "give a text where it is a model of tokens",
                         "samples are fed to one input; the model has %d",
                         (int)spry_model_input_count(r->model));
    }
    status = spry_model_input(r->model, 0, &r->input, error);
    if (status == SPRY_OK &&
        (r->input.dtype != SPRY_DTYPE_F32 || r->input.rank < 1 || r->input.shape[0] > 1)) {
        return spry_fail(error, SPRY_UNSUPPORTED, r->input.name, NULL,
                         "samples are fed one by one, to an input of f32 whose rank is stated");
    }
    if (status == SPRY_OK) {
        status = spry_session_create(r->model, &how, &r->session, error);
    }
    r->images = o->images;
    r->recipe = o->recipe != NULL ? *o->recipe : spry_preprocess_default();
    r->count = spry_dataset_count(o->images);
    r->count = o->limit < r->count ? o->limit : r->count;
    return status;
}

static spry_status open_text(energon_runs *r, const spry_model *source,
                             const spry_energon_options *o, spry_error *error)
{
    spry_heads_options how = spry_heads_options_default();
    spry_status status;

    how.window = o->window;
    how.limit = o->limit;
    how.threads = o->threads;
    how.allocator = &r->allocator;
    status = heads_open(source, o->tokenizer, o->text, o->text_size, &how, &r->heads, error);
    if (status == SPRY_OK) {
        r->count = r->heads->text.sequences;
    }
    return status;
}

spry_status energon_runs_open(energon_runs *r, const spry_model *source,
                              const spry_energon_options *options, spry_error *error)
{
    spry_status status;

    *r = (energon_runs){.allocator = alloc_resolve(options->allocator)};
    status = options->images != NULL ? open_images(r, source, options, error)
                                     : open_text(r, source, options, error);
    if (status == SPRY_OK && r->count < 2) {
        return spry_fail(error, SPRY_USAGE, "samples", "give more of them, or a smaller window",
                         "there is %lld: one is to choose by, another one to check",
                         (long long)r->count);
    }
    return status;
}

void energon_runs_close(energon_runs *r)
{
    spry_session_destroy(r->session);
    spry_model_destroy(r->model);
    spry_heads_destroy(r->heads);
    *r = (energon_runs){.count = 0};
}

spry_status energon_runs_one(energon_runs *r, int64_t index, spry_error *error)
{
    spry_tensor *batch = NULL;
    spry_value *input = NULL;
    spry_value *output = NULL;
    const char *name = r->input.name;
    spry_status status;

    if (r->heads != NULL) {
        r->heads->probe = r->probe;
        return heads_run(r->heads, index, error);
    }
    status = spry_dataset_batch(r->images, index, 1, &r->recipe, r->input.dtype, r->input.rank,
                                r->input.shape, &batch, NULL, error);
    if (status == SPRY_OK) {
        status = spry_value_from_tensor(&r->allocator, batch, &input, error);
    }
    if (status == SPRY_OK) {
        status = spry_session_run(r->session, 1, &name, (const spry_value *const *)&input, 1,
                                  &output, error);
    }
    spry_value_destroy(input);
    spry_value_destroy(output);
    return status;
}
