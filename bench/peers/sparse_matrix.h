/* What the programs of peers with sparse products share: the line that describes one, and its
 * numbers. */
#ifndef BENCH_PEERS_SPARSE_MATRIX_H
#define BENCH_PEERS_SPARSE_MATRIX_H

#include <stdbool.h>

/* C[n][m] = A[n][k] x B[k][m], A sparse: the weights; B dense: the inputs, as the peer wants them.
 */
typedef struct sparse_matrix {
    long m, n, k;
    double density;
    float *a, *b, *c;
} sparse_matrix;

/* Reads "gemm M N K inputs weights panels", as bench/sparse does, of which only the weights may
 * have zeros, and draws the numbers. False with a reason when it is something else. */
bool sparse_matrix_make(sparse_matrix *s, const char *line, char *reason);
void sparse_matrix_clear(sparse_matrix *s);

#endif
