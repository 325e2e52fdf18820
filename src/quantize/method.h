/* Methods: how weights become codes. One file each, one line in method.c. */
#ifndef QUANTIZE_METHOD_H
#define QUANTIZE_METHOD_H

#include "quantize/squant.h"
#include "spry/quantize.h"

/* One weight tensor on its way. */
typedef struct method_call {
    squant_tensor weights; /* codes, steps and zero points are to be filled */
    grid_options grid;
    squant_stages stages;
    const spry_allocator *allocator;
    threads *team;
    squant_report *report;
} method_call;

typedef struct method {
    spry_quantize_method facts;
    /* Fails with SPRY_LIMIT (memory). */
    spry_status (*round)(const method_call *call, spry_error *error);
} method;

extern const method method_nearest;
extern const method method_squant;

/* The method of that name. Fails with SPRY_USAGE, naming all. */
SPRY_MUST_USE spry_status method_find(const char *name, const method **found, spry_error *error);

#endif
