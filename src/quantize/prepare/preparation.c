/* The list of preparations. */
#include "quantize/prepare/preparation.h"

#include <string.h>

#include "quantize/choice.h"

static const preparation *const preparations[] = {&preparation_equalise, &preparation_repq,
                                                  &preparation_smooth};

enum { PREPARATIONS = sizeof preparations / sizeof preparations[0], MOST_NAME = 64 };

const spry_quantize_choice *spry_quantize_preparation_at(int32_t index)
{
    return index >= 0 && index < PREPARATIONS ? &preparations[index]->facts : NULL;
}

/* The next name of the list; false at its end. */
static bool next_name(const char **list, char name[MOST_NAME])
{
    const char *from = *list;
    size_t length;

    if (from == NULL || *from == '\0') {
        return false;
    }
    length = strcspn(from, ",");
    *list = from[length] == ',' ? from + length + 1 : from + length;
    length = length < MOST_NAME - 1 ? length : MOST_NAME - 1;
    memcpy(name, from, length);
    name[length] = '\0';
    return true;
}

spry_status preparation_check(const spry_quantize_options *options, spry_error *error)
{
    const char *list = options->prepare;
    char name[MOST_NAME];

    while (next_name(&list, name)) {
        int32_t index;
        spry_status status =
            choice_find("preparation", name, spry_quantize_preparation_at, &index, error);

        if (status == SPRY_OK && preparations[index]->needs_data && options->calibration == NULL) {
            status =
                spry_fail(error, SPRY_USAGE, "prepare", "for example --calibrate cifar10:train.bin",
                          "the preparation %s looks at samples; none are given", name);
        }
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

spry_status prepare(quantize_job *job, spry_error *error)
{
    const char *list = job->options->prepare;
    char name[MOST_NAME];
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && next_name(&list, name)) {
        int32_t index = 0;

        status = choice_find("preparation", name, spry_quantize_preparation_at, &index, error);
        if (status == SPRY_OK) {
            status = preparations[index]->run(job, error);
        }
    }
    return status;
}
