/* Runs a model and takes down what each layer took. Medians of every layer, so that a run that was
 * disturbed does not make a layer look costly that is not. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/progress.h"
#include "base/threads.h"
#include "inspect/report/report.h"
#include "measure/bench.h"
#include "measure/feed.h"

enum { WARM_RUNS = 2, LEAST_RUNS = 5, MOST_RUNS = 50, TEXT_SIZE = 1024, LABEL_SIZE = 256 };

static const double most_seconds = 1.0;

const char *report_text(report *r, const char *format, ...)
{
    char line[TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return arena_text(&r->memory, line, strlen(line));
}

/* ---- runs ---- */

typedef struct collected_run {
    int64_t start, end;
} collected_run;

typedef struct labelled_row {
    const char *label;
    int32_t row;
} labelled_row;

typedef struct collector {
    report *r;
    const spry_feed *feed;
    spry_session *session;
    spry_trace *trace;
    spry_value **outputs;
    const spry_profile_row *rows;
    int32_t row_count;
    labelled_row *by_label; /* sorted */
    collected_run runs[MOST_RUNS];
    int run_count;
    double had_cpu;
    double *times; /* [row][run], ms */
    int drawn;     /* the run of which spans are kept */
    int lanes[64]; /* threads by lane */
    size_t span_room;
} collector;

