/* Packing, the loops around the tiles, and the portable tile. */
#include "kernels/gemm/gemm_s8.h"

#include <string.h>

#include "kernels/gemm/gemm_s8_finish_body.h"
#include "kernels/gemm/gemm_s8_variants.h"

/* ---- variants ---- */

enum { GENERIC_MR = 4, GENERIC_NR = 16 };

static int32_t signed_byte(uint8_t byte)
{
    return byte < 128 ? byte : byte - 256;
}

static void tile_4x16(const gemm_s8_tile *t)
{
    int32_t sums[GENERIC_MR][GENERIC_NR] = {{0}};

    for (int64_t k = 0; k < t->steps * GEMM_S8_STEP; k++) {
        const uint8_t *a = t->a + k / GEMM_S8_STEP * GENERIC_MR * GEMM_S8_STEP + k % GEMM_S8_STEP;
        const uint8_t *b = t->b + k / GEMM_S8_STEP * GENERIC_NR * GEMM_S8_STEP + k % GEMM_S8_STEP;

        for (int i = 0; i < GENERIC_MR; i++) {
            uint8_t byte = a[i * GEMM_S8_STEP];
            int32_t x = t->a_is_unsigned ? byte : signed_byte(byte);

            for (int j = 0; j < GENERIC_NR; j++) {
                uint8_t other = b[j * GEMM_S8_STEP];
                int32_t y = t->a_is_unsigned ? signed_byte(other) : other;

                sums[i][j] = (int32_t)((uint32_t)sums[i][j] + (uint32_t)(x * y));
            }
        }
    }
    for (int i = 0; i < t->rows; i++) {
        gemm_s8_store_row(t, i, sums[i]);
    }
}

static const gemm_s8_kernel gemm_s8_4x16__generic = {"gemm_s8_4x16__generic", GENERIC_MR,
                                                     GENERIC_NR, tile_4x16, NULL};

const isa_variant gemm_s8_variants[] = {
    {"gemm_s8_4x16__generic", ISA_GENERIC, &gemm_s8_4x16__generic},
#ifdef SPRY_HAVE_AVX2
    {"gemm_s8_4x8__avx2", ISA_AVX2, &gemm_s8_4x8__avx2},
#endif
#ifdef SPRY_HAVE_AVXVNNI
    {"gemm_s8_6x16__avxvnni", ISA_AVX2, &gemm_s8_6x16__avxvnni},
#endif
#ifdef SPRY_HAVE_AVX512VNNI
    {"gemm_s8_6x64__avx512vnni", ISA_AVX512VNNI, &gemm_s8_6x64__avx512vnni},
#endif
};
const int gemm_s8_variant_count = sizeof gemm_s8_variants / sizeof *gemm_s8_variants;

bool gemm_s8_usable(const isa_variant *variant)
{
    const gemm_s8_kernel *kernel = variant->table;

    return isa_usable(variant->level) && (kernel->present == NULL || kernel->present());
}

const gemm_s8_kernel *gemm_s8_select(void)
{
    const gemm_s8_kernel *best = &gemm_s8_4x16__generic;

    for (int i = 0; i < gemm_s8_variant_count; i++) {
        if (gemm_s8_usable(&gemm_s8_variants[i])) {
            best = gemm_s8_variants[i].table;
        }
    }
    return best;
}

/* ---- packing ---- */

/* A step of a panel: four bytes of each of `lines` lines, zeros for the lines that are missing and
 * the steps beyond the end. */
static void pack_step(const gemm_s8_matrix *m, int64_t first, int lines, int64_t k, int width,
                      uint8_t *to)
{
    int taken = (int)(m->k - k < GEMM_S8_STEP ? m->k - k : GEMM_S8_STEP);
    const uint8_t *from = m->data + first * m->line_stride + k * m->k_stride;

    if (taken < GEMM_S8_STEP || lines < width) {
        memset(to, 0, (size_t)width * GEMM_S8_STEP);
    }
    for (int i = 0; i < lines; i++) {
        for (int j = 0; j < taken; j++) {
            to[i * GEMM_S8_STEP + j] =
                (uint8_t)(from[i * m->line_stride + j * m->k_stride] ^ m->flip);
        }
    }
}

void gemm_s8_pack(const void *matrix, int64_t first, int64_t count, int width, uint8_t *to)
{
    const gemm_s8_matrix *m = matrix;
    uint32_t flips = m->flip * UINT32_C(0x01010101);

    for (int64_t line = 0; line < count; line += width) {
        int lines = (int)(count - line < width ? count - line : width);

        for (int64_t k = 0; k < m->k; k += GEMM_S8_STEP) {
            const uint8_t *from = m->data + (first + line) * m->line_stride + k;

            if (m->k_stride == 1 && k + GEMM_S8_STEP <= m->k && lines == width) {
                for (int i = 0; i < width; i++) { /* four adjacent bytes at a time */
                    uint32_t four;

                    memcpy(&four, from + i * m->line_stride, sizeof four);
                    four ^= flips;
                    memcpy(to + i * GEMM_S8_STEP, &four, sizeof four);
                }
            } else {
                pack_step(m, first + line, lines, k, width, to);
            }
            to += (int64_t)width * GEMM_S8_STEP;
        }
    }
}

