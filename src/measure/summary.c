/* Element by element in blocks of f64. */
#include "measure/summary.h"

#include <math.h>

#include "tensor/convert.h"

static bool has_numbers(const tensor *t)
{
    dtype_class class = dtype_class_of(t->dtype);

    return class != DTYPE_CLASS_NONE && class != DTYPE_CLASS_COMPLEX && class != DTYPE_CLASS_STRING;
}

void summary_of(const tensor *t, summary *s)
{
    double block[CONVERT_BLOCK];
    double sum = 0.0;

    *s = (summary){.count = tensor_count(t)};
    for (int64_t start = 0; has_numbers(t) && start < s->count; start += CONVERT_BLOCK) {
        int64_t count = s->count - start < CONVERT_BLOCK ? s->count - start : CONVERT_BLOCK;

        convert_read_f64(t, start, count, block);
        for (int64_t i = 0; i < count; i++) {
            if (!isfinite(block[i])) {
                continue;
            }
            s->min = s->finite == 0 || block[i] < s->min ? block[i] : s->min;
            s->max = s->finite == 0 || block[i] > s->max ? block[i] : s->max;
            sum += block[i];
            s->finite++;
        }
    }
    s->mean = s->finite > 0 ? sum / (double)s->finite : 0.0;
}

bool summary_is_scores(const tensor *t)
{
    int64_t classes = 0;

    if (dtype_class_of(t->dtype) != DTYPE_CLASS_FLOAT || t->rank == 3 || t->rank > 4) {
        return false;
    }
    if (t->rank == 1) {
        classes = t->shape[0];
    } else if (t->rank > 1) {
        classes = t->shape[1];
    }
    return classes >= 2 && tensor_count(t) == classes;
}

/* Puts a value into the list, which is sorted and holds `count` of at most `most`. */
static int insert(int64_t *indices, double *values, int count, int most, int64_t index,
                  double value)
{
    int place = count;

    while (place > 0 && value > values[place - 1]) {
        place--;
    }
    if (place >= most) {
        return count;
    }
    count = count < most ? count + 1 : count;
    for (int i = count - 1; i > place; i--) {
        indices[i] = indices[i - 1];
        values[i] = values[i - 1];
    }
    indices[place] = index;
    values[place] = value;
    return count;
}

int summary_top(const tensor *t, int most, int64_t *indices, double *values)
{
    int count = 0;

    for (int64_t i = 0; has_numbers(t) && i < tensor_count(t); i++) {
        double value = convert_get_f64(t, i);

        if (!isnan(value)) {
            count = insert(indices, values, count, most, i, value);
        }
    }
    return count;
}
