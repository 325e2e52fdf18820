/* The table of methods. */
#include "sparsify/method.h"

#include <stdio.h>
#include <string.h>

static const sparsify_method *const methods[] = {
    &sparsify_method_lanes, &sparsify_method_magnitude, &sparsify_method_panel,
    &sparsify_method_block, &sparsify_method_filter,    &sparsify_method_nm,
};

enum { METHODS = sizeof methods / sizeof methods[0] };

const spry_sparsify_method *spry_sparsify_method_at(int32_t index)
{
    return index >= 0 && index < METHODS ? &methods[index]->facts : NULL;
}

spry_status sparsify_method_find(const char *name, const sparsify_method **found, spry_error *error)
{
    char names[128] = "";
    size_t used = 0;

    for (int i = 0; i < METHODS; i++) {
        if (name != NULL && strcmp(methods[i]->facts.name, name) == 0) {
            *found = methods[i];
            return SPRY_OK;
        }
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 methods[i]->facts.name);
    }
    return spry_fail(error, SPRY_USAGE, "method", names, "there is no method '%s'",
                     name != NULL ? name : "");
}
