/* Adding up differences. */
#include "measure/compare.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/convert.h"

enum { MOST_NAMES = 1000000 };

spry_status spry_comparison_create(const spry_allocator *allocator, spry_comparison **comparison,
                                   spry_error *error)
{
    spry_allocator copy = alloc_resolve(allocator);
    spry_comparison *c = alloc_zeroed(&copy, sizeof *c);

    *comparison = c;
    if (c == NULL) {
        return alloc_failed(error, sizeof *c);
    }
    c->allocator = copy;
    arena_init(&c->memory, &copy, SIZE_MAX);
    return SPRY_OK;
}

void spry_comparison_destroy(spry_comparison *comparison)
{
    if (comparison == NULL) {
        return;
    }
    spry_allocator allocator = comparison->allocator;

    arena_fini(&comparison->memory);
    alloc_release(&allocator, comparison->sums, comparison->capacity * sizeof *comparison->sums);
    alloc_release(&allocator, comparison->rows,
                  comparison->row_capacity * sizeof *comparison->rows);
    alloc_release(&allocator, comparison, sizeof *comparison);
}

/* ---- adding ---- */

static void add_element(compare_sums *s, double r, double o)
{
    bool is_equal = r == o || (isnan(r) && isnan(o));
    double d = fabs(r - o);

    s->elements++;
    if (!isfinite(r) || !isfinite(o)) {
        s->odd += !is_equal;
        return;
    }
    s->least = s->finite == 0 || r < s->least ? r : s->least;
    s->most = s->finite == 0 || r > s->most ? r : s->most;
    s->finite++;
    s->reference2 += r * r;
    s->other2 += o * o;
    s->product += r * o;
    s->difference2 += d * d;
    s->difference += d;
    s->max_abs = d > s->max_abs ? d : s->max_abs;
}

/* Where the largest element of the present row is, on one side. */
typedef struct row_best {
    double value;
    int64_t place;
} row_best;

static void follow(row_best *best, double x, int64_t place)
{
    if (place == 0 || x > best->value) {
        *best = (row_best){x, place};
    }
}

static void add_tensors(compare_sums *s, const tensor *reference, const tensor *other)
{
    double r[CONVERT_BLOCK];
    double o[CONVERT_BLOCK];
    int64_t count = tensor_count(reference);
    int64_t row = reference->rank > 0 ? reference->shape[reference->rank - 1] : 1;
    row_best best_r = {0, 0};
    row_best best_o = {0, 0};
    int64_t place = 0;

    for (int64_t start = 0; start < count; start += CONVERT_BLOCK) {
        int64_t size = count - start < CONVERT_BLOCK ? count - start : CONVERT_BLOCK;
        convert_read_f64(reference, start, size, r);
        convert_read_f64(other, start, size, o);
        for (int64_t i = 0; i < size; i++) {
            add_element(s, r[i], o[i]);
            follow(&best_r, r[i], place);
            follow(&best_o, o[i], place);
            place++;
            if (place == row) {
                s->rows += row > 1;
                s->agreeing += row > 1 && best_r.place == best_o.place;
                place = 0;
            }
        }
    }
}

static bool is_number(spry_dtype dtype)
{
    dtype_class class = dtype_class_of(dtype);

    return class != DTYPE_CLASS_NONE && class != DTYPE_CLASS_COMPLEX && class != DTYPE_CLASS_STRING;
}

/* For one more name. Room for its row is taken too: the rows cannot say that they failed. */
static spry_status make_room(spry_comparison *c, spry_error *error)
{
    void *sums = c->sums;
    void *rows = c->rows;
    spry_status status = alloc_grow(&c->allocator, &sums, &c->capacity, c->count + 1,
                                    sizeof *c->sums, MOST_NAMES, error);

    c->sums = sums;
    if (status == SPRY_OK) {
        status = alloc_grow(&c->allocator, &rows, &c->row_capacity, c->count + 1, sizeof *c->rows,
                            MOST_NAMES, error);
        c->rows = rows;
    }
    return status;
}

static spry_status find_sums(spry_comparison *c, const char *name, compare_sums **sums,
                             spry_error *error)
{
    /* Runs add the same names in the same order: the first search is a hit in most cases. */
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->sums[i].name, name) == 0) {
            *sums = &c->sums[i];
            return SPRY_OK;
        }
    }
    spry_status status = make_room(c, error);
    if (status != SPRY_OK) {
        return status;
    }
    char *copy = arena_text(&c->memory, name, strlen(name));
    if (copy == NULL) {
        return alloc_failed(error, strlen(name) + 1);
    }
    *sums = &c->sums[c->count++];
    **sums = (compare_sums){.name = copy};
    return SPRY_OK;
}

spry_status spry_comparison_add(spry_comparison *comparison, const char *name,
                                const spry_tensor *reference, const spry_tensor *other,
                                spry_error *error)
{
    compare_sums *sums = NULL;

    if (!is_number(reference->dtype) || !is_number(other->dtype)) {
        return spry_fail(error, SPRY_UNSUPPORTED, name, NULL,
                         "tensors of text or complex numbers are not compared");
    }
    if (!tensor_same_shape(reference, other)) {
        char a[128];
        char b[128];
        return spry_fail(error, SPRY_USAGE, name, NULL, "shapes differ: %s against %s",
                         tensor_describe(reference, a, sizeof a),
                         tensor_describe(other, b, sizeof b));
    }
    spry_status status = find_sums(comparison, name, &sums, error);
    if (status == SPRY_OK) {
        add_tensors(sums, reference, other);
    }
    return status;
}

/* ---- results ---- */

static spry_difference finish(const compare_sums *s)
{
    double magnitude = fmax(fabs(s->least), fabs(s->most));
    spry_difference d = {.name = s->name,
                         .elements = s->elements,
                         .odd = s->odd,
                         .max_abs = s->odd > 0 ? (double)INFINITY : s->max_abs,
                         .mean_abs = s->finite > 0 ? s->difference / (double)s->finite : 0,
                         .range = fmax(s->most - s->least, magnitude),
                         .agreement = -1};

    d.max_rel = d.max_abs == 0 ? 0 : d.max_abs / d.range;
    d.cosine = s->product / sqrt(s->reference2 * s->other2);
    if (s->reference2 == 0 || s->other2 == 0) {
        d.cosine = s->reference2 == s->other2 ? 1 : 0;
    }
    d.sqnr_db = s->difference2 == 0 ? (double)INFINITY : 10 * log10(s->reference2 / s->difference2);
    d.sqnr_db = s->odd > 0 ? -(double)INFINITY : d.sqnr_db;
    if (s->rows > 0) {
        d.agreement = (double)s->agreeing / (double)s->rows;
    }
    return d;
}

int32_t spry_comparison_rows(spry_comparison *comparison, const spry_difference **rows)
{
    double lowest = 200; /* what f32 could reach at best: so the first row can be suspicious too */

    *rows = comparison->rows;
    for (size_t i = 0; i < comparison->count; i++) {
        spry_difference *d = &comparison->rows[i];
        *d = finish(&comparison->sums[i]);
        d->suspicion = d->sqnr_db < lowest ? lowest - d->sqnr_db : 0;
        lowest = d->sqnr_db < lowest ? d->sqnr_db : lowest;
    }
    return (int32_t)comparison->count;
}
