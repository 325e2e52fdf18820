/* The list of methods. */
#include "quantize/method.h"

#include <stdio.h>
#include <string.h>

static const method *const methods[] = {&method_squant, &method_nearest};

enum { METHODS = sizeof methods / sizeof methods[0] };

const spry_quantize_method *spry_quantize_method_at(int32_t index)
{
    return index >= 0 && index < METHODS ? &methods[index]->facts : NULL;
}

spry_status method_find(const char *name, const method **found, spry_error *error)
{
    char names[256] = "";
    size_t used = 0;

    for (int i = 0; i < METHODS; i++) {
        if (strcmp(methods[i]->facts.name, name) == 0) {
            *found = methods[i];
            return SPRY_OK;
        }
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 methods[i]->facts.name);
    }
    return spry_fail(error, SPRY_USAGE, "method", names, "there is no method \"%s\"", name);
}
