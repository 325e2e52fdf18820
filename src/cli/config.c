/* Options from a file. */
#include "cli/config.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/text.h"

typedef struct reader {
    cli_call *call;
    const cli_call *line; /* the call as the command line alone makes it */
    arena *memory;
    spry_error *error;
} reader;

static const cli_option *find_option(const cli_command *command, const char *name)
{
    for (int i = 0; cli_option_at(command, i) != NULL; i++) {
        if (strcmp(cli_option_at(command, i)->name, name) == 0) {
            return cli_option_at(command, i);
        }
    }
    return NULL;
}

/* The value as it would be written on the command line. */
static spry_status word_of(const reader *r, const json_node *value, const cli_option *option,
                           const char **word)
{
    text written;
    double number = 0;
    const char *string = NULL;
    spry_status status = SPRY_OK;

    text_init(&written, NULL, 64);
    if (option->kind == CLI_INTEGER || option->kind == CLI_NUMBER) {
        status = json_as_f64(value, option->lowest, option->highest, &number, r->error);
        text_append_f64(&written, number);
        string = written.data;
    } else {
        status = json_as_string(value, &string, r->error);
    }
    if (status == SPRY_OK) {
        *word = arena_text(r->memory, string, strlen(string));
        status = *word != NULL ? SPRY_OK : alloc_failed(r->error, strlen(string));
    }
    text_fini(&written);
    return status;
}

static spry_status add_one(const reader *r, const json_node *value, const cli_option *option)
{
    const char *word = "";
    bool is_on = true;
    spry_status status;

    if (option->kind == CLI_FLAG) {
        status = json_as_bool(value, &is_on, r->error);
    } else {
        status = word_of(r, value, option, &word);
    }
    return status == SPRY_OK && is_on ? cli_add(r->call, option->name, word, r->error) : status;
}

static spry_status add_member(const reader *r, const json_node *member)
{
    const cli_option *option = find_option(r->call->command, member->key);
    spry_status status = SPRY_OK;

    if (option == NULL || strcmp(option->name, "config") == 0) {
        return json_refuse(member, "is no option of this command", r->error);
    }
    if (cli_given(r->line, option->name)) {
        return SPRY_OK;
    }
    if (!option->repeats) {
        return add_one(r, member, option);
    }
    status = json_as_array(member, r->error);
    for (size_t i = 0; status == SPRY_OK && i < json_length(member); i++) {
        json_node item;

        json_item(member, i, &item);
        status = add_one(r, &item, option);
    }
    return status;
}

spry_status config_read(const char *path, cli_call *call, arena *memory, spry_error *error)
{
    const cli_call line = *call;
    const reader r = {call, &line, memory, error};
    json_document *document = NULL;
    json_node root;
    json_node member = {0};
    spry_status status = json_open_file(path, &document, error);

    if (status != SPRY_OK) {
        return status;
    }
    json_root(document, &root);
    status = json_as_object(&root, error);
    while (status == SPRY_OK && json_next(&root, &member)) {
        status = add_member(&r, &member);
    }
    json_close(document);
    return status;
}
