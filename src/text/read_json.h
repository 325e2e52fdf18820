/* What the readers of parts of a tokenizer.json share. */
#ifndef TEXT_READ_JSON_H
#define TEXT_READ_JSON_H

#include "base/json.h"
#include "text/tokenizer.h"

/* Is the member there, and not null? */
bool read_json_present(const json_node *from, const char *key);
/* An optional member, or the fallback. Fail with SPRY_BAD_INPUT (another type). */
SPRY_MUST_USE spry_status read_json_bool(const json_node *from, const char *key, bool fallback,
                                         bool *value, spry_error *error);
SPRY_MUST_USE spry_status read_json_string(const json_node *from, const char *key,
                                           const char *fallback, const char **value,
                                           spry_error *error);

/* A part of a file by its "type". */
typedef struct read_json_kind {
    const char *name;
    spry_status (*read)(spry_tokenizer *t, const json_node *node, spry_error *error);
} read_json_kind;

/* Reads `node` with the entry of `kinds` (ended by a NULL name) that has its type.
 * Fails with SPRY_UNSUPPORTED, naming the type and `what` it is. */
SPRY_MUST_USE spry_status read_json_by_type(spry_tokenizer *t, const json_node *node,
                                            const char *what, const read_json_kind *kinds,
                                            spry_error *error);
/* Reads every item of the array `key`, one after the other, in the same way. */
SPRY_MUST_USE spry_status read_json_sequence(spry_tokenizer *t, const json_node *node,
                                             const char *key, const char *what,
                                             const read_json_kind *kinds, spry_error *error);
/* {"String": S} or {"Regex": S}: which of both, and S. */
SPRY_MUST_USE spry_status read_json_pattern(spry_tokenizer *t, const json_node *node,
                                            bool *is_regex, const char **pattern,
                                            spry_error *error);
/* Code points of a member that is a string. */
SPRY_MUST_USE spry_status read_json_points(spry_tokenizer *t, const char *string,
                                           code_points *points, spry_error *error);
/* A Metaspace's sign, and whether texts get one in front. */
SPRY_MUST_USE spry_status read_json_metaspace(spry_tokenizer *t, const json_node *node,
                                              const char **sign, split_prefix *prefix,
                                              spry_error *error);

#endif
