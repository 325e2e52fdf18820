/* Runs a model on a picture and prints the most likely class.
 *
 *     recognise [MODEL PICTURE RECIPE CLASSES]
 *
 * Without arguments: the small network of this repository reads one character. */
#include <spry/spry.h>
#include <stdio.h>
#include <string.h>

static int complain(const spry_error *error)
{
    fprintf(stderr, "%s: %s\n", error->where, error->what);
    if (error->remedy[0] != '\0') {
        fprintf(stderr, "  %s\n", error->remedy);
    }
    return (int)error->code;
}

static int64_t largest(const float *scores, int64_t count)
{
    int64_t best = 0;

    for (int64_t i = 1; i < count; i++) {
        if (scores[i] > scores[best]) {
            best = i;
        }
    }
    return best;
}

/* Prints line `index` of the file with the names of the classes. */
static void print_class(const char *path, int64_t index)
{
    char line[256] = "?\n";
    FILE *file = fopen(path, "r");

    for (int64_t i = 0; file != NULL && i <= index; i++) {
        if (fgets(line, (int)sizeof line, file) == NULL) {
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    line[strcspn(line, "\n")] = '\0';
    printf("class %lld: %s\n", (long long)index, line);
}

int main(int argc, char **argv)
{
    const bool own = argc == 5;
    const char *path = own ? argv[1] : "examples/glyphs/glyphs.onnx";
    const char *picture = own ? argv[2] : "examples/glyphs/samples/a.png";
    const char *recipe_name = own ? argv[3] : "unit";
    const char *classes = own ? argv[4] : "examples/glyphs/classes.txt";
    spry_error error = {0};
    spry_model *model = NULL;
    spry_feed *feed = NULL;
    spry_session *session = NULL;
    spry_value *outputs[1] = {NULL};
    spry_preprocess recipe;

    /* Each step runs only when the one before went well; the error tells which one did not. */
    spry_status status = spry_model_load(NULL, path, &model, &error);
    if (status == SPRY_OK) {
        status = spry_preprocess_parse(recipe_name, &recipe, &error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_create(NULL, model, &feed, &error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_load(feed, NULL, picture, &recipe, &error);
    }
    if (status == SPRY_OK) {
        spry_session_options options = spry_session_options_default();
        status = spry_session_create(model, &options, &session, &error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_run(feed, session, 1, outputs, &error);
    }
    if (status == SPRY_OK) {
        const spry_tensor *scores = spry_value_tensor(outputs[0]);
        if (scores != NULL && spry_tensor_dtype(scores) == SPRY_DTYPE_F32) {
            print_class(classes,
                        largest(spry_tensor_const_data(scores), spry_tensor_count(scores)));
        }
    }
    spry_value_destroy(outputs[0]);
    spry_session_destroy(session);
    spry_feed_destroy(feed);
    spry_model_destroy(model);
    return status == SPRY_OK ? 0 : complain(&error);
}
