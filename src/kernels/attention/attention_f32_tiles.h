/* Tiles of TILE_ROWS x two vectors of results in registers, for the file that includes this one
 * after defining TILE_ROWS and
 *
 *     attention_multiply(a, b, n, rows, vectors, sum)
 *         sum[r][i] += the n steps of row r of `a` times vector i of panel `b`, in order
 *
 * where a step is one element, or a pair in bf16. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_TILES_H
#define KERNELS_ATTENTION_ATTENTION_F32_TILES_H

/* c = decay * c + a b, or c = a b where there is no decay. */
VEC_INLINE void attention_tile(const float *a, const float *b, int64_t n, const float *decay,
                               float *c, int64_t c_pitch, int rows, int vectors)
{
    vec_f32 sum[TILE_ROWS][TILE_VECTORS];

    if (decay == NULL) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            sum[r][0] = vec_set(0.0f);
            sum[r][1] = vec_set(0.0f);
        }
    } else {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
            for (int i = 0; i < vectors; i++) {
                sum[r][i] = vec_load(c + r * c_pitch + i * VEC_LANES) * decay[r];
            }
        }
    }
    attention_multiply(a, b, n, rows, vectors, sum);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int i = 0; i < vectors; i++) {
            vec_store(c + r * c_pitch + i * VEC_LANES, sum[r][i]);
        }
    }
}

typedef struct attention_operands {
    const float *a, *b;
    int64_t n;          /* steps */
    int64_t b_panel;    /* floats from one panel of b to the next */
    const float *decay; /* or NULL */
    float *c;
    int64_t c_pitch;
    int64_t columns;
} attention_operands;

/* All columns of some rows. */
VEC_INLINE void attention_tile_columns(const attention_operands *o, int rows)
{
    for (int64_t j = 0; j < o->columns; j += TILE_COLUMNS) {
        const float *b = o->b + j / TILE_COLUMNS * o->b_panel;

        if (o->columns - j > VEC_LANES) {
            attention_tile(o->a, b, o->n, o->decay, o->c + j, o->c_pitch, rows, TILE_VECTORS);
        } else {
            attention_tile(o->a, b, o->n, o->decay, o->c + j, o->c_pitch, rows, 1);
        }
    }
}

/* Odd numbers of rows have one row more computed, which nobody looks at. */
static void attention_tile_rows(const attention_operands *o, int rows)
{
    switch ((rows + (rows != 1)) / 2) {
#if TILE_ROWS > 6
    case 7: attention_tile_columns(o, 14); break;
    case 6: attention_tile_columns(o, 12); break;
    case 5: attention_tile_columns(o, 10); break;
    case 4: attention_tile_columns(o, 8); break;
#endif
#if TILE_ROWS > 4
    case 3: attention_tile_columns(o, 6); break;
#endif
    case 2: attention_tile_columns(o, 4); break;
    case 1: attention_tile_columns(o, 2); break;
    default: attention_tile_columns(o, 1); break;
    }
}

#endif
