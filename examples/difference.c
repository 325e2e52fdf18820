/* How far apart are two models? Runs both on the same random inputs: difference [MODEL REFERENCE]
 *
 * Without arguments a model is compared with itself, run node by node as written in the file: the
 * difference is what fusing and reordering of sums do to the last digits. */
#include <spry/spry.h>
#include <stdio.h>

enum { RUNS = 4, MAX_OUTPUTS = 8 };

static spry_status run_once(const spry_model *models[2], spry_session *sessions[2], uint64_t seed,
                            spry_comparison *comparison, spry_error *error)
{
    spry_feed *feed = NULL;
    spry_value *ours[MAX_OUTPUTS] = {NULL};
    spry_value *theirs[MAX_OUTPUTS] = {NULL};
    int32_t count = spry_model_output_count(models[0]);
    spry_status status = spry_feed_create(NULL, models[0], &feed, error);

    status = status != SPRY_OK ? status : spry_feed_fill_random(feed, seed, error);
    status = status != SPRY_OK ? status : spry_feed_run(feed, sessions[0], count, ours, error);
    status = status != SPRY_OK ? status : spry_feed_run(feed, sessions[1], count, theirs, error);
    for (int32_t i = 0; i < count; i++) {
        spry_port port;
        status = status != SPRY_OK ? status : spry_model_output(models[0], i, &port, error);
        if (status == SPRY_OK) {
            status = spry_comparison_add(comparison, port.name, spry_value_tensor(theirs[i]),
                                         spry_value_tensor(ours[i]), error);
        }
        spry_value_destroy(ours[i]);
        spry_value_destroy(theirs[i]);
    }
    spry_feed_destroy(feed);
    return status;
}

int main(int argc, char **argv)
{
    const char *path = argc == 3 ? argv[1] : "examples/glyphs/glyphs.onnx";
    spry_session_options options = spry_session_options_default();
    spry_error error = {0};
    spry_model *model = NULL;
    spry_model *other = NULL;
    spry_session *sessions[2] = {NULL, NULL};
    spry_comparison *comparison = NULL;
    const spry_difference *rows = NULL;

    spry_status status = spry_model_load(NULL, path, &model, &error);
    if (status == SPRY_OK && argc == 3) {
        status = spry_model_load(NULL, argv[2], &other, &error);
    }
    const spry_model *models[2] = {model, other != NULL ? other : model};
    if (status == SPRY_OK && spry_model_output_count(model) > MAX_OUTPUTS) {
        status = spry_fail(&error, SPRY_LIMIT, path, NULL, "more than %d outputs", MAX_OUTPUTS);
    }
    if (status == SPRY_OK) {
        status = spry_session_create(models[0], &options, &sessions[0], &error);
    }
    if (status == SPRY_OK) {
        options.keep_order = other == NULL;
        status = spry_session_create(models[1], &options, &sessions[1], &error);
    }
    status = status != SPRY_OK ? status : spry_comparison_create(NULL, &comparison, &error);
    for (uint64_t seed = 0; status == SPRY_OK && seed < RUNS; seed++) {
        status = run_once(models, sessions, seed, comparison, &error);
    }
    int32_t count = status == SPRY_OK ? spry_comparison_rows(comparison, &rows) : 0;
    for (int32_t i = 0; i < count; i++) {
        printf("%s: largest difference %.3g (%.2g of the range), SQNR %.1f dB\n", rows[i].name,
               rows[i].max_abs, rows[i].max_rel, rows[i].sqnr_db);
    }
    if (status != SPRY_OK) {
        fprintf(stderr, "%s: %s\n", error.where, error.what);
    }
    spry_comparison_destroy(comparison);
    spry_session_destroy(sessions[1]);
    spry_session_destroy(sessions[0]);
    spry_model_destroy(other);
    spry_model_destroy(model);
    return (int)status;
}
