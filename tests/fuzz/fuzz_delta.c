/* Any bytes as the delta of a small network. The base is made once. */
#include <stddef.h>
#include <stdint.h>

#include "adapt/delta.h"
#include "spry/architecture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As `spry new mlp --image 2x2x1 --units 3 --depth 1 --classes 2` makes it; lives as long as the
 * program. */
static const spry_model *base(void)
{
    static spry_model *made;
    spry_architecture_options o = spry_architecture_options_default();

    o.height = o.width = 2;
    o.channels = 1;
    o.units = 3;
    o.depth = 1;
    o.classes = 2;
    if (made == NULL && spry_architecture_create(NULL, "mlp", &o, &made, NULL) != SPRY_OK) {
        return NULL;
    }
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spry_model *m = NULL;
    spry_adaptation *facts = NULL;
    spry_error error = {0};

    if (base() != NULL && delta_apply(base(), data, size, "input", &m, &facts, &error) == SPRY_OK) {
        spry_adaptation_destroy(facts);
        spry_model_destroy(m);
    }
    return 0;
}
