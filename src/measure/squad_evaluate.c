/* Every question of a SQuAD file, asked and scored. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/progress.h"
#include "spry/answer.h"

spry_squad_options spry_squad_options_default(void)
{
    return (spry_squad_options){.struct_size = sizeof(spry_squad_options),
                                .answer = spry_answer_options_default()};
}

typedef struct asking {
    const spry_model *model;
    spry_session *session;
    const spry_tokenizer *tokenizer;
    const spry_squad_options *options;
    spry_squad_totals *totals;
    bool version2;
} asking;

static void count(spry_squad_totals *t, const spry_squad_question *q, double exact, double f1)
{
    t->count++;
    t->exact += exact;
    t->f1 += f1;
    if (q->answer_count > 0) {
        t->answerable++;
        t->answerable_exact += exact;
        t->answerable_f1 += f1;
    } else {
        t->unanswerable++;
        t->unanswerable_exact += exact;
    }
}

/* Scores the first answer, or none. */
static spry_status score(asking *x, const spry_squad_question *q, const spry_answers *answers,
                         spry_error *error)
{
    const spry_answer *list = NULL;
    spry_answers_info info = spry_answers_describe(answers);
    bool has = spry_answers_list(answers, &list) > 0 && !info.is_none;
    size_t length = has ? (size_t)(list[0].end - list[0].begin) : 0;
    spry_allocator allocator = alloc_resolve(x->options->answer.allocator);
    char *answer = alloc_text(&allocator, has ? q->context + list[0].begin : "", length);
    double exact = 0;
    double f1 = 0;

    if (answer == NULL) {
        return alloc_failed(error, length + 1);
    }
    spry_status status = spry_squad_score(q, answer, x->version2, &exact, &f1, error);
    x->totals->windows += info.windows;
    x->totals->run_seconds += info.run_seconds;
    x->totals->blocks.layer_count = info.blocks.layer_count;
    for (int32_t i = 0; i < info.blocks.layer_count; i++) {
        x->totals->blocks.layers[i] += info.blocks.layers[i];
    }
    count(x->totals, q, exact, f1);
    if (status == SPRY_OK && x->options->told != NULL) {
        x->options->told(x->options->told_context, q, answer, exact, f1);
    }
    alloc_release(&allocator, answer, length + 1);
    return status;
}

/* A failure names the question. */
static spry_status name_question(spry_status status, const spry_squad_question *q,
                                 spry_error *error)
{
    if (error == NULL) {
        return status;
    }
    spry_error inner = *error;
    char where[SPRY_ERROR_WHERE_SIZE];

    (void)snprintf(where, sizeof where, "question %.100s: %.300s", q->id, inner.where);
    return spry_fail(error, status, where, inner.remedy, "%s", inner.what);
}

static void take_means(spry_squad_totals *t)
{
    double all = t->count > 0 ? (double)t->count : 1;
    double with = t->answerable > 0 ? (double)t->answerable : 1;
    double without = t->unanswerable > 0 ? (double)t->unanswerable : 1;

    t->exact /= all;
    t->f1 /= all;
    t->answerable_exact /= with;
    t->answerable_f1 /= with;
    t->unanswerable_exact /= without;
}

spry_status spry_squad_evaluate(const spry_model *model, spry_session *session,
                                const spry_tokenizer *tokenizer, const spry_squad *squad,
                                const spry_squad_options *options, spry_squad_totals *totals,
                                spry_error *error)
{
    asking x = {model, session, tokenizer, options, totals, spry_squad_has_unanswerable(squad)};
    spry_status status = SPRY_OK;
    int64_t start = clock_ns();

    *totals = (spry_squad_totals){0};
    if (options->struct_size != sizeof *options || options->limit < 0) {
        return spry_fail(error, SPRY_USAGE, NULL, "start from spry_squad_options_default()",
                         "the evaluation's options are not initialised");
    }
    spry_answer_options asked = options->answer;
    asked.may_be_none = asked.may_be_none || x.version2;
    int64_t most = spry_squad_count(squad);
    most = options->limit > 0 && options->limit < most ? options->limit : most;
    for (int64_t i = 0; status == SPRY_OK && i < most; i++) {
        spry_squad_question q = spry_squad_at(squad, i);
        spry_answers *answers = NULL;

        status = spry_answer_find(model, session, tokenizer, q.question, q.context, &asked,
                                  &answers, error);
        if (status != SPRY_OK) {
            return name_question(status, &q, error);
        }
        status = score(&x, &q, answers, error);
        spry_answers_destroy(answers);
        if (status == SPRY_OK) {
            status =
                progress_report(options->progress, "asking", (double)(i + 1), (double)most, error);
        }
    }
    take_means(totals);
    totals->seconds = (double)(clock_ns() - start) * 1e-9;
    return status;
}
