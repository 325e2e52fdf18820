/* Every operator family's table, one line per file, in alphabetical order. */
#ifndef OPS_FAMILIES_H
#define OPS_FAMILIES_H

#include "ops/op.h"

#endif
