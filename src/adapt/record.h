/* How a model was adapted: the inside of spry_adaptation, and its place in a model's metadata and
 * in the metadata of delta files, as one JSON object. */
#ifndef ADAPT_RECORD_H
#define ADAPT_RECORD_H

#include "adapt/rewrite.h"
#include "base/sha256.h"
#include "base/text.h"

#define RECORD_KEY "ai.spry.adapt"

struct spry_adaptation {
    spry_allocator allocator;
    arena memory;
    spry_adapt_options options; /* text is the record's */
    char base[SHA256_TEXT_SIZE];
    const char **names; /* trained initializers */
    int32_t name_count;
    const char **labels;
    int32_t label_count;
    adapt_site *sites;
    int32_t site_count;
    int64_t trainable, total; /* elements */
};

/* The record of a finished job; `base` is the source's hash. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status record_create(const rewrite *job, const char *base,
                                        spry_adaptation **record, spry_error *error);

/* Puts the record into the model's metadata, or takes it out. Fail with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status record_attach(model *m, const spry_adaptation *record, spry_error *error);
SPRY_MUST_USE spry_status record_detach(model *m, spry_error *error);

/* The text in the model's metadata, or NULL. */
const char *record_text(const model *m);

/* Appends the JSON object: method, hyper-parameters and base hash; with `whole`, what was made,
 * too. */
void record_write(const spry_adaptation *record, bool whole, text *to);

/* Reads what record_write wrote; without `whole`, lists are not asked for. `where` is said in
 * errors. Fails with SPRY_BAD_INPUT, SPRY_LIMIT. */
SPRY_MUST_USE spry_status record_read(const spry_allocator *allocator, const char *json, bool whole,
                                      const char *where, spry_adaptation **record,
                                      spry_error *error);

#endif
