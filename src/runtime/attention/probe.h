/* What looks into attention while a session runs, and changes which keys heads look at. The
 * session's options hold it; it is read at every run. */
#ifndef RUNTIME_ATTENTION_PROBE_H
#define RUNTIME_ATTENTION_PROBE_H

#include "kernels/attention/attention_heads.h"
#include "kernels/filter/filter.h"
#include "spry/session.h"

/* What became of the keys of an attention that filters them. */
typedef struct attention_filtered {
    int rounds;
    /* [batch][heads][rows][keys]: 0 where a key is hidden from the query, else how many rounds it
     * survived, plus 1. */
    const uint8_t *fate;
    const filter_work *work;
} attention_filtered;

struct spry_attention_probe {
    void *context;
    /* Called behind each attention over all keys, with its operands and results in place; NULL. */
    void (*look)(void *context, const char *name, const attention_problem *p);
    /* The same behind each that filters its keys. NULL: fates are not kept. */
    void (*filtered)(void *context, const char *name, const attention_problem *p,
                     const attention_filtered *filtered);
    /* Called behind each attention, in the order of execution. `name` is that of the value it
     * computes: the same in every run of a model. `p` is the problem, the survey's memory is gone
     * afterwards. NULL: nothing is surveyed. */
    void (*see)(void *context, const char *name, const attention_problem *p,
                const attention_survey *survey);
    const int8_t *classes; /* of all queries, as attention_survey has them */
    int class_count;
    int64_t most_samples; /* rows of each head that are kept, as far as there are */
    /* What that attention's heads shall look at; NULL: as the model says. */
    const attention_policy *(*policies)(void *context, const char *name, int64_t heads);
};

/* Bytes of memory for one survey, and the survey in such memory, with sums set to zero. `memory` is
 * aligned to 64 bytes. */
size_t attention_probe_bytes(const spry_attention_probe *probe, const attention_problem *p);
attention_survey attention_probe_survey(const spry_attention_probe *probe,
                                        const attention_problem *p, void *memory);

#endif
