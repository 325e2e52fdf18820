/* What HTML pages begin with, and the styles and scripts that the build embeds. */
#ifndef INSPECT_PAGE_H
#define INSPECT_PAGE_H

#include <stdbool.h>

#include "base/text.h"

extern const char page_css[];    /* web/inspect/page.css */
extern const char page_js[];     /* web/inspect/page.js: zoom, search and details of #graph */
extern const char drawing_css[]; /* web/inspect/drawing.css: what drawing_append_svg draws */

enum { PAGE_STYLES_MOST = 3 };

typedef struct page_head {
    const char *title, *detail; /* "TITLE, DETAIL"; detail may be NULL */
    const char *styles[PAGE_STYLES_MOST];
    bool has_script; /* scripts and pictures within the page may show */
} page_head;

/* The page up to and with <body>, with a policy by which nothing is fetched, whatever a name in a
 * model says. */
void page_open(text *to, const page_head *head);

#endif
