/* Every operator family's table, one line per file, in alphabetical order. */
#ifndef OPS_FAMILIES_H
#define OPS_FAMILIES_H

#include "ops/op.h"

extern const op ops_arithmetic[];
extern const op ops_attention[];
extern const op ops_cast[];
extern const op ops_compare[];
extern const op ops_conv[];
extern const op ops_conv_integer[];
extern const op ops_conv_transpose[];
extern const op ops_deform_conv[];
extern const op ops_fill[];
extern const op ops_layer_norm[];
extern const op ops_layout[];
extern const op ops_matmul[];
extern const op ops_norm[];
extern const op ops_pool[];
extern const op ops_power[];
extern const op ops_quantize[];
extern const op ops_reduce[];
extern const op ops_rnn[];
extern const op ops_select[];
extern const op ops_shape[];
extern const op ops_space[];
extern const op ops_unary[];
extern const op ops_window[];

#endif
