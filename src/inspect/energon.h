/* Calibrating filters: running samples (energon_runs.c), what a filter does to one head
 * (energon_measure.c), and choosing (energon.c). */
#ifndef INSPECT_ENERGON_H
#define INSPECT_ENERGON_H

#include "base/arena.h"
#include "inspect/heads.h"
#include "kernels/filter/filter.h"
#include "spry/energon.h"

/* Samples through a model that has one output, whose attention is looked into. */
typedef struct energon_runs {
    spry_allocator allocator;
    spry_attention_probe probe; /* for the caller to fill */
    int64_t count;              /* samples */
    /* Images. */
    spry_dataset *images;
    spry_preprocess recipe;
    spry_model *model;
    spry_session *session;
    spry_port input;
    /* Or a text. */
    spry_heads *heads;
} energon_runs;

/* Undo with energon_runs_close, also after a failure. Fails as spry_energon_adapt. */
SPRY_MUST_USE spry_status energon_runs_open(energon_runs *r, const spry_model *source,
                                            const spry_energon_options *options, spry_error *error);
void energon_runs_close(energon_runs *r);
/* Runs sample `index`. Fails as sessions do. */
SPRY_MUST_USE spry_status energon_runs_one(energon_runs *r, int64_t index, spry_error *error);

/* Sums over queries. */
typedef struct energon_sums {
    filter_work work;
    double mass, certificate, worst;
    int64_t queries;   /* that see a key */
    double xy, xx, yy; /* products of results: dense and filtered */
} energon_sums;

typedef struct energon_filter {
    float scale;
    filter_rule rule;
} energon_filter;

/* A way for a head to filter: the share of keys that it reads, and what it costs. */
typedef struct energon_choice {
    double kept, error;
} energon_choice;

/* Chooses among curves[heads][choices] so that heads keep at most the share `keep` on average, or
 * as little as they can, at the least sum of errors; returns the share. Of equal choices the first
 * is taken. */
double energon_allocate(const energon_choice *curves, int32_t heads, int32_t choices, double keep,
                        int32_t *chosen);

/* The largest magnitude of the keys that a head of the problem reads; NaN: not all are finite. */
float energon_key_range(const attention_problem *p, int64_t head);

/* Adds what the filter does to one head of a problem whose results over all keys are in place; work
 * and products of results only, where weights and certificates are not wanted (`is_brief`). False:
 * memory ran out, or a query is not finite. */
bool energon_measure(const attention_problem *p, int64_t head, const energon_filter *filter,
                     bool is_brief, arena *scratch, energon_sums *to);

#endif
