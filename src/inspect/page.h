/* Style and script of the HTML page: web/inspect/page.css and page.js, embedded by the build. */
#ifndef INSPECT_PAGE_H
#define INSPECT_PAGE_H

extern const char page_css[];
extern const char page_js[];

#endif
