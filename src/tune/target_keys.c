/* Which keys of a description are known, and who has to read them. */
#include "tune/target_keys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 1024 };

/* What lies in one of these objects is read by one reader, whole or not at all. */
const char *const target_sections[] = {
    "about",              /* name, sources: for people */
    "compute",            /* units that work in parallel, and their clock */
    "memory",             /* levels between a unit and the DRAM */
    "memory.dram",        /* bandwidth and capacity */
    "memory.dram.timing", /* cycles between commands */
    "memory.sram",        /* scratch pads: banks, ports */
    "interconnect",       /* networks on a chip */
    "host",               /* the link to the machine around it */
    "energy",             /* per operation, bit, access */
    "latency",            /* of the latency predictor: launch, batch */
    "cpu",                /* of `spry doctor --calibrate` */
    "fusion",             /* of the tuner of fused layers */
    "array",              /* systolic arrays */
    "tensor_core",        /* cores for products with zeros on both sides */
    "coprocessor",        /* units that filter and attend */
    "vector",             /* units for elements and special functions */
    "dma",                /* engines that move data */
    "simulate",           /* everything else of simulators */
    NULL,
};

/* Facts that several readers share: no reader has to ask for them. */
static const char *const common_keys[] = {
    "compute.units",        "compute.clock",        "memory.dram.bandwidth",
    "memory.dram.capacity", "memory.dram.channels", NULL,
};

target_asked *target_find_asked(const target *t, const char *key)
{
    for (size_t i = 0; i < t->asked_count; i++) {
        if (strcmp(t->asked[i].key, key) == 0) {
            return &t->asked[i];
        }
    }
    return NULL;
}

/* Does `key` lie in the section? */
static bool within(const char *key, const char *section)
{
    size_t length = strlen(section);

    return strncmp(key, section, length) == 0 && key[length] == '.';
}

/* The innermost section that a key lies in, or NULL. */
static const char *section_of(const char *key)
{
    const char *best = NULL;

    for (const char *const *s = target_sections; *s != NULL; s++) {
        if (within(key, *s) && (best == NULL || strlen(*s) > strlen(best))) {
            best = *s;
        }
    }
    return best;
}

static bool is_listed(const char *word, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(word, *list) == 0) {
            return true;
        }
    }
    return false;
}

/* Did anybody ask for a key of this section (not of a section inside it)? */
static bool is_read(const target *t, const char *section)
{
    for (size_t i = 0; i < t->asked_count; i++) {
        const char *own = section_of(t->asked[i].key);

        if (own != NULL && strcmp(own, section) == 0 && !is_listed(t->asked[i].key, common_keys)) {
            return true;
        }
    }
    return false;
}

static bool is_accepted(const target *t, const char *key)
{
    const char *section = section_of(key);

    if (target_find_asked(t, key) != NULL || is_listed(key, common_keys)) {
        return true;
    }
    return section != NULL && (strcmp(section, "about") == 0 || !is_read(t, section));
}

/* Checks what lies below `node`, whose way from the root stands in `path`. */
static spry_status check(const target *t, const json_node *node, const char *path,
                         spry_error *error)
{
    bool is_object = json_as_object(node, NULL) == SPRY_OK;
    size_t count = json_length(node);
    json_node member = {0};

    if (count == 0) {
        return is_accepted(t, path) || is_listed(path, target_sections)
                   ? SPRY_OK
                   : target_refuse(t, path, "is not a known key", error);
    }
    for (size_t i = 0; i < count; i++) {
        char below[PATH_SIZE];
        int length;
        spry_status status;

        if (is_object) {
            (void)json_next(node, &member);
            length =
                snprintf(below, sizeof below, "%s%s%s", path, *path != '\0' ? "." : "", member.key);
        } else {
            json_item(node, i, &member);
            length = snprintf(below, sizeof below, "%s.%zu", path, i);
        }
        /* A dot inside a member's name would look like two steps. */
        if (length >= PATH_SIZE || (is_object && strpbrk(member.key, ".=") != NULL)) {
            return target_refuse(t, below, "is not a known key", error);
        }
        status = check(t, &member, below, error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

spry_status target_finish(const target *t, spry_error *error)
{
    json_node root;

    for (size_t i = 0; i < t->set_count; i++) {
        const char *key = t->set[i].key;
        const target_asked *asked = target_find_asked(t, key);

        if (asked == NULL || !asked->found) {
            return spry_fail(error, SPRY_BAD_INPUT, "--set", "see targets/README.md for keys",
                             "%s is nothing that is asked of a target here", key);
        }
    }
    json_root(t->document, &root);
    return json_length(&root) == 0 ? SPRY_OK : check(t, &root, "", error);
}

void target_write_resolved(const target *t, json_writer *json, const char *key)
{
    json_write_object(json, key);
    for (size_t i = 0; i < t->asked_count; i++) {
        const target_asked *a = &t->asked[i];

        if (!a->found) {
            continue;
        }
        if (a->text != NULL) {
            json_write_string(json, a->key, a->text);
        } else if (fabs(a->number) < 9e15 && a->number == floor(a->number)) {
            json_write_i64(json, a->key, (int64_t)a->number);
        } else {
            json_write_f64(json, a->key, a->number);
        }
    }
    json_write_end(json);
}
