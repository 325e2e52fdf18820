/* Perplexity: how well a language model predicts a text, each token from those before it.
 *
 *     spry_perplexity_options options = spry_perplexity_options_default();
 *     spry_perplexity result;
 *     spry_status status = spry_perplexity_measure(model, session, tokenizer, text, size, &options,
 *                                                  &result, &error);
 *     printf("%.3f\n", result.perplexity);
 *
 * The model takes input_ids [N,T] (see spry/answer.h for further inputs) and gives logits [N,T,V]:
 * of token t + 1 at place t. The text becomes tokens as a whole; windows of it are run one by one,
 * and every token but the first is predicted exactly once. */
#ifndef SPRY_PERPLEXITY_H
#define SPRY_PERPLEXITY_H

#include "spry/model.h"
#include "spry/progress.h"
#include "spry/session.h"
#include "spry/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_perplexity_options {
    size_t struct_size; /* sizeof(spry_perplexity_options): lets the struct grow */
    int32_t window;     /* most tokens at once; 0: 512, or what the model fixes */
    int32_t stride;     /* tokens from one window to the next, below the window; 0: window - 1 */
    int64_t limit;      /* only the first tokens; 0: all */
    const char *output; /* name of the output with the logits; NULL: "logits", else the first */
    const spry_progress *progress;
    const spry_allocator *allocator;
} spry_perplexity_options;

SPRY_API spry_perplexity_options spry_perplexity_options_default(void);

typedef struct spry_perplexity {
    int64_t tokens; /* predicted: one fewer than the text has */
    int64_t bytes;  /* of text that they stand for */
    int64_t windows;
    double loss;          /* mean of -ln p(token), in nats */
    double perplexity;    /* e to the loss */
    double bits_per_byte; /* of all bytes: does not depend on the vocabulary */
    double accuracy;      /* fraction of tokens that had the largest logit */
    double seconds, run_seconds;
} spry_perplexity;

/* Predicts `size` bytes of UTF-8. Fails with SPRY_USAGE (options; fewer than two tokens; a model
 * that is no language model, or has fewer logits than the tokenizer has tokens), and as
 * spry_tokenizer_encode and spry_session_run. */
SPRY_API SPRY_MUST_USE spry_status spry_perplexity_measure(
    const spry_model *model, spry_session *session, const spry_tokenizer *tokenizer,
    const char *text, size_t size, const spry_perplexity_options *options, spry_perplexity *result,
    spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
