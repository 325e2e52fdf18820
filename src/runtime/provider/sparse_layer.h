/* Convolutions and products that can skip zeros: what they are, what is kept of their weights, and
 * which ways are worth trying. Times are foretold in cycles of one core, so that no choice depends
 * on the number of threads, or on how quiet the machine is. */
#ifndef RUNTIME_PROVIDER_SPARSE_LAYER_H
#define RUNTIME_PROVIDER_SPARSE_LAYER_H

#include "kernels/brgemm/brgemm_product.h"
#include "kernels/sparse/sparse_both.h"
#include "kernels/sparse/sparse_conv.h"
#include "kernels/sparse/sparse_lanes.h"
#include "runtime/provider/provider.h"

typedef struct sparse_layer {
    conv_f32_shape shape; /* of a product: a line of pixels */
    int64_t batch, filters;
    bool is_product; /* each pixel by itself */
    bool is_conv;
    brgemm_type type;     /* in which it multiplies: F32 or BF16 */
    sparse_source source; /* the weights; k counts channels, then positions of the kernel */
} sparse_layer;

/* What is found out about the weights once; kept in the plan's cache. */
typedef struct sparse_layer_facts {
    sparse_facts weights;
    int64_t slots;  /* of permuted lanes (sparse_lanes.h); 0: they are no way */
    double density; /* numbers that are not zero / all */
    double dense;   /* cycles of the best dense way */
} sparse_layer_facts;

/* Are there kernels for this machine? The portable ones are there to be tested against. */
bool sparse_layer_possible(void);

/* Reads the node: f32, constant weights, one group, channels-last. False when it is none of
 * these. */
bool sparse_layer_read(const provider_site *site, sparse_layer *l);

/* Counts; entries are those of lists of the layer's type. The weights must be held. */
void sparse_layer_count(const sparse_layer *l, sparse_layer_facts *f);

/* Is `cost` less than `other` by more than foretelling errs? */
bool sparse_layer_gains(double cost, double other);

#endif
