/* Answers to questions about a text, by models that mark where in the text an answer begins and
 * ends (extractive question answering: BERT fine-tuned on SQuAD and its relatives).
 *
 *     spry_answer_options options = spry_answer_options_default();
 *     spry_answers *answers = NULL;
 *     const spry_answer *list = NULL;
 *     spry_status status = spry_answer_find(model, session, tokenizer, question, context, &options,
 *                                           &answers, &error);
 *     if (spry_answers_list(answers, &list) > 0) {
 *         printf("%.*s\n", (int)(list[0].end - list[0].begin), context + list[0].begin);
 *     }
 *     spry_answers_destroy(answers);
 *
 * A model takes input_ids [N,T], and attention_mask, token_type_ids and position_ids where it has
 * them, of i64, i32 or f32; N is free or 1, T free or fixed. It gives start_logits and end_logits
 * [N,T], or two outputs of that shape in this order, or one [N,T,2].
 *
 * A context that does not fit behind the question is read in windows that overlap. In each, the
 * best beginnings and ends are combined; a beginning counts only in the window where it has most
 * context around it, min(left, right) + 0.01 x tokens of context in the window (as BERT's
 * run_squad). */
#ifndef SPRY_ANSWER_H
#define SPRY_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/dataset.h"
#include "spry/model.h"
#include "spry/progress.h"
#include "spry/session.h"
#include "spry/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_answer_options {
    size_t struct_size;       /* sizeof(spry_answer_options): lets the struct grow */
    int32_t window;           /* most tokens at once; 0: 384, or what the model fixes */
    int32_t stride;           /* tokens from one window to the next */
    int32_t longest_question; /* in tokens; what is beyond is not read */
    int32_t longest_answer;   /* in tokens */
    int32_t candidates;       /* beginnings, and ends, that are combined per window */
    int32_t top;              /* most answers to give */
    bool may_be_none;         /* the model was taught to say that there is no answer */
    double none_threshold;    /* by how much no answer must score better than the best one */
    const spry_allocator *allocator;
} spry_answer_options;

/* 384, 128, 64, 30, 20 tokens as in BERT's scripts, one answer. */
SPRY_API spry_answer_options spry_answer_options_default(void);

typedef struct spry_answer {
    int64_t begin, end; /* bytes [begin, end) of the context */
    double score;       /* logit of the beginning plus logit of the end */
    double probability; /* among all candidates, and none where that may be: softmax of scores */
    int32_t window;     /* where it was found, from 0 */
} spry_answer;

typedef struct spry_answers spry_answers;

/* Asks one question. Both texts are UTF-8, NUL-terminated.
 * Fails with SPRY_USAGE (an empty question or context, a question that leaves no room, a model that
 * is none for questions, options out of range), and as spry_tokenizer_encode and spry_session_run.
 */
