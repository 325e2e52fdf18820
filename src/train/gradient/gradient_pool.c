/* Pooling: operators of the library's own spread the derivative over the windows. */
#include "train/gradient/gradient_step.h"

/* The operator reads the node's attributes; without a window it means the whole image. */
static void give_pool(gradient_step *s)
{
    const char *const *type = s->detail;
    int32_t share;

    (void)emit_own(&s->e, *type, 2, (const int32_t[]){s->node.inputs[0], s->dy[0]}, 1, &share);
    emit_set_like(&s->e, share, &s->node);
    gradient_give(s, 0, share);
}

static const char *const average_pool = "AveragePoolGradient";
static const char *const max_pool = "MaxPoolGradient";

const gradient_rule gradient_pool_rules[] = {
    {.name = "AveragePool", .domain = "", .run = give_pool, .detail = &average_pool},
    {.name = "GlobalAveragePool", .domain = "", .run = give_pool, .detail = &average_pool},
    {.name = "GlobalMaxPool", .domain = "", .run = give_pool, .detail = &max_pool},
    {.name = "MaxPool", .domain = "", .run = give_pool, .detail = &max_pool},
    {.name = NULL},
};
