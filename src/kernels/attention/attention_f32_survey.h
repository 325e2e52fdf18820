/* What a survey takes from a strip of weights, for the file that includes this one: see
 * attention_kernel. Rows are zero around, so that whole vectors are read everywhere. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_SURVEY_H
#define KERNELS_ATTENTION_ATTENTION_F32_SURVEY_H

static void weigh_energy(float *s, int rows, int64_t n, attention_rows *state)
{
    attention_weigh(s, rows, n, state, &weighing, true);
}

/* ---- moments ---- */

VEC_INLINE vec_f32 survey_ramp(void)
{
    vec_f32 ramp;

    for (int i = 0; i < VEC_LANES; i++) {
        ramp[i] = (float)i;
    }
    return ramp;
}

/* Sums and first moments so far. */
typedef struct survey_sums {
    vec_f32 sum, first;
} survey_sums;

VEC_INLINE survey_sums survey_add(survey_sums sums, vec_f32 weights, vec_f32 keys)
{
    return (survey_sums){sums.sum + weights, vec_fma(weights, keys, sums.first)};
}

/* The sums of one row; *before are those of the keys in front of the cut. */
VEC_INLINE survey_sums survey_row(const float *row, int64_t n, int64_t cut, survey_sums *before)
{
    survey_sums sums = {{0}, {0}};
    vec_f32 keys = survey_ramp();
    int64_t i = 0;

    for (; i + VEC_LANES <= cut; i += VEC_LANES) {
        sums = survey_add(sums, vec_load(row + i), keys);
        keys += (float)VEC_LANES;
    }
    *before = sums;
    if (i < cut) {
        *before = survey_add(sums, vec_keep(vec_load(row + i), cut - i), keys);
    }
    for (; i < n; i += VEC_LANES) {
        sums = survey_add(sums, vec_load(row + i), keys);
        keys += (float)VEC_LANES;
    }
    return sums;
}

/* Around a centre that is near enough to the mean that nothing cancels. */
VEC_INLINE vec_f32 survey_second(const float *row, int64_t n, float centre)
{
    vec_f32 away = survey_ramp() - centre;
    vec_f32 second = {0};

    for (int64_t i = 0; i < n; i += VEC_LANES) {
        vec_f32 weighted = vec_load(row + i) * away;

        second = vec_fma(weighted, away, second);
        away += (float)VEC_LANES;
    }
    return second;
}

static void moments(const float *s, int rows, int64_t n, const int64_t *cuts, attention_moments *to)
{
    vec_f32 sum[VEC_LANES] = {{0}};
    vec_f32 first[VEC_LANES] = {{0}};
    vec_f32 sum_before[VEC_LANES] = {{0}};
    vec_f32 first_before[VEC_LANES] = {{0}};
    vec_f32 second[VEC_LANES] = {{0}};
    float centre[VEC_LANES];
    vec_f32 sums;
    vec_f32 firsts;

    for (int r = 0; r < rows; r++) {
        survey_sums before;
        survey_sums all = survey_row(s + r * ATTENTION_PITCH, n, cuts[r], &before);

        sum[r] = all.sum;
        first[r] = all.first;
        sum_before[r] = before.sum;
        first_before[r] = before.first;
    }
    sums = attention_across(sum, true);
    firsts = attention_across(first, true);
    vec_store(to->sum, sums);
    vec_store(to->first, firsts);
    vec_store(to->sum_before, attention_across(sum_before, true));
    vec_store(to->first_before, attention_across(first_before, true));
    vec_store(centre, vec_select(sums > 0.0f, firsts / sums, vec_set(0.0f)));
    for (int r = 0; r < rows; r++) {
        second[r] = survey_second(s + r * ATTENTION_PITCH, n, centre[r]);
    }
    vec_store(to->second, attention_across(second, true));
}

/* ---- sums by key and by offset ---- */

VEC_INLINE void survey_flush(vec_f32 sums, double *to, int64_t count)
{
    if (count >= VEC_LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < VEC_LANES; i++) {
            to[i] += (double)sums[i];
        }
    } else {
        for (int i = 0; i < count; i++) {
            to[i] += (double)sums[i];
        }
    }
}

/* One vector of sums: of the weights at `at`, and `slant` further in each row. */
VEC_INLINE vec_f32 survey_down(const float *at, int rows, int slant, const float *factors)
{
    vec_f32 sums = {0};

    if (rows == TILE_ROWS) {
#pragma GCC unroll 16
        for (int r = 0; r < TILE_ROWS; r++) {
            sums = vec_fma(vec_load(at + r * (ATTENTION_PITCH + slant)), vec_set(factors[r]), sums);
        }
        return sums;
    }
    for (int r = 0; r < rows; r++) {
        sums = vec_fma(vec_load(at + r * (ATTENTION_PITCH + slant)), vec_set(factors[r]), sums);
    }
    return sums;
}

static void gather(const float *s, int rows, int64_t n, const float *factors, double *columns,
                   double *profile)
{
    for (int64_t j = 0; j < n; j += VEC_LANES) {
        survey_flush(survey_down(s + j, rows, 0, factors), columns + j, n - j);
    }
    for (int64_t j = 1 - rows; j < n; j += VEC_LANES) {
        survey_flush(survey_down(s + j, rows, 1, factors), profile + j, n - j);
    }
}

#endif
