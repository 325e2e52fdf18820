/* The list of methods. */
#include "adapt/method.h"

#include <string.h>

static const adapt_method *const methods[] = {
    &adapt_method_lora, &adapt_method_adapter, &adapt_method_bias,   &adapt_method_prompt,
    &adapt_method_head, &adapt_method_full,    &adapt_method_lasnet, &adapt_method_block_skim};

enum { METHODS = sizeof methods / sizeof methods[0] };

const spry_adapt_method *spry_adapt_method_at(int32_t index)
{
    return index >= 0 && index < METHODS ? &methods[index]->facts : NULL;
}

const adapt_method *adapt_method_find(const char *name)
{
    for (int i = 0; i < METHODS; i++) {
        if (name != NULL && strcmp(methods[i]->facts.name, name) == 0) {
            return methods[i];
        }
    }
    return NULL;
}
