/* Tiles of TILE_ROWS x two vectors of results in registers, for the file that includes this one
 * after defining TILE_ROWS and
 *
 *     attention_multiply(a, b, n, first, rows, vectors, sum)
 *         sum[r][i] += the n steps of row r of `a` times vector i of panel `b`, in order, for the
 *         rows [first, rows)
 *
 * where a step is one element, or a pair in bf16. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_TILES_H
#define KERNELS_ATTENTION_ATTENTION_F32_TILES_H

/* The last steps of a large tile are done for half of its rows first, whose stores then go on while
 * the others are summed: all at once, they would keep the next tile waiting. */
enum { LAST_STEPS = 4, MOST_AT_ONCE = 8, FIRST_HALF = 7 };

/* The n steps that rows [first, rows) have left, and their stores. */
VEC_INLINE void attention_end(const float *a, const float *b, int64_t n, float *c, int64_t c_pitch,
                              int first, int rows, int vectors,
                              vec_f32 sum[TILE_ROWS][TILE_VECTORS])
{
    attention_multiply(a, b, n, first, rows, vectors, sum);
    /* Hides that C lies where it did before the products, or the addresses of all rows are kept. */
    __asm__("" : "+r"(c), "+r"(c_pitch));
#pragma GCC unroll 16
    for (int r = first; r < rows; r++) {
#pragma GCC unroll 2
        for (int i = 0; i < vectors; i++) {
            vec_store(c + r * c_pitch + i * VEC_LANES, sum[r][i]);
        }
    }
}

/* c = decay * c + a b, or c = a b where there is no decay. */
VEC_INLINE void attention_tile(const float *a, const float *b, int64_t n, const float *decay,
                               float *c, int64_t c_pitch, int rows, int vectors)
{
    vec_f32 sum[TILE_ROWS][TILE_VECTORS];
    int64_t last = n >= LAST_STEPS ? LAST_STEPS : 0;

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
    if (rows <= MOST_AT_ONCE || vectors == 1) {
        attention_end(a, b, n, c, c_pitch, 0, rows, vectors, sum);
        return;
    }
    attention_multiply(a, b, n - last, 0, rows, vectors, sum);
    a += n - last;
    b += (n - last) * TILE_COLUMNS;
    attention_end(a, b, last, c, c_pitch, 0, FIRST_HALF, vectors, sum);
    attention_end(a, b, last, c, c_pitch, FIRST_HALF, rows, vectors, sum);
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
        const float *b;

        /* Hides that the operands stay the same, or the compiler keeps addresses of rows in vector
         * registers, where they wait for the products of the tile before. */
        __asm__("" : "+r"(o));
        b = o->b + j / TILE_COLUMNS * o->b_panel;

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
