/* Reports as a page that opens without a network: what all of them share. */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include "base/text.h"

extern const char page_base_css[]; /* web/page/base.css, embedded by the build */

enum { PAGE_MOST_BYTES = 256 << 20 };

/* The page up to and with <body>, with a policy by which nothing is fetched, whatever a name in a
 * model says. The title is "SUBJECT, WHAT"; `css` follows web/page/base.css. */
void page_begin(text *to, const char *subject, const char *what, const char *css);
/* Ends the page with a line about this machine (`threads` as asked for) and writes it as a whole.
 * Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status page_write(text *page, int threads, const char *path, spry_error *error);

/* Text from elsewhere. */
void page_escaped(text *to, const char *string);
/* A large number between two small lines; all three are markup. */
void page_tile(text *to, const char *title, const char *number, const char *detail);

/* <td> that carries its number for programs; the caller writes what is shown and </td>. */
void page_cell(text *to, const char *key, double value);
/* The same with what is shown. */
void page_number(text *to, const char *key, double value, const char *shown);
void page_decimal(text *to, const char *key, double value, int digits);

#endif