/* At most GEMM_S8_MOST_NR lines of a panel. What fills its last step up does not count. */
static void sum_panel(const uint8_t *packed, int lines, int64_t k, int width, int32_t factor,
                      int32_t *sums)
{
    uint32_t totals[GEMM_S8_MOST_NR] = {0};
    const uint8_t *four = packed;
    int rest = (int)(k % GEMM_S8_STEP);

    for (int64_t step = 0; step < k / GEMM_S8_STEP; step++) {
        for (int i = 0; i < lines; i++) {
            totals[i] +=
                (uint32_t)four[4 * i] + four[4 * i + 1] + four[4 * i + 2] + four[4 * i + 3];
        }
        four += (ptrdiff_t)width * GEMM_S8_STEP;
    }
    for (int i = 0; i < lines; i++) {
        for (int j = 0; j < rest; j++) {
            totals[i] += four[i * GEMM_S8_STEP + j];
        }
        sums[i] = (int32_t)(totals[i] * (uint32_t)factor);
    }
}

void gemm_s8_sum_lines(const uint8_t *packed, int64_t count, int64_t k, int width, int32_t factor,
                       int32_t *sums)
{
    for (int64_t line = 0; line < count; line += width) {
        int lines = (int)(count - line < width ? count - line : width);

        sum_panel(packed + line * gemm_s8_padded(k), lines, k, width, factor, sums + line);
    }
}

/* ---- the loops ---- */

int64_t gemm_s8_block(const gemm_s8_kernel *kernel, int64_t k)
{
    enum { CACHE_BYTES = 384 * 1024, MOST_PANELS = 8 };
    int64_t panel = gemm_s8_padded(k) * kernel->nr;
    int64_t panels = panel > 0 ? CACHE_BYTES / panel : MOST_PANELS;

    panels = panels < 1 ? 1 : panels;
    return (panels < MOST_PANELS ? panels : MOST_PANELS) * kernel->nr;
}

int64_t gemm_s8_workspace(const gemm_s8_kernel *kernel, int64_t k, int64_t n)
{
    int64_t block = gemm_s8_block(kernel, k);

    return gemm_s8_packed_size(n < block ? n : block, k, kernel->nr) + GEMM_S8_SLACK;
}

static gemm_s8_finish finish_at(const gemm_s8_finish *f, int64_t row, int64_t column)
{
    gemm_s8_finish at = *f;

    at.row_offset = f->row_offset != NULL ? f->row_offset + row : NULL;
    at.row_factor = f->row_factor != NULL ? f->row_factor + row : NULL;
    at.column_offset = f->column_offset != NULL ? f->column_offset + column : NULL;
    at.column_factor = f->column_factor != NULL ? f->column_factor + column : NULL;
    return at;
}

static size_t result_size(gemm_s8_result result)
{
    return result == GEMM_S8_BYTES ? sizeof(uint8_t) : sizeof(int32_t);
}

/* Columns [n0, n0 + n), whose panels lie at `b`. */
static void run_block(const gemm_s8_kernel *kernel, const gemm_s8_problem *p, int64_t n0, int64_t n,
                      const uint8_t *b)
{
    int64_t k = gemm_s8_padded(p->k);
    size_t size = result_size(p->finish.result);

    for (int64_t row = 0; row < p->m; row += kernel->mr) {
        int64_t rows = p->m - row < kernel->mr ? p->m - row : kernel->mr;

        for (int64_t j = 0; j < n; j += kernel->nr) {
            gemm_s8_finish finish = finish_at(&p->finish, row, n0 + j);
            gemm_s8_tile tile = {.steps = k / GEMM_S8_STEP,
                                 .a = p->packed_a + row * k,
                                 .b = b + j * k,
                                 .c = (uint8_t *)p->c + (size_t)(row * p->c_stride + n0 + j) * size,
                                 .c_stride = p->c_stride,
                                 .rows = (int)rows,
                                 .columns = (int)(n - j < kernel->nr ? n - j : kernel->nr),
                                 .a_is_unsigned = p->a_is_unsigned,
                                 .finish = &finish};

            if (p->b_sums != NULL) {
                finish.column_offset = p->b_sums + j;
            }
            kernel->tile(&tile);
        }
    }
}

void gemm_s8_run(const gemm_s8_kernel *kernel, const gemm_s8_problem *p, uint8_t *workspace)
{
    int64_t end = p->n_first + p->n;
    int64_t block = gemm_s8_block(kernel, p->k);

    for (int64_t n0 = p->n_first; n0 < end; n0 += block) {
        int64_t n = end - n0 < block ? end - n0 : block;

        const uint8_t *b = workspace;

        if (p->b.packed != NULL) {
            b = p->b.packed + n0 * gemm_s8_padded(p->k);
        } else {
            p->b.pack(p->b.context, n0, n, kernel->nr, workspace);
        }
        if (p->b_sums != NULL) {
            gemm_s8_sum_lines(b, n, p->k, kernel->nr, p->b_factor, p->b_sums);
        }
        run_block(kernel, p, n0, n, b);
    }
}
