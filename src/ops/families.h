/* Every operator family's table, one line per file, in alphabetical order. */
#ifndef OPS_FAMILIES_H
#define OPS_FAMILIES_H

#include "ops/op.h"

extern const op ops_arithmetic[];
extern const op ops_attention[];
extern const op ops_attention_fused[];
extern const op ops_cast[];
extern const op ops_compare[];
extern const op ops_control[];
extern const op ops_conv[];
extern const op ops_conv_integer[];
extern const op ops_conv_transpose[];
extern const op ops_cumulative[];
extern const op ops_deform_conv[];
extern const op ops_einsum[];
extern const op ops_fill[];
extern const op ops_gather[];
extern const op ops_gradient[];
extern const op ops_gradient_conv[];
extern const op ops_gradient_function[];
extern const op ops_gradient_norm[];
extern const op ops_gradient_pool[];
extern const op ops_gradient_squares[];
extern const op ops_gumbel[];
extern const op ops_layer_norm[];
extern const op ops_layout[];
extern const op ops_loss[];
extern const op ops_matmul[];
extern const op ops_nbits[];
extern const op ops_norm[];
extern const op ops_optimizer[];
extern const op ops_pool[];
extern const op ops_power[];
extern const op ops_qlinear[];
extern const op ops_quantize[];
extern const op ops_random[];
extern const op ops_reduce[];
extern const op ops_region[];
extern const op ops_resize[];
extern const op ops_rnn[];
extern const op ops_rnn_gradient[];
extern const op ops_sample[];
extern const op ops_scatter[];
extern const op ops_select[];
extern const op ops_sequence[];
extern const op ops_shape[];
extern const op ops_signal[];
extern const op ops_skim[];
extern const op ops_softmax[];
extern const op ops_space[];
extern const op ops_text[];
extern const op ops_top_k[];
extern const op ops_head_policy[];
extern const op ops_key_filter[];
extern const op ops_twin[];
extern const op ops_unary[];
extern const op ops_unique[];
extern const op ops_window[];

#endif
