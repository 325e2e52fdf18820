/* A network's layers on the device, with the operands of a real run. */
#ifndef SIMULATE_DUAL_SIDE_NETWORK_H
#define SIMULATE_DUAL_SIDE_NETWORK_H

#include "simulate/dual_side/device.h"
#include "simulate/operands.h"

/* Runs one layer; `executes`: products are computed and merged, and *difference says how far the
 * result is from the model's own, at most, over its largest element (NaN where the model's has a
 * factor or a bias that is not one per filter); else instructions are counted alone and *difference
 * is not set. Adds to the rows and columns as they come: the left operand on the side of eight
 * unless the other way round takes fewer instructions. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status dual_side_layer(const dual_side_machine *m, const simulate_layer *l,
                                          const simulate_operand *operands, bool executes,
                                          threads *team, dual_side_cost *cost, double *difference,
                                          spry_error *error);

#endif
