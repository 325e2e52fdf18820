/* The page that spry report --html writes, and its parts. */
#ifndef CLI_REPORT_PAGE_H
#define CLI_REPORT_PAGE_H

#include "base/text.h"
#include "inspect/report/report.h"

/* One side of a report. */
typedef struct report_side {
    const char *label; /* "resnet50.onnx, 2 threads" */
    report *r;
} report_side;

typedef struct report_page {
    const char *title; /* the model's file */
    report_side first;
    report_side second;       /* .r NULL: nothing is compared */
    const report_pair *pairs; /* of layers, where there are two sides */
    int32_t pair_count;
} report_page;

/* Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status report_page_save(const report_page *p, const char *path,
                                           spry_error *error);

/* ---- parts ---- */

/* Class of a layer's family of operators: "f-conv". */
const char *report_page_family(const report_layer *l, char *buffer, size_t size);
/* A word with the colour of what bounds a layer. */
void report_page_bound(text *to, report_bound bound);
/* The layer's operator and name, and what was fused into it. */
void report_page_layer_name(text *to, const report_layer *l);

void report_page_timeline(text *to, const report *r);
void report_page_roofline(text *to, report *r);
void report_page_memory(text *to, report *r);
void report_page_layers(text *to, const report *r);
void report_page_machine(text *to, const report *r);
void report_page_against(text *to, const report_page *p);
/* With the script that it needs. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status report_page_graph(text *to, report *r, spry_error *error);

#endif
