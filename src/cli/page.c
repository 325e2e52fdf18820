/* What the pages of reports share. */
#include "cli/page.h"

#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "cli/output.h"
#include "inspect/page.h"

void page_escaped(text *to, const char *string)
{
    text_append_escaped(to, TEXT_MARKUP, string, strlen(string));
}

void page_begin(text *to, const char *subject, const char *what, const char *css)
{
    const page_head head = {.title = subject, .detail = what, .styles = {page_base_css, css}};

    page_open(to, &head);
}

spry_status page_write(text *page, int threads, const char *path, spry_error *error)
{
    char machine[256];
    spry_status status;

    output_describe_machine(machine, sizeof machine, threads);
    text_append_string(page, "<footer>");
    page_escaped(page, machine);
    text_append_string(page, "</footer>\n</body>\n</html>\n");
    status = text_status(page, "page", error);
    return status == SPRY_OK ? file_replace(path, page->data, page->length, error) : status;
}

void page_tile(text *to, const char *title, const char *number, const char *detail)
{
    text_append_string(to, "<div class=\"tile\"><span class=\"dim\">");
    text_append_string(to, title);
    text_append_string(to, "</span><b>");
    text_append_string(to, number);
    text_append_string(to, "</b><span class=\"dim\">");
    text_append_string(to, detail);
    text_append_string(to, "</span></div>\n");
}

void page_cell(text *to, const char *key, double value)
{
    text_append_format(to, "<td class=\"n\" data-key=\"%s\" data-value=\"", key);
    text_append_f64(to, value);
    text_append_string(to, "\">");
}

void page_number(text *to, const char *key, double value, const char *shown)
{
    page_cell(to, key, value);
    text_append_string(to, shown);
    text_append_string(to, "</td>");
}

void page_decimal(text *to, const char *key, double value, int digits)
{
    char shown[64];

    (void)snprintf(shown, sizeof shown, "%.*f", digits, value);
    page_number(to, key, value, shown);
}
