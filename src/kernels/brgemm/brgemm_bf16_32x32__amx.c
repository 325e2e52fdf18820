/* AMX tile of bf16: 32 rows x 32 columns as 2 x 2 tiles of sums, fed by 2 tiles of A and 2 of B.
 *
 * A tile of A is 16 rows of 16 steps (two k each), loaded from where the rows lie; one of B is 16
 * steps of 16 columns. Fewer steps than 16 are copied into tiles filled up with zeros, so that one
 * configuration serves a whole call. */
#include <immintrin.h>
#include <string.h>

#include "kernels/brgemm/brgemm_floats_avx512.h"

enum { MR = 32, NR = 32, SIDE = 16, STEP = 4, LINE = 64, PANEL_LINE = NR * STEP };

typedef struct tile_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Tiles: 0 to 3 sums, by rows, then columns; 4 and 5 A; 6 and 7 B. */
static void configure(int rows)
{
    tile_config config = {.palette = 1};
    int top = rows < SIDE ? rows : SIDE;
    int bottom = rows > SIDE ? rows - SIDE : SIDE; /* not used without such rows */
    const int by_tile[] = {top, top, bottom, bottom, top, bottom, SIDE, SIDE};

    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = LINE;
        config.rows[i] = (uint8_t)by_tile[i];
    }
    /* GCC does not know that loading a configuration or a tile reads memory. */
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
}

/* The sums from what is in C, or zero. */
static void start(const brgemm_tile *t, float sums[MR][NR])
{
    memset(sums, 0, sizeof(float) * MR * NR);
    for (int i = 0; t->accumulate && i < t->rows; i++) {
        memcpy(sums[i], brgemm_c_row(t, i, MR), (size_t)t->columns * sizeof(float));
    }
    __asm__ volatile("" ::"r"(sums) : "memory");
    _tile_loadd(0, sums[0], sizeof *sums);
    _tile_loadd(1, &sums[0][SIDE], sizeof *sums);
    if (t->rows > SIDE) {
        _tile_loadd(2, sums[SIDE], sizeof *sums);
        _tile_loadd(3, &sums[SIDE][SIDE], sizeof *sums);
    }
}

/* 16 steps. */
static inline void multiply(const char *top, const char *bottom, int64_t pitch, const char *b,
                            bool has_bottom)
{
    _tile_loadd(6, b, PANEL_LINE);
    _tile_loadd(7, b + LINE, PANEL_LINE);
    _tile_loadd(4, top, pitch);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (has_bottom) {
        _tile_loadd(5, bottom, pitch);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* The last `steps` < 16 of a tap. */
static void multiply_rest(const brgemm_tile *t, const char *a, const char *b, int64_t steps)
{
    char rows[MR][LINE];
    char panel[SIDE][PANEL_LINE];

    memset(rows, 0, sizeof rows);
    memset(panel, 0, sizeof panel);
    for (int i = 0; i < t->rows; i++) {
        int64_t at = i < SIDE ? i * t->a_pitch : t->a_second + (i - SIDE) * t->a_pitch;

        memcpy(rows[i], a + at, (size_t)steps * STEP);
    }
    memcpy(panel, b, (size_t)steps * PANEL_LINE);
    __asm__ volatile("" ::"r"(rows), "r"(panel) : "memory");
    multiply(rows[0], rows[SIDE], LINE, panel[0], t->rows > SIDE);
}

/* Finishes and stores row by row. */
static void store(const brgemm_tile *t, float sums[MR][NR])
{
    brgemm_finish finish;
    brgemm_tile row = *t;
    int vectors = t->columns > SIDE ? 2 : 1;

    row.rows = 1;
    for (int i = 0; i < t->rows; i++) {
        __m512 parts[] = {_mm512_loadu_ps(sums[i]), _mm512_loadu_ps(&sums[i][SIDE])};

        row.c = brgemm_c_row(t, i, MR);
        if (t->finish != NULL) {
            finish = *t->finish;
            finish.residual =
                finish.residual != NULL ? brgemm_residual_row(t->finish, i, MR) : NULL;
            row.finish = &finish;
            brgemm_finish_floats_avx512(&row, 1, vectors, MR, parts);
        }
        brgemm_store_floats_avx512(&row, 1, vectors, MR, parts);
    }
}

static void tile(const brgemm_tile *t)
{
    float sums[MR][NR];
    const char *b = t->b;

    configure(t->rows);
    start(t, sums);
    for (int tap = 0; tap < t->taps; tap++) {
        const char *a = (const char *)t->a + t->tap_offsets[tap];
        int64_t left = t->steps;

        for (; left >= SIDE; left -= SIDE) {
            multiply(a, a + t->a_second, t->a_pitch, b, t->rows > SIDE);
            a += (size_t)SIDE * STEP;
            b += (size_t)SIDE * PANEL_LINE;
        }
        if (left > 0) {
            multiply_rest(t, a, b, left);
            b += left * PANEL_LINE;
        }
    }
    _tile_stored(0, sums[0], sizeof *sums);
    _tile_stored(1, &sums[0][SIDE], sizeof *sums);
    if (t->rows > SIDE) {
        _tile_stored(2, sums[SIDE], sizeof *sums);
        _tile_stored(3, &sums[SIDE][SIDE], sizeof *sums);
    }
    _tile_release();
    __asm__ volatile("" ::"r"(sums) : "memory");
    store(t, sums);
}

const brgemm_kernel brgemm_bf16_32x32__amx = {
    "brgemm_bf16_32x32__amx", BRGEMM_BF16, MR, NR, 2, tile, NULL};
