/* AMX: four tiles of 16 x 16 sums, two tiles of either factor. One instruction multiplies 16 rows
 * of 64 bytes by 16 columns of 64 bytes. */
#include <immintrin.h>
#include <string.h>

#include "kernels/peak/peak_variants.h"

enum { ROWS = 16, ROW_BYTES = 64, TILES = 8, ACCUMULATORS = 4, SUMS = ROWS * ROWS };

typedef struct tile_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Tiles 0 to 3 are zero, 4 to 7 hold `byte_pair` everywhere. */
static void prepare(uint16_t byte_pair)
{
    uint16_t factor[ROWS][ROW_BYTES / 2];
    tile_config config = {.palette = 1};

    for (int t = 0; t < TILES; t++) {
        config.row_bytes[t] = ROW_BYTES;
        config.rows[t] = ROWS;
    }
    for (int i = 0; i < ROWS * ROW_BYTES / 2; i++) {
        factor[i / (ROW_BYTES / 2)][i % (ROW_BYTES / 2)] = byte_pair;
    }
    /* GCC does not know that loading a tile reads memory. */
    __asm__ volatile("" ::"r"(factor), "r"(&config) : "memory");
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, factor, ROW_BYTES);
    _tile_loadd(5, factor, ROW_BYTES);
    _tile_loadd(6, factor, ROW_BYTES);
    _tile_loadd(7, factor, ROW_BYTES);
}

static double run_bf16(int64_t rounds)
{
    float sums[ACCUMULATORS][SUMS];
    double total = 0.0;

    prepare(0x3F80);
    for (int64_t r = 0; r < rounds; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums[0], ROW_BYTES);
    _tile_stored(1, sums[1], ROW_BYTES);
    _tile_stored(2, sums[2], ROW_BYTES);
    _tile_stored(3, sums[3], ROW_BYTES);
    _tile_release();
    for (int i = 0; i < ACCUMULATORS * SUMS; i++) {
        total += (double)sums[i / SUMS][i % SUMS];
    }
    return total;
}

static double run_s8(int64_t rounds)
{
    int32_t sums[ACCUMULATORS][SUMS];
    double total = 0.0;

    prepare(0x0101);
    for (int64_t r = 0; r < rounds; r++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sums[0], ROW_BYTES);
    _tile_stored(1, sums[1], ROW_BYTES);
    _tile_stored(2, sums[2], ROW_BYTES);
    _tile_stored(3, sums[3], ROW_BYTES);
    _tile_release();
    for (int i = 0; i < ACCUMULATORS * SUMS; i++) {
        total += (double)sums[i / SUMS][i % SUMS];
    }
    return total;
}

const peak_kernel peak_bf16__amx = {"peak_bf16__amx", PEAK_BF16,
                                    (int64_t)2 * ACCUMULATORS *SUMS *ROW_BYTES / 2, run_bf16, NULL};
const peak_kernel peak_s8__amx = {"peak_s8__amx", PEAK_S8,
                                  (int64_t)2 * ACCUMULATORS *SUMS *ROW_BYTES, run_s8, NULL};
