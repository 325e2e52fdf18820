/* The parts of the page that spry quantize --html writes. */
#ifndef CLI_QUANTIZE_PAGE_H
#define CLI_QUANTIZE_PAGE_H

#include "base/text.h"
#include "cli/quantize/report.h"

extern const char quantize_page_css[]; /* web/quantize/page.css, embedded by the build */

/* A drawing of the weights of a block: how many lie where, and the codes that stand for them. */
void quantize_page_plot(text *to, const spry_quantize_block *block);

#endif
