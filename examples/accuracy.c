/* Counts how often a classifier is right on labelled data: accuracy [MODEL KIND:PATH RECIPE]
 *
 * The data streams through the model in batches; a callback shows how far it is. */
#include <spry/spry.h>
#include <stdio.h>

static bool show(void *context, const char *task, double done, double total)
{
    (void)context;
    fprintf(stderr, "\r%s %.0f of %.0f", task, done, total);
    return true; /* false would stop the work with SPRY_CANCELLED */
}

static void print_result(const spry_evaluation *evaluation, const spry_dataset *data)
{
    const spry_evaluate_totals *totals = spry_evaluation_totals(evaluation);
    const spry_evaluate_class *worst = NULL;
    int32_t count = spry_evaluation_classes(evaluation, &worst);

    printf("top-1 %.2f %% of %lld samples\n", 100 * totals->top1, (long long)totals->count);
    if (count > 0) {
        const char *name = spry_dataset_class_name(data, worst[0].label);
        printf("least often recognised: class %lld%s%s, %lld of %lld\n", (long long)worst[0].label,
               name != NULL ? " " : "", name != NULL ? name : "", (long long)worst[0].right,
               (long long)worst[0].count);
    }
}

int main(int argc, char **argv)
{
    const bool own = argc == 4;
    const char *path = own ? argv[1] : "examples/glyphs/glyphs.onnx";
    const char *description = own ? argv[2] : "npz:examples/glyphs/test.npz";
    const char *recipe_name = own ? argv[3] : "unit";
    const spry_progress progress = {.report = show};
    spry_session_options session_options = spry_session_options_default();
    spry_evaluate_options options = spry_evaluate_options_default();
    spry_error error = {0};
    spry_model *model = NULL;
    spry_session *session = NULL;
    spry_dataset *data = NULL;
    spry_evaluation *evaluation = NULL;
    spry_preprocess recipe;

    spry_status status = spry_model_load(NULL, path, &model, &error);
    if (status == SPRY_OK) {
        status = spry_session_create(model, &session_options, &session, &error);
    }
    if (status == SPRY_OK) {
        status = spry_dataset_open(NULL, description, &data, &error);
    }
    if (status == SPRY_OK) {
        status = spry_preprocess_parse(recipe_name, &recipe, &error);
    }
    if (status == SPRY_OK) {
        options.recipe = &recipe;
        options.progress = &progress;
        options.limit = 360;
        status = spry_evaluate(model, session, data, &options, &evaluation, &error);
        fprintf(stderr, "\n");
    }
    if (status == SPRY_OK) {
        print_result(evaluation, data);
    } else {
        fprintf(stderr, "%s: %s\n", error.where, error.what);
    }
    spry_evaluation_destroy(evaluation);
    spry_dataset_close(data);
    spry_session_destroy(session);
    spry_model_destroy(model);
    return (int)status;
}
