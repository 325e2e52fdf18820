/* Times Spry's attention on request, beside peers/onednn_attention.
 *
 *     spry_attention [--dtype f32|bf16] [--threads N]
 *
 * A shape is "QUERIES KEYS HEADS SIZE". Queries, keys, values and results lie as
 * [position][head][element], as products leave them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/attention/attention_f32.h"
#include "serve.h"

enum { EXIT_USAGE = 2, EXTENT_MAX = 1 << 20, THREADS_MAX = 1024, LINE_FLOATS = 16 };

typedef struct spry_attention {
    const attention_kernel *kernel;
    threads *team;
    attention_problem problem;
    float *memory; /* q, k, v, out, workspaces */
    int64_t workspace_floats;
    float *workspace;
} spry_attention;

static int64_t whole_lines(int64_t floats)
{
    return (floats + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;
}

static void fill(float *data, int64_t count)
{
    uint32_t state = 12345;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525U + 1013904223U;
        data[i] = (float)(state >> 24) / 256.0F - 0.4F;
    }
}

static bool set_shape(void *context, const char *line, char *reason)
{
    spry_attention *bench = context;
    long queries = 0;
    long keys = 0;
    long heads = 0;
    long size = 0;
    free(bench->memory);
    bench->memory = NULL;
    if (sscanf(line, "%ld %ld %ld %ld", &queries, &keys, &heads, &size) != 4 || queries < 1 ||
        keys < 1 || heads < 1 || size < 1 || queries > EXTENT_MAX || keys > EXTENT_MAX ||
        heads > EXTENT_MAX || size > ATTENTION_MOST_SIZE) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "not a shape: %.100s", line);
        return false;
    }
    int64_t width = (int64_t)heads * size;
    attention_problem *p = &bench->problem;
    *p = (attention_problem){.batch = 1,
                             .heads = heads,
                             .kv_heads = heads,
                             .rows = queries,
                             .keys = keys,
                             .size = size,
                             .value_size = size,
                             .scale = 0.125F,
                             .out_batch = queries * width,
                             .out_head = size,
                             .out_token = width};
    int workers = threads_count(bench->team);
    p->slice = attention_slice(bench->kernel, p, workers);
    bench->workspace_floats = whole_lines(attention_workspace(bench->kernel, p));
    int64_t q = whole_lines(queries * width);
    int64_t k = whole_lines(keys * width);
    int64_t total = 2 * q + 2 * k + workers * bench->workspace_floats;
    bench->memory = aligned_alloc(64, (size_t)total * sizeof *bench->memory);
    if (bench->memory == NULL) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "no memory");
        return false;
    }
    fill(bench->memory, 2 * (q + k));
    p->q = (attention_operand){bench->memory, queries * width, size, width};
    p->k = (attention_operand){bench->memory + q, keys * width, size, width};
    p->v = (attention_operand){bench->memory + q + k, keys * width, size, width};
    p->out = bench->memory + q + 2 * k;
    bench->workspace = p->out + q;
    (void)fprintf(stderr, "spry_attention: %s: %lld bytes of workspace per thread\n", line,
                  (long long)bench->workspace_floats * (long long)sizeof(float));
    return true;
}

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const spry_attention *bench = context;
    for (int64_t i = begin; i < end; i++) {
        attention_run(bench->kernel, &bench->problem, i,
                      bench->workspace + worker * bench->workspace_floats);
    }
}

static bool run(void *context, char *reason)
{
    spry_attention *bench = context;
    if (bench->memory == NULL) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "nothing to run");
        return false;
    }
    threads_for(bench->team, attention_pieces(&bench->problem), 1, run_pieces, bench);
    return true;
}

static bool set_option(spry_attention *bench, const char *option, const char *value)
{
    long members = 0;
    spry_error error;
    if (strcmp(option, "--dtype") == 0 && strcmp(value, "f32") == 0) {
        bench->kernel = attention_select(false);
        return true;
    }
    if (strcmp(option, "--dtype") == 0 && strcmp(value, "bf16") == 0) {
        bench->kernel = attention_select(true);
        return bench->kernel != NULL;
    }
    return strcmp(option, "--threads") == 0 &&
           serve_parse_number(value, 1, THREADS_MAX, &members) &&
           threads_create(NULL, (int)members, &bench->team, &error) == SPRY_OK;
}

int main(int argc, char **argv)
{
    spry_attention bench = {.kernel = attention_select(false), .team = threads_single()};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc || !set_option(&bench, argv[i], argv[i + 1])) {
            (void)fprintf(stderr, "usage: spry_attention [--dtype f32|bf16] [--threads N]\n");
            return EXIT_USAGE;
        }
    }
    printf("ready {\"version\": \"spry %s\", \"kernel\": \"%s\"}\n", SPRY_VERSION_TEXT,
           bench.kernel->name);
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &bench, .set_shape = set_shape, .run = run});
    free(bench.memory);
    if (bench.team != threads_single()) {
        threads_destroy(bench.team);
    }
    return EXIT_SUCCESS;
}