/* Seconds for which this thread has had a CPU. */
static double own_seconds(void)
{
    struct timespec now = {0, 0};

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static spry_status run_all(collector *c, int wanted, spry_error *error)
{
    int64_t begin = 0;
    double own = 0.0;
    spry_status status = SPRY_OK;

    for (int i = -WARM_RUNS; status == SPRY_OK && i < (wanted > 0 ? wanted : MOST_RUNS); i++) {
        collected_run run;

        if (i == 0) {
            /* Those before plan, pack and meet cold caches. */
            spry_session_profile_reset(c->session);
            begin = clock_ns();
            own = own_seconds();
        }
        if (wanted == 0 && i >= LEAST_RUNS && (double)(clock_ns() - begin) * 1e-9 > most_seconds) {
            break;
        }
        status = bench_time_run(c->feed, c->session, c->outputs, &run.start, &run.end, error);
        if (status == SPRY_OK && i >= 0) {
            c->runs[c->run_count++] = run;
            status = progress_report(c->r->options.progress, "timing runs", c->run_count,
                                     wanted > 0 ? wanted : 0, error);
        }
    }
    c->had_cpu = (own_seconds() - own) / fmax((double)(clock_ns() - begin) * 1e-9, 1e-9);
    return status;
}

static double run_ms(const collected_run *run)
{
    return (double)(run->end - run->start) * 1e-6;
}

static void summarise(const collector *c, spry_bench_result *result)
{
    double ms[MOST_RUNS];

    for (int i = 0; i < c->run_count; i++) {
        ms[i] = run_ms(&c->runs[i]);
    }
    bench_summarise(ms, (size_t)c->run_count, result);
}

/* The run that took as long as the layers typically take together. */
static int find_typical_run(const collector *c)
{
    int best = 0;

    for (int i = 1; i < c->run_count; i++) {
        best = fabs(run_ms(&c->runs[i]) - c->r->layers_ms) <
                       fabs(run_ms(&c->runs[best]) - c->r->layers_ms)
                   ? i
                   : best;
    }
    return best;
}

/* ---- spans ---- */

static int compare_rows(const void *a, const void *b)
{
    const labelled_row *x = a;
    const labelled_row *y = b;

    return strcmp(x->label, y->label);
}

/* The row of that label, of which spans keep the beginning; -1: none. */
static int32_t find_row(const collector *c, const char *label)
{
    int32_t low = 0;
    int32_t high = c->row_count;

    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int order = strncmp(c->by_label[middle].label, label, LABEL_SIZE - 1);

        if (order == 0) {
            return c->by_label[middle].row;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return -1;
}

static int find_run(const collector *c, int64_t start)
{
    for (int i = 0; i < c->run_count; i++) {
        if (start >= c->runs[i].start && start < c->runs[i].end) {
            return i;
        }
    }
    return -1;
}

static void add_time(void *context, const trace_seen *span)
{
    collector *c = context;
    int run = find_run(c, span->start);
    int32_t row = run >= 0 ? find_row(c, span->name) : -1;

    if (row >= 0) {
        c->times[(size_t)row * MOST_RUNS + (size_t)run] += (double)(span->end - span->start) * 1e-6;
    }
}

static int lane_of(collector *c, int thread)
{
    enum { LANES = sizeof c->lanes / sizeof c->lanes[0] };
    int lane = 0;

    while (lane < c->r->lane_count && c->lanes[lane] != thread) {
        lane++;
    }
    if (lane == c->r->lane_count && lane < LANES) {
        c->lanes[lane] = thread;
        c->r->lane_count++;
    }
    return lane < LANES ? lane : LANES - 1;
}

static void count_span(void *context, const trace_seen *span)
{
    collector *c = context;

    c->span_room += find_run(c, span->start) == c->drawn;
}

static void keep_span(void *context, const trace_seen *span)
{
    collector *c = context;
    const collected_run *run = &c->runs[c->drawn];

    if (find_run(c, span->start) == c->drawn && c->span_room > 0) {
        c->span_room--;
        c->r->spans[c->r->span_count++] =
            (report_span){.layer = find_row(c, span->name),
                          .lane = lane_of(c, span->thread),
                          .start = (double)(span->start - run->start) * 1e-6,
                          .end = (double)(span->end - run->start) * 1e-6};
    }
}

/* By thread, then start; what encloses another comes before it. */
static int compare_spans(const void *a, const void *b)
{
    const report_span *x = a;
    const report_span *y = b;

    if (x->lane != y->lane) {
        return (x->lane > y->lane) - (x->lane < y->lane);
    }
    if (x->start < y->start || x->start > y->start) {
        return x->start < y->start ? -1 : 1;
    }
    return (x->end < y->end) - (x->end > y->end);
}

static void find_depths(report *r)
{
    for (int32_t i = 1; i < r->span_count; i++) {
        int32_t k = i - 1;

        while (k >= 0 && r->spans[k].lane == r->spans[i].lane &&
               r->spans[k].end < r->spans[i].end) {
            k--;
        }
        if (k >= 0 && r->spans[k].lane == r->spans[i].lane) {
            r->spans[i].depth = r->spans[k].depth + 1;
        }
    }
}

static spry_status keep_spans(collector *c, spry_error *error)
{
    report *r = c->r;

    c->drawn = find_typical_run(c);
    trace_visit(c->trace, count_span, c);
    r->spans = arena_array(&r->memory, c->span_room + 1, sizeof *r->spans);
    if (r->spans == NULL) {
        return alloc_failed(error, c->span_room * sizeof *r->spans);
    }
    trace_visit(c->trace, keep_span, c);
    qsort(r->spans, (size_t)r->span_count, sizeof *r->spans, compare_spans);
    find_depths(r);
    r->drawn_ms = run_ms(&c->runs[c->drawn]);
    return SPRY_OK;
}

/* Adds up the time of each row in each run. */
static spry_status sum_times(collector *c, spry_error *error)
{
    size_t count = (size_t)c->row_count + 1;

    c->times = arena_array(&c->r->memory, count * MOST_RUNS, sizeof *c->times);
    c->by_label = arena_array(&c->r->memory, count, sizeof *c->by_label);
    if (c->times == NULL || c->by_label == NULL) {
        return alloc_failed(error, count * MOST_RUNS * sizeof *c->times);
    }
    for (int32_t i = 0; i < c->row_count; i++) {
        c->by_label[i] = (labelled_row){c->rows[i].node, i};
    }
    qsort(c->by_label, (size_t)c->row_count, sizeof *c->by_label, compare_rows);
    trace_visit(c->trace, add_time, c);
    return SPRY_OK;
}

static double row_median(collector *c, int32_t row)
{
    return bench_median(c->times + (size_t)row * MOST_RUNS, (size_t)c->run_count);
}

/* ---- layers ---- */

/* What stands between the quotes of "Conv 'layer1.conv'". */
static const char *name_in(report *r, const char *label)
{
    const char *quote = strchr(label, '\'');
    size_t length = quote != NULL ? strlen(quote + 1) : 0;

    return length > 1 ? arena_text(&r->memory, quote + 1, length - 1)
                      : arena_text(&r->memory, "", 0);
}

static spry_status keep_layers(collector *c, spry_error *error)
{
    report *r = c->r;
    size_t count = (size_t)c->row_count;

    r->layers = arena_array(&r->memory, count + 1, sizeof *r->layers);
    if (r->layers == NULL) {
        return alloc_failed(error, count * sizeof *r->layers);
    }
    r->layer_count = c->row_count;
    for (size_t i = 0; i < count; i++) {
        const spry_profile_row *row = &c->rows[i];
        report_layer *l = &r->layers[i];

        *l = (report_layer){.row = *row,
                            .name = name_in(r, row->node),
                            .fused = "",
                            .ms = row_median(c, (int32_t)i),
                            .alone_ms = -1,
                            .calls = (double)row->calls / c->run_count,
                            .weight_bytes = -1,
                            .alive_bytes = -1,
                            .try_next = ""};
        l->least_ms = c->times[i * MOST_RUNS]; /* sorted by now */
        l->row.node = arena_text(&r->memory, row->node, strlen(row->node));
        l->row.type = arena_text(&r->memory, row->type, strlen(row->type));
        l->row.kernel = arena_text(&r->memory, row->kernel, strlen(row->kernel));
        l->row.plan = arena_text(&r->memory, row->plan, strlen(row->plan));
        l->row.milliseconds = row->milliseconds / c->run_count;
        if (l->row.node == NULL || l->row.type == NULL || l->row.kernel == NULL ||
            l->row.plan == NULL || l->name == NULL) {
            return alloc_failed(error, TEXT_SIZE);
        }
        l->operations = 2.0 * (double)row->macs * l->calls;
        l->bytes = (double)row->bytes * l->calls;
        r->layers_ms += l->ms;
    }
    return SPRY_OK;
}

/* The same layers with one thread. */
static void keep_alone(collector *c)
{
    report *r = c->r;

    r->alone_ms = 0.0;
    for (int32_t i = 0; i < r->layer_count; i++) {
        int32_t row = find_row(c, r->layers[i].row.node);

        r->layers[i].alone_ms = row >= 0 ? row_median(c, row) : -1;
        r->alone_ms += row >= 0 ? r->layers[i].alone_ms : 0.0;
    }
}

/* ---- the whole ---- */

/* Runs with `threads` into the report: as what is reported, or as what it is compared with. */
static spry_status collect(report *r, const spry_model *model, const spry_feed *feed, bool alone,
                           spry_error *error)
{
    spry_session_options options = r->options.session;
    collector c = {.r = r, .feed = feed};
    size_t bytes = ((size_t)spry_feed_output_count(feed) + 1) * sizeof *c.outputs;
    spry_bench_result runs = {0};
    spry_status status = spry_trace_create(&r->allocator, &c.trace, error);

    options.profile = true;
    options.trace = c.trace;
    options.threads = alone ? 1 : options.threads;
    c.outputs = arena_array(&r->memory, bytes, 1);
    if (status == SPRY_OK && c.outputs == NULL) {
        status = alloc_failed(error, bytes);
    }
    if (status == SPRY_OK) {
        trace_name_thread(c.trace, "thread that called");
        status = spry_session_create(model, &options, &c.session, error);
    }
    if (status == SPRY_OK) {
        status = run_all(&c, r->options.runs, error);
    }
    if (status == SPRY_OK) {
        c.row_count = spry_session_profile(c.session, &c.rows);
        summarise(&c, &runs);
        status = sum_times(&c, error);
    }
    if (status == SPRY_OK && alone) {
        keep_alone(&c);
    } else if (status == SPRY_OK) {
        r->runs = runs;
        r->had_cpu = c.had_cpu;
        r->arena_bytes = spry_session_arena_bytes(c.session);
        r->packed_bytes = spry_session_packed_bytes(c.session);
        status = keep_layers(&c, error);
        status = status == SPRY_OK ? keep_spans(&c, error) : status;
    }
    spry_session_destroy(c.session);
    if (alone) {
        spry_trace_destroy(c.trace);
    } else {
        r->trace = c.trace;
    }
    return status;
}

typedef struct timed_layer {
    double ms;
    int32_t layer;
} timed_layer;

static int slower(const void *a, const void *b)
{
    const timed_layer *x = a;
    const timed_layer *y = b;

    return (x->ms < y->ms) - (x->ms > y->ms);
}

static spry_status sort_layers(report *r, spry_error *error)
{
    size_t count = (size_t)r->layer_count;
    timed_layer *timed = arena_array(&r->memory, count + 1, sizeof *timed);

    r->slowest = arena_array(&r->memory, count + 1, sizeof *r->slowest);
    if (r->slowest == NULL || timed == NULL) {
        return alloc_failed(error, count * sizeof *timed);
    }
    for (size_t i = 0; i < count; i++) {
        timed[i] = (timed_layer){r->layers[i].ms, (int32_t)i};
    }
    qsort(timed, count, sizeof *timed, slower);
    for (size_t i = 0; i < count; i++) {
        r->slowest[i] = timed[i].layer;
    }
    return SPRY_OK;
}

spry_status report_open(report *r, const spry_model *model, const spry_feed *feed,
                        const report_options *options, spry_error *error)
{
    spry_status status;

    *r = (report){.allocator = alloc_resolve(options->session.allocator),
                  .options = *options,
                  .alone_ms = -1};
    arena_init(&r->memory, &r->allocator, SIZE_MAX);
    r->threads = options->session.threads > 0 ? options->session.threads : threads_available();
    if (options->runs < 0 || options->runs > MOST_RUNS) {
        return spry_fail(error, SPRY_USAGE, "runs", NULL, "use 0 to %d", (int)MOST_RUNS);
    }
    status = collect(r, model, feed, false, error);
    if (status == SPRY_OK && options->with_one_thread && r->threads > 1) {
        status = collect(r, model, feed, true, error);
    }
    if (status == SPRY_OK) {
        status = sort_layers(r, error);
    }
    if (status == SPRY_OK) {
        status = machine_measure(r->threads, &r->m, error);
    }
    if (status == SPRY_OK) {
        status = report_look(r, model, feed, error);
    }
    return status == SPRY_OK ? report_judge(r, model, error) : status;
}

void report_close(report *r)
{
    spry_inspection_destroy(r->inspection);
    spry_trace_destroy(r->trace);
    arena_fini(&r->memory);
}
