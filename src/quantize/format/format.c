/* The list of formats. */
#include "quantize/format/format.h"

#include "quantize/choice.h"

static const format *const formats[] = {&format_qdq, &format_qoperator, &format_matmulnbits};

enum { FORMATS = sizeof formats / sizeof formats[0] };

const spry_quantize_choice *spry_quantize_format_at(int32_t index)
{
    return index >= 0 && index < FORMATS ? &formats[index]->facts : NULL;
}

spry_status format_find(const char *name, const format **found, spry_error *error)
{
    int32_t index = 0;
    spry_status status = choice_find("format", name, spry_quantize_format_at, &index, error);

    *found = status == SPRY_OK ? formats[index] : NULL;
    return status;
}
