/* Times products of a sparse and a dense matrix in libxsmm (spmdm) on request, on one thread. The
 * sparse one is brought into its form outside of what is timed. */
#include <libxsmm.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"
#include "sparse_matrix.h"

typedef struct libxsmm_sparse {
    sparse_matrix s;
    libxsmm_spmdm_handle handle;
    libxsmm_CSR_sparseslice *slices;
} libxsmm_sparse;

static void clear(libxsmm_sparse *p)
{
    if (p->slices != NULL) {
        libxsmm_spmdm_destroy(&p->handle);
        p->slices = NULL;
    }
    sparse_matrix_clear(&p->s);
}

static bool set_shape(void *context, const char *line, char *reason)
{
    libxsmm_sparse *p = context;

    clear(p);
    if (!sparse_matrix_make(&p->s, line, reason)) {
        return false;
    }
    libxsmm_spmdm_init((int)p->s.n, (int)p->s.m, (int)p->s.k, 1, &p->handle, &p->slices);
    for (int i = 0; i < libxsmm_spmdm_get_num_createSparseSlice_blocks(&p->handle); i++) {
        libxsmm_spmdm_createSparseSlice_fp32_thread(&p->handle, 'N', p->s.a, p->slices, i, 0, 1);
    }
    (void)snprintf(reason, SERVE_REASON_SIZE, "spmdm %s", libxsmm_get_target_arch());
    return true;
}

static bool run(void *context, char *reason)
{
    libxsmm_sparse *p = context;
    float one = 1.0f;
    float zero = 0.0f;

    if (p->slices == NULL) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "nothing to run");
        return false;
    }
    for (int i = 0; i < libxsmm_spmdm_get_num_compute_blocks(&p->handle); i++) {
        libxsmm_spmdm_compute_fp32_thread(&p->handle, 'N', 'N', &one, p->slices, p->s.b, 'N', &zero,
                                          p->s.c, i, 0, 1);
    }
    return true;
}

int main(void)
{
    static libxsmm_sparse p;

    libxsmm_init();
    printf("ready {\"version\": \"libxsmm %s\", \"isa\": \"%s\"}\n", LIBXSMM_VERSION,
           libxsmm_get_target_arch());
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &p, .set_shape = set_shape, .run = run});
    clear(&p);
    return EXIT_SUCCESS;
}
