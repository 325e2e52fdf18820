/* Measures how long one run of a model takes, and where the time goes: latency [MODEL]
 *
 * The input is random: latency hardly ever depends on the values. */
#include <spry/spry.h>
#include <stdio.h>

/* The nodes that took longest, with the kernel that ran them. */
static void print_profile(const spry_session *session)
{
    const spry_profile_row *rows = NULL;
    int32_t count = spry_session_profile(session, &rows);

    for (int32_t i = 0; i < count; i++) {
        if (rows[i].calls > 0) {
            printf("%9.4f ms  %-24s %s\n", rows[i].milliseconds / (double)rows[i].calls,
                   rows[i].kernel, rows[i].node);
        }
    }
}

static spry_status measure(const spry_model *model, spry_feed *feed, bool profile,
                           spry_error *error)
{
    spry_session_options options = spry_session_options_default();
    spry_bench_options bench = spry_bench_options_default();
    spry_bench_result result;
    spry_session *session = NULL;

    options.threads = 1;
    options.profile = profile; /* costs a little per node: not on while latency is measured */
    bench.runs = 50;
    spry_status status = spry_session_create(model, &options, &session, error);
    if (status == SPRY_OK) {
        status = spry_bench_session(session, feed, &bench, &result, error);
    }
    if (status == SPRY_OK && profile) {
        print_profile(session);
    } else if (status == SPRY_OK) {
        printf("median %.3f ms, 99 of 100 runs below %.3f ms, the first took %.3f ms\n",
               result.median_ms, result.p99_ms, result.first_ms);
        printf("activations %zu bytes, packed weights %zu bytes\n",
               spry_session_arena_bytes(session), spry_session_packed_bytes(session));
    }
    spry_session_destroy(session);
    return status;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "examples/glyphs/glyphs.onnx";
    spry_error error = {0};
    spry_model *model = NULL;
    spry_feed *feed = NULL;
    spry_status status = spry_model_load(NULL, path, &model, &error);

    if (status == SPRY_OK) {
        status = spry_feed_create(NULL, model, &feed, &error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_fill_random(feed, 0, &error);
    }
    if (status == SPRY_OK) {
        status = measure(model, feed, false, &error);
    }
    if (status == SPRY_OK) {
        status = measure(model, feed, true, &error);
    }
    if (status != SPRY_OK) {
        fprintf(stderr, "%s: %s\n", error.where, error.what);
    }
    spry_feed_destroy(feed);
    spry_model_destroy(model);
    return (int)status;
}
