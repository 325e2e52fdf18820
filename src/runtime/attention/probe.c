/* Memory of surveys. */
#include "runtime/attention/probe.h"

#include <string.h>

static int64_t stride_of(const spry_attention_probe *probe, const attention_problem *p)
{
    int64_t most = probe->most_samples > 0 ? probe->most_samples : 1;

    return (p->rows + most - 1) / most;
}

static int64_t samples_of(const spry_attention_probe *probe, const attention_problem *p)
{
    int64_t stride = stride_of(probe, p);

    return probe->most_samples > 0 ? (p->rows + stride - 1) / stride : 0;
}

/* Numbers of the survey's parts. */
typedef struct survey_sizes {
    int64_t rows, columns, profile, samples;
} survey_sizes;

static survey_sizes sizes_of(const spry_attention_probe *probe, const attention_problem *p)
{
    int64_t heads = p->batch * p->heads;

    return (survey_sizes){heads * p->rows, heads * probe->class_count * p->keys,
                          heads * (p->rows + p->keys - 1), heads * samples_of(probe, p) * p->keys};
}

size_t attention_probe_bytes(const spry_attention_probe *probe, const attention_problem *p)
{
    survey_sizes n = sizes_of(probe, p);

    return (size_t)(4 * n.rows + n.columns + n.profile) * sizeof(double) +
           (size_t)n.samples * sizeof(float);
}

attention_survey attention_probe_survey(const spry_attention_probe *probe,
                                        const attention_problem *p, void *memory)
{
    survey_sizes n = sizes_of(probe, p);
    double *at = memory;
    attention_survey s = {.classes = probe->classes,
                          .class_count = probe->class_count,
                          .distance = at,
                          .offset = at + n.rows,
                          .variance = at + 2 * n.rows,
                          .entropy = at + 3 * n.rows,
                          .columns = at + 4 * n.rows,
                          .profile = at + 4 * n.rows + n.columns,
                          .sample_stride = stride_of(probe, p),
                          .sample_count = samples_of(probe, p)};

    s.samples = n.samples > 0 ? (float *)(void *)(s.profile + n.profile) : NULL;
    memset(s.columns, 0, (size_t)(n.columns + n.profile) * sizeof *s.columns);
    return s;
}
