/* Names and what they stand for. */
#include "quantize/choice.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

spry_status choice_find(const char *what, const char *name,
                        const spry_quantize_choice *(*at)(int32_t index), int32_t *found,
                        spry_error *error)
{
    char names[256] = "";
    size_t used = 0;
    const spry_quantize_choice *choice;

    for (*found = 0; (choice = at(*found)) != NULL; (*found)++) {
        if (strcmp(choice->name, name) == 0) {
            return SPRY_OK;
        }
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", *found > 0 ? ", " : "",
                                 choice->name);
    }
    return spry_fail(error, SPRY_USAGE, what, names, "there is no %s \"%s\"", what, name);
}
