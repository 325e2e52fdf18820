/* Telling which share of its blocks each layer of a model that skips them computed. */
#ifndef CLI_ADAPT_SKIM_REPORT_H
#define CLI_ADAPT_SKIM_REPORT_H

#include <stdio.h>

#include "base/json.h"
#include "spry/answer.h"

/* Nothing for a model that computes all. */
void skim_report_print(FILE *to, const spry_answer_blocks *blocks);
void skim_report_write(json_writer *json, const spry_answer_blocks *blocks);

#endif
