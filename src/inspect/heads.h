/* The parts of looking at heads: gathering (heads_gather.c), clusters (heads_group.c), and what
 * clusters do (heads_ablate.c). */
#ifndef INSPECT_HEADS_H
#define INSPECT_HEADS_H

#include "inspect/heads_cluster.h"
#include "inspect/heads_text.h"
#include "measure/text_feed.h"
#include "runtime/attention/probe.h"
#include "spry/heads.h"

enum {
    HEADS_MOST_LAYERS = 1024,
    HEADS_SAMPLES = 64,         /* rows per head and sequence that are looked at one by one */
    HEADS_COMPARED = 4,         /* sequences whose heads are compared with each other, */
    HEADS_COMPARED_SAMPLES = 16 /* by so many rows */
};

/* An attention of the model, in the order of execution. */
typedef struct heads_layer {
    const char *name; /* of its result */
    int32_t first;    /* of all heads */
    int32_t heads;
} heads_layer;

/* Sums over sequences of one head. */
typedef struct heads_sums {
    double map[SPRY_HEADS_MAP][SPRY_HEADS_MAP];
    double rows[SPRY_HEADS_MAP]; /* of the map: queries that were seen */
    double profile[SPRY_HEADS_PROFILE];
} heads_sums;

struct spry_heads {
    spry_allocator allocator;
    arena memory;
    spry_heads_options options;
    spry_model *model; /* a copy with one output */
    spry_session *session;
    text_feed feed;
    heads_text text;
    spry_attention_probe probe;
    heads_layer layers[HEADS_MOST_LAYERS];
    int32_t head_count;
    int64_t sequence;   /* under way; -1: only to see what there is */
    int64_t sequences;  /* seen as a whole */
    double *features;   /* [sequences][heads][features] */
    double *offsets;    /* room */
    heads_sums *sums;   /* [heads] */
    float *rows;        /* [heads][HEADS_COMPARED_SAMPLES][window]: of the sequence under way */
    double *divergence; /* [heads][heads]: sums of square roots of mean divergences */
    int64_t compared;
    const attention_policy *policies; /* [heads] while something is taken away; else NULL */
    spry_status status;               /* of what callbacks met */
    spry_error *error;
    spry_head *list;
    int32_t *labels;
    spry_heads_cluster clusters[SPRY_HEADS_MOST_CLUSTERS];
    spry_heads_choice choices[SPRY_HEADS_MOST_CLUSTERS];
    int32_t choice_count;
    spry_heads_totals totals;
};

/* A session over a copy of `source` with one output, and the text cut for it. Undo with
 * spry_heads_destroy, also after a failure. Fails as spry_heads_inspect. */
SPRY_MUST_USE spry_status heads_open(const spry_model *source, const spry_tokenizer *tokenizer,
                                     const char *text, size_t size,
                                     const spry_heads_options *options, spry_heads **heads,
                                     spry_error *error);
/* The first run: fills h->layers, h->head_count and h->totals.is_causal. Fails with
 * SPRY_UNSUPPORTED (there is no attention), and as runs do. */
SPRY_MUST_USE spry_status heads_find(spry_heads *h, spry_error *error);
heads_layer *heads_find_layer(spry_heads *h, const char *name);

/* Mean loss of the next token of the sequence that was run last, given its logits; and whether
 * the first output of the last run has such logits. */
double heads_loss(const spry_heads *h, const float *logits, int64_t classes);
bool heads_have_logits(const spry_heads *h);

/* Runs the model over all sequences and gathers. Fails as spry_heads_inspect. */
SPRY_MUST_USE spry_status heads_gather(spry_heads *h, spry_error *error);
/* Runs sequence `which`; its outputs are in h->feed. */
SPRY_MUST_USE spry_status heads_run(spry_heads *h, int64_t which, spry_error *error);

/* Lists, clusters and names from what was gathered. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status heads_group(spry_heads *h, spry_error *error);

/* What clusters do. Fails as heads_run. */
SPRY_MUST_USE spry_status heads_ablate(spry_heads *h, spry_error *error);

#endif
