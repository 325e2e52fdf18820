/* Whole outputs: a filter of zeros leaves its bias, in every pixel. */
#include "sparsify/method.h"

static sparsify_unit unit(const sparsify_view *v)
{
    return (sparsify_unit){1, v->channels, v->taps, 0};
}

const sparsify_method sparsify_method_filter = {
    .facts = {"filter", "whole outputs, with all that they read"}, .unit = unit};
