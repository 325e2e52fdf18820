/* What the parts of spry quantize share: what is asked for, what was made, what is told. */
#ifndef CLI_QUANTIZE_COMMAND_H
#define CLI_QUANTIZE_COMMAND_H

#include "base/arena.h"
#include "cli/quantize/report.h"
#include "spry/dataset.h"
#include "spry/mixed.h"
#include "spry/sensitivity.h"

enum { QUANTIZE_MOST_EXCLUDED = 256 };

typedef struct quantize_state {
    const cli_call *call;
    spry_quantize_options options;
    spry_preprocess recipe;
    const char *excluded[QUANTIZE_MOST_EXCLUDED];
    spry_quantize_recipe *rules;   /* of --recipe */
    arena memory;                  /* assignments */
    spry_mixed *mixed;             /* of --mixed */
    spry_sensitivity *sensitivity; /* of --sensitivity */
    spry_model *source;
    spry_model *made;
    spry_quantization *facts;
    spry_dataset *data; /* of --data */
    bool is_written;    /* the output */
    quantize_result result;
} quantize_state;

/* The command's table (options.c). */
extern const cli_option quantize_option_table[];

/* What can be refused before anything is read. Fails with SPRY_USAGE. */
SPRY_MUST_USE spry_status quantize_check_usage(const quantize_state *q, spry_error *error);
/* Fills q->options from the command line and opens data sets. Fails as spry_preprocess_parse and
 * spry_dataset_open. */
SPRY_MUST_USE spry_status quantize_read_options(quantize_state *q, spry_error *error);

/* Is the assignment of bits to be searched for? */
bool quantize_is_mixed(const cli_call *call);
/* Searches bits per operator, and measures sensitivities, where that is asked for; q->options then
 * say what was found (search.c). Fails as spry_mixed_search; SPRY_NEGATIVE, with a
 * warning, when nothing can be quantized within the bounds. */
SPRY_MUST_USE spry_status quantize_search(quantize_state *q, spry_error *error);

/* Size of both files. */
void quantize_compare_sizes(quantize_state *q);
/* Size, latency and accuracy of both files (sides.c). Fails as loading and running them
 * does. */
SPRY_MUST_USE spry_status quantize_compare_sides(quantize_state *q, spry_error *error);
/* SPRY_NEGATIVE, with a warning for each reason, when the result is slower, or worse than
 * allowed. */
SPRY_MUST_USE spry_status quantize_judge(const quantize_state *q);

#endif
