/* What happens when things go wrong: a file that is missing, one that is damaged, a model with
 * operators that Spry does not have, and an input of the wrong shape. Nothing prints or exits
 * inside the library; the caller gets a status, and the details in a spry_error. */
#include <spry/spry.h>
#include <stdio.h>

static int unexpected; /* outcomes other than those foretold */

static void report(const char *what, spry_status status, spry_status foretold,
                   const spry_error *error)
{
    printf("%s -> %s\n  where:  %s\n  what:   %s\n  remedy: %s\n", what, spry_status_name(status),
           error->where, error->what, error->remedy);
    unexpected += status != foretold;
}

static void print_unsupported(void *context, const spry_unsupported *item)
{
    (void)context;
    printf("  cannot run %s (operator %s, opset %lld)\n", item->node, item->type,
           (long long)item->opset);
}

/* All that is unsupported can be had at once, before anything runs. */
static void refuse_model(const char *path)
{
    spry_session_options options = spry_session_options_default();
    spry_error error = {0};
    spry_model *model = NULL;
    spry_session *session = NULL;
    int64_t count = 0;
    spry_status status = spry_model_load(NULL, path, &model, &error);

    if (status == SPRY_OK) {
        status = spry_session_create(model, &options, &session, &error);
    }
    report("a model with unknown operators", status, SPRY_UNSUPPORTED, &error);
    if (model != NULL &&
        spry_model_unsupported(model, print_unsupported, NULL, &count, &error) == SPRY_OK) {
        printf("  %lld in all\n", (long long)count);
    }
    spry_session_destroy(session);
    spry_model_destroy(model);
}

static void refuse_input(const char *path)
{
    const int64_t shape[] = {1, 3, 8, 8};
    spry_session_options options = spry_session_options_default();
    spry_error error = {0};
    spry_model *model = NULL;
    spry_feed *feed = NULL;
    spry_session *session = NULL;
    spry_tensor *tensor = NULL;
    spry_value *value = NULL;
    spry_value *outputs[1] = {NULL};
    spry_status status = spry_model_load(NULL, path, &model, &error);

    status = status != SPRY_OK ? status : spry_feed_create(NULL, model, &feed, &error);
    status = status != SPRY_OK ? status : spry_session_create(model, &options, &session, &error);
    if (status == SPRY_OK) {
        status = spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &tensor, &error);
    }
    /* The value takes the tensor over, and the feed the value, also on failure. */
    status = status != SPRY_OK ? status : spry_value_from_tensor(NULL, tensor, &value, &error);
    status = status != SPRY_OK ? status : spry_feed_set(feed, "image", value, &error);
    status = status != SPRY_OK ? status : spry_feed_run(feed, session, 1, outputs, &error);
    report("an input of the wrong shape", status, SPRY_USAGE, &error);
    spry_value_destroy(outputs[0]);
    spry_session_destroy(session);
    spry_feed_destroy(feed);
    spry_model_destroy(model);
}

int main(void)
{
    static const char damaged[] = "not a model";
    spry_error error = {0};
    spry_model *model = NULL;

    report("a missing file", spry_model_load(NULL, "no/such.onnx", &model, &error), SPRY_IO,
           &error);
    report("damaged bytes", spry_model_parse(NULL, damaged, sizeof damaged, NULL, &model, &error),
           SPRY_BAD_INPUT, &error);
    refuse_model("tests/cli/models/unsupported.onnx");
    refuse_input("examples/glyphs/glyphs.onnx");
    return unexpected;
}
