/* Times products of a sparse and a dense matrix in SuiteSparse:GraphBLAS on request, on one thread.
 * Rows lie together, the sparse matrix in the form that the library chooses. */
#include <GraphBLAS.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"
#include "sparse_matrix.h"

typedef struct graphblas_sparse {
    sparse_matrix s;
    GrB_Matrix a, b, c;
} graphblas_sparse;

static void clear(graphblas_sparse *p)
{
    (void)GrB_Matrix_free(&p->a);
    (void)GrB_Matrix_free(&p->b);
    (void)GrB_Matrix_free(&p->c);
    sparse_matrix_clear(&p->s);
}

/* The numbers of x, those that are not zero when `is_sparse`. */
static bool put(GrB_Matrix to, const float *x, long rows, long columns, bool is_sparse)
{
    size_t count = (size_t)rows * (size_t)columns;
    GrB_Index *i = malloc(count * sizeof *i);
    GrB_Index *j = malloc(count * sizeof *j);
    float *value = malloc(count * sizeof *value);
    GrB_Index kept = 0;
    bool good = i != NULL && j != NULL && value != NULL;

    for (size_t at = 0; good && at < count; at++) {
        if (!is_sparse || x[at] != 0.0f) {
            i[kept] = at / (GrB_Index)columns;
            j[kept] = at % (GrB_Index)columns;
            value[kept++] = x[at];
        }
    }
    good = good && GrB_Matrix_build_FP32(to, i, j, value, kept, GrB_PLUS_FP32) == GrB_SUCCESS &&
           GrB_Matrix_wait(to, GrB_MATERIALIZE) == GrB_SUCCESS;
    free(i);
    free(j);
    free(value);
    return good;
}

static bool multiply(graphblas_sparse *p)
{
    return GrB_mxm(p->c, NULL, NULL, GrB_PLUS_TIMES_SEMIRING_FP32, p->a, p->b, NULL) ==
               GrB_SUCCESS &&
           GrB_Matrix_wait(p->c, GrB_MATERIALIZE) == GrB_SUCCESS;
}

static bool set_shape(void *context, const char *line, char *reason)
{
    graphblas_sparse *p = context;
    GrB_Index m;
    GrB_Index n;
    GrB_Index k;

    clear(p);
    if (!sparse_matrix_make(&p->s, line, reason)) {
        return false;
    }
    m = (GrB_Index)p->s.m;
    n = (GrB_Index)p->s.n;
    k = (GrB_Index)p->s.k;
    if (GrB_Matrix_new(&p->a, GrB_FP32, n, k) != GrB_SUCCESS ||
        GrB_Matrix_new(&p->b, GrB_FP32, k, m) != GrB_SUCCESS ||
        GrB_Matrix_new(&p->c, GrB_FP32, n, m) != GrB_SUCCESS ||
        !put(p->a, p->s.a, p->s.n, p->s.k, true) || !put(p->b, p->s.b, p->s.k, p->s.m, false)) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "GraphBLAS cannot make the matrices");
        return false;
    }
    (void)snprintf(reason, SERVE_REASON_SIZE, "mxm");
    return true;
}

static bool run(void *context, char *reason)
{
    graphblas_sparse *p = context;

    if (p->a == NULL || !multiply(p)) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "nothing to run, or the run failed");
        return false;
    }
    return true;
}

int main(void)
{
    static graphblas_sparse p;

    if (GrB_init(GrB_NONBLOCKING) != GrB_SUCCESS ||
        GxB_Global_Option_set(GxB_GLOBAL_NTHREADS, 1) != GrB_SUCCESS ||
        GxB_Global_Option_set(GxB_FORMAT, GxB_BY_ROW) != GrB_SUCCESS) {
        (void)fprintf(stderr, "graphblas_sparse: GraphBLAS does not start here\n");
        return EXIT_FAILURE;
    }
    printf("ready {\"version\": \"GraphBLAS %d.%d.%d\"}\n", GxB_IMPLEMENTATION_MAJOR,
           GxB_IMPLEMENTATION_MINOR, GxB_IMPLEMENTATION_SUB);
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &p, .set_shape = set_shape, .run = run});
    clear(&p);
    (void)GrB_finalize();
    return EXIT_SUCCESS;
}
