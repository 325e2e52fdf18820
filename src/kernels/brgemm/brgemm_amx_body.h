/* Tiles of AMX, 32 rows x 32 columns: what the files of each element type share.
 *
 * 2 x 2 tiles of sums are fed by 2 tiles of A and 2 of B. A tile of A is 16 rows of 16 steps (64
 * bytes), loaded from where the rows lie; one of B is 16 steps of 16 columns. Fewer steps than 16
 * are copied into tiles filled up with zeros, so that one configuration serves a whole call. */
#ifndef KERNELS_BRGEMM_BRGEMM_AMX_BODY_H
#define KERNELS_BRGEMM_BRGEMM_AMX_BODY_H

#include <immintrin.h>
#include <string.h>

#include "kernels/brgemm/brgemm_variants.h"

enum { MR = 32, NR = 32, SIDE = 16, STEP = 4, LINE = 64, PANEL_LINE = NR * STEP };

/* What a step multiplies: pairs of bf16, or four bytes of B (signed) and of A. */
typedef enum amx_product { AMX_BF16, AMX_UNSIGNED, AMX_SIGNED } amx_product;

typedef struct tile_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

#define AMX_INLINE static inline __attribute__((always_inline))

/* Tiles: 0 to 3 sums, by rows, then columns; 4 and 5 A; 6 and 7 B. */
AMX_INLINE void amx_configure(int rows)
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

/* The sums from what is in C, or zero. All sums are of four bytes. */
AMX_INLINE void amx_start(const brgemm_tile *t, uint32_t sums[MR][NR])
{
    memset(sums, 0, sizeof(uint32_t) * MR * NR);
    for (int i = 0; t->accumulate && i < t->rows; i++) {
        memcpy(sums[i], brgemm_c_row(t, i, MR), (size_t)t->columns * sizeof **sums);
    }
    __asm__ volatile("" ::"r"(sums) : "memory");
    _tile_loadd(0, sums[0], sizeof *sums);
    _tile_loadd(1, &sums[0][SIDE], sizeof *sums);
    if (t->rows > SIDE) {
        _tile_loadd(2, sums[SIDE], sizeof *sums);
        _tile_loadd(3, &sums[SIDE][SIDE], sizeof *sums);
    }
}

AMX_INLINE void amx_multiply_top(amx_product product)
{
    if (product == AMX_BF16) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
    } else if (product == AMX_UNSIGNED) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
    } else {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
    }
}

AMX_INLINE void amx_multiply_bottom(amx_product product)
{
    if (product == AMX_BF16) {
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    } else if (product == AMX_UNSIGNED) {
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    } else {
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
}

/* 16 steps. */
AMX_INLINE void amx_multiply(const char *top, const char *bottom, int64_t pitch, const char *b,
                             bool has_bottom, amx_product product)
{
    _tile_loadd(6, b, PANEL_LINE);
    _tile_loadd(7, b + LINE, PANEL_LINE);
    _tile_loadd(4, top, pitch);
    amx_multiply_top(product);
    if (has_bottom) {
        _tile_loadd(5, bottom, pitch);
        amx_multiply_bottom(product);
    }
}

/* The last `steps` < 16 of a tap. */
AMX_INLINE void amx_multiply_rest(const brgemm_tile *t, const char *a, const char *b, int64_t steps,
                                  amx_product product)
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
    amx_multiply(rows[0], rows[SIDE], LINE, panel[0], t->rows > SIDE, product);
}

/* The sums of a whole tile; rows that it lacks are left as they are. */
AMX_INLINE void amx_sum(const brgemm_tile *t, uint32_t sums[MR][NR], amx_product product)
{
    const char *b = t->b;

    amx_configure(t->rows);
    amx_start(t, sums);
    for (int tap = 0; tap < t->taps; tap++) {
        const char *a = (const char *)t->a + t->tap_offsets[tap];
        int64_t left = t->steps;

        for (; left >= SIDE; left -= SIDE) {
            amx_multiply(a, a + t->a_second, t->a_pitch, b, t->rows > SIDE, product);
            a += (size_t)SIDE * STEP;
            b += (size_t)SIDE * PANEL_LINE;
        }
        if (left > 0) {
            amx_multiply_rest(t, a, b, left, product);
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
}

#endif
