/* What a report on the speed of a model says, measured here: which layer takes how long and on
 * which thread, what the machine would need at least, and so what each layer is bound by.
 *
 *     report r;
 *     status = report_open(&r, model, feed, &options, error);
 *     ... r.layers, r.spans, r.advice ...
 *     report_close(&r);
 *
 * A layer is a step of the plan: an operator with what was fused into it. Strings live as long as
 * the report. */
#ifndef INSPECT_REPORT_REPORT_H
#define INSPECT_REPORT_REPORT_H

#include "base/arena.h"
#include "base/trace.h"
#include "inspect/report/machine.h"
#include "spry/bench.h"
#include "spry/inspect.h"
#include "spry/progress.h"

/* What keeps a layer from being faster. */
typedef enum report_bound {
    REPORT_ARITHMETIC, /* multiply-adds: close to the peak */
    REPORT_MEMORY,     /* bytes: close to the bandwidth of where they lie */
    REPORT_OVERHEAD,   /* neither: too little work, or work that is not of this kind */
    REPORT_GENERAL,    /* no fast kernel: the reference runs */
    REPORT_BOUNDS
} report_bound;

/* "arithmetic", "memory", "overhead", "general code" */
extern const char *const report_bound_names[REPORT_BOUNDS];

typedef struct report_layer {
    spry_profile_row row; /* per call; milliseconds are the mean of one run */
    const char *name;     /* without the operator; "" where it has none */
    const char *fused;    /* operators that run within it: "Add, Relu"; "" */
    double ms;            /* of one run: the median */
    double least_ms;      /* of the fastest run */
    double alone_ms;      /* the same with one thread; -1: not measured */
    double calls;         /* in one run */
    double operations;    /* that one run needs, two per multiply-add; 0: unknown */
    double bytes;         /* read and written in one run; 0: unknown */
    double weight_bytes;  /* of them constants; -1: unknown */
    double alive_bytes;   /* of inputs and results while it runs; -1: unknown */
    double arithmetic_ms; /* at the peak of its type of numbers, with its threads */
    double memory_ms;     /* at the bandwidth of where its bytes lie */
    machine_level level;  /* where its results lie */
    report_bound bound;
    const char *why;      /* what bounds it, in words with figures */
    const char *try_next; /* in words; "" where nothing comes to mind */
} report_layer;

typedef struct report report;

/* Least time that the machine would need over the time taken: 1 is as fast as can be. Winograd's
 * method and zeros that are skipped can make it more. 0: unknown. */
double report_reach(const report_layer *layer);

/* Of the layers' time; 0 to 1. */
double report_share(const report *r, const report_layer *layer);

/* Part of the run that is drawn: the one nearest to the sum of the layers' medians. */
typedef struct report_span {
    int32_t layer;     /* -1: not a layer */
    int32_t lane;      /* thread, 0 is the one that called */
    int32_t depth;     /* inside bodies of loops: more than 0 */
    double start, end; /* ms since the run began */
} report_span;

typedef struct report_options {
    spry_session_options session;
    int32_t runs;         /* 0: as many as fit into a second, 5 to 50 */
    bool with_one_thread; /* also measured with one thread, where there are more */
    const spry_progress *progress;
} report_options;

struct report {
    spry_allocator allocator;
    arena memory;
    report_options options;
    int threads;            /* that ran */
    spry_bench_result runs; /* whole runs, recorded */
    double had_cpu;         /* share of the runs' time for which the calling thread had a CPU */
    double alone_ms;        /* sum of the layers' with one thread; -1: not measured */
    report_layer *layers;   /* in order of first execution */
    int32_t layer_count;
    int32_t *slowest; /* their indices, slowest first */
    double layers_ms; /* sum of their ms */
    report_span *spans;
    int32_t span_count, lane_count;
    double drawn_ms; /* length of the run that is drawn */
    machine m;
    size_t arena_bytes, packed_bytes;
    int32_t *node_layer; /* by node of the model's graph, sorted: layer that computes it, or -1 */
    int32_t node_count;
    const char **advice; /* about the whole, in sentences */
    int32_t advice_count;
    spry_inspection *inspection; /* of the model, at the sizes fed */
    spry_trace *trace;           /* of all runs */
};

/* Runs `model` on `feed`. Undo with report_close, also after a failure. Fails as
 * spry_session_create, spry_session_run, and with SPRY_CANCELLED. */
SPRY_MUST_USE spry_status report_open(report *r, const spry_model *model, const spry_feed *feed,
                                      const report_options *options, spry_error *error);
void report_close(report *r);

/* ---- two reports ---- */

/* Layers of two reports that compute the same; -1 where only one has it. */
typedef struct report_pair {
    int32_t first, second;
} report_pair;

/* Pairs layers by name, those left over in order by operator and work, into `*pairs` in the memory
 * of `a`, in the order of `a`, then what is only in `b`. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status report_match(report *a, const report *b, report_pair **pairs,
                                       int32_t *count, spry_error *error);

/* ---- steps of report_open ---- */

/* Fused operators, bytes of weights, memory that is alive, and which layer computes which node.
 * Fails as prepare_graph. */
SPRY_MUST_USE spry_status report_look(report *r, const spry_model *model, const spry_feed *feed,
                                      spry_error *error);
/* What bounds each layer, and what to try. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status report_judge(report *r, const spry_model *model, spry_error *error);
/* A formatted text in the report's memory; NULL when there is none left. */
const char *report_text(report *r, const char *format, ...) SPRY_PRINTF(2, 3);

#endif
