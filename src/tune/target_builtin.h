/* The descriptions of machines that are part of the library: one for each targets/NAME.json, put
 * into C by the build (cmake/Embed.cmake). */
#ifndef TUNE_TARGET_BUILTIN_H
#define TUNE_TARGET_BUILTIN_H

/* In alphabetical order, ended by NULL. */
extern const char *const target_builtin_names[];
/* NUL-terminated JSON, in the same order. */
extern const char *const target_builtin_texts[];

#endif