SPRY_API SPRY_MUST_USE spry_status spry_answer_find(const spry_model *model, spry_session *session,
                                                    const spry_tokenizer *tokenizer,
                                                    const char *question, const char *context,
                                                    const spry_answer_options *options,
                                                    spry_answers **answers, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_answers_destroy(spry_answers *answers);

/* The answers, best first, each text once; returns how many. None may be found: where all
 * beginnings lie behind all ends, say. */
SPRY_API int32_t spry_answers_list(const spry_answers *answers, const spry_answer **list);

enum { SPRY_ANSWER_LAYERS = 64 };

/* What a model of the method block-skim computed: blocks of tokens by layer. Layer 0 computes all
 * that hold text. */
typedef struct spry_answer_blocks {
    int32_t layer_count; /* 0: the model computes all; further layers than the last are left out */
    int64_t layers[SPRY_ANSWER_LAYERS];
} spry_answer_blocks;

typedef struct spry_answers_info {
    int32_t windows;
    int64_t context_tokens;
    int64_t question_tokens; /* after cutting it */
    bool is_none;            /* the model says that there is no answer */
    double none_score;       /* the least over windows of the logits at the first token */
    double run_seconds;      /* in the model */
    spry_answer_blocks blocks;
} spry_answers_info;

SPRY_API spry_answers_info spry_answers_describe(const spry_answers *answers);

/* ---- SQuAD ---- */

typedef struct spry_squad spry_squad;

typedef struct spry_squad_answer {
    const char *text;
    int64_t begin; /* byte of the context; -1 where the file does not say */
} spry_squad_answer;

typedef struct spry_squad_question {
    const char *id;
    const char *title; /* of the article */
    const char *question;
    const char *context;
    int32_t answer_count; /* 0 for a question without an answer (2.0) */
    const spry_squad_answer *answers;
} spry_squad_question;

/* Reads a file in the format of SQuAD 1.1 or 2.0. Fails with SPRY_IO, SPRY_BAD_INPUT (not of that
 * format, an answer beyond its context), SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_squad_open(const spry_allocator *allocator,
                                                   const char *path, spry_squad **squad,
                                                   spry_error *error);
/* As above from `size` bytes in memory; `name` stands for them in errors. */
SPRY_API SPRY_MUST_USE spry_status spry_squad_parse(const spry_allocator *allocator,
                                                    const char *bytes, size_t size,
                                                    const char *name, spry_squad **squad,
                                                    spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_squad_close(spry_squad *squad);
SPRY_API int64_t spry_squad_count(const spry_squad *squad);
/* Has a question no answer, as in SQuAD 2.0? */
SPRY_API bool spry_squad_has_unanswerable(const spry_squad *squad);
/* Question `index`, which must be in range; its strings live as long as the file is open. */
SPRY_API spry_squad_question spry_squad_at(const spry_squad *squad, int64_t index);

/* Exact match (0 or 1) and F1 (0 to 1) of an answer, "" for none, as the official scripts compute
 * them: both in lower case, without ASCII punctuation and the words a, an, the; F1 over words; the
 * best over the question's answers. `version2`: by the rules of 2.0, where an answer without words
 * is right exactly when the other has none. Fails with SPRY_LIMIT, SPRY_BAD_INPUT (not UTF-8). */
SPRY_API SPRY_MUST_USE spry_status spry_squad_score(const spry_squad_question *question,
                                                    const char *answer, bool version2,
                                                    double *exact, double *f1, spry_error *error);

typedef struct spry_squad_totals {
    int64_t count;
    double exact, f1; /* means, 0 to 1 */
    int64_t answerable;
    double answerable_exact, answerable_f1;
    int64_t unanswerable;
    double unanswerable_exact; /* F1 is the same */
    int64_t windows;
    double seconds, run_seconds;
    spry_answer_blocks blocks;
} spry_squad_totals;

typedef struct spry_squad_options {
    size_t struct_size;
    spry_answer_options answer;
    int64_t limit; /* only the first questions; 0: all */
    const spry_progress *progress;
    /* Called after each question, with "" for no answer. NULL: not called. */
    void (*told)(void *context, const spry_squad_question *question, const char *answer,
                 double exact, double f1);
    void *told_context;
} spry_squad_options;

SPRY_API spry_squad_options spry_squad_options_default(void);

/* Asks every question of the file. The rules of 2.0 apply where a question has no answer.
 * Fails as spry_answer_find, naming the question. */
SPRY_API SPRY_MUST_USE spry_status
spry_squad_evaluate(const spry_model *model, spry_session *session, const spry_tokenizer *tokenizer,
                    const spry_squad *squad, const spry_squad_options *options,
                    spry_squad_totals *totals, spry_error *error);

/* ---- learning ---- */

typedef struct spry_span_options {
    size_t struct_size;       /* sizeof(spry_span_options): lets the struct grow */
    int32_t window;           /* tokens of every sample, 8 to 4096 */
    int32_t stride;           /* tokens from one window of a context to the next */
    int32_t longest_question; /* in tokens; what is beyond is cut off */
    int64_t limit;            /* only the first questions; 0: all */
    const spry_allocator *allocator;
} spry_span_options;

/* 384, 128 and 64 tokens, all questions. */
SPRY_API spry_span_options spry_span_options_default(void);

/* The questions of a file as samples to learn from, for spry_train with an objective of spans:
 * input_ids, attention_mask and token_type_ids i64[window] of every window, with the class
 * start + window x end, the first and the last token of the question's first answer; 0, the first
 * token, where that is not in the window. Fails with SPRY_USAGE (options; a question that leaves no
 * room), SPRY_BAD_INPUT (no questions; an answer that no token comes from), SPRY_LIMIT, and as
 * spry_tokenizer_encode. */
SPRY_API SPRY_MUST_USE spry_status spry_span_data(const spry_squad *squad,
                                                  const spry_tokenizer *tokenizer,
                                                  const spry_span_options *options,
                                                  spry_dataset **data, spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
