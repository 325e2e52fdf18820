/* The beginning of a page. */
#include "inspect/page.h"

#include <string.h>

void page_open(text *to, const page_head *head)
{
    text_append_string(to, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
                           "'none'; style-src 'unsafe-inline'");
    text_append_string(to, head->has_script ? "; script-src 'unsafe-inline'; img-src data:" : "");
    text_append_string(to, "\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta "
                           "name=\"color-scheme\" content=\"light dark\">\n<title>");
    text_append_escaped(to, TEXT_MARKUP, head->title, strlen(head->title));
    if (head->detail != NULL) {
        text_append_string(to, ", ");
        text_append_string(to, head->detail);
    }
    text_append_string(to, "</title>\n<style>\n");
    for (int i = 0; i < PAGE_STYLES_MOST && head->styles[i] != NULL; i++) {
        text_append_string(to, head->styles[i]);
    }
    text_append_string(to, "</style>\n</head>\n<body>\n");
}
