/* Transposes images in pieces of a few columns. */
#include "runtime/provider/turn.h"

#include "kernels/transpose/transpose.h"
#include "runtime/provider/providers.h"

/* Images whose rows become columns, cut into pieces of columns. */
typedef struct turning {
    const transpose_kernel *kernel;
    const uint8_t *from;
    uint8_t *to;
    int64_t rows, columns;
    int64_t size;  /* bytes of an element: 1 or 4 */
    int64_t slice; /* columns per piece */
} turning;

static void turn(void *context, int64_t begin, int64_t end, int worker)
{
    const turning *t = context;
    int64_t slices = provider_pieces(t->columns, t->slice);

    (void)worker;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t image = piece / slices * t->rows * t->columns;
        int64_t first = piece % slices * t->slice;
        transpose_matrix m = {.from = t->from + (image + first) * t->size,
                              .to = t->to + (image + first * t->rows) * t->size,
                              .rows = t->rows,
                              .columns = provider_least(t->columns - first, t->slice),
                              .from_pitch = t->columns * t->size,
                              .to_pitch = t->rows * t->size};

        (t->size == 1 ? t->kernel->bytes : t->kernel->words)(&m);
    }
}

void provider_turn(threads *team, int64_t images, int64_t rows, int64_t columns, int64_t size,
                   const void *from, void *to)
{
    enum { ELEMENTS_PER_PIECE = 32768 };
    turning t = {transpose_select(), from, to, rows, columns, size, ELEMENTS_PER_PIECE / rows + 1};

    threads_for(team, images * provider_pieces(columns, t.slice), 1, turn, &t);
}
