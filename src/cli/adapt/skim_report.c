/* A line, or a list of numbers. */
#include "cli/adapt/skim_report.h"

#include <inttypes.h>

void skim_report_print(FILE *to, const spry_answer_blocks *blocks)
{
    if (blocks->layer_count == 0) {
        return;
    }
    (void)fprintf(to, "blocks     %" PRId64 " of text, by layer", blocks->layers[0]);
    for (int32_t i = 0; i < blocks->layer_count; i++) {
        double share =
            blocks->layers[0] > 0 ? (double)blocks->layers[i] / (double)blocks->layers[0] : 1.0;

        (void)fprintf(to, "%s %.1f", i > 0 ? "," : "", 100 * share);
    }
    (void)fprintf(to, " %% computed\n");
}

void skim_report_write(json_writer *json, const spry_answer_blocks *blocks)
{
    if (blocks->layer_count == 0) {
        return;
    }
    json_write_array(json, "blocks");
    for (int32_t i = 0; i < blocks->layer_count; i++) {
        json_write_i64(json, NULL, blocks->layers[i]);
    }
    json_write_end(json);
}
