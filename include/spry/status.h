/* Status codes and error details shared by every Spry function that can fail.
 *
 * A fallible function returns a `spry_status` and takes a `spry_error *` (which may be NULL) that
 * it fills with where the failure lies, what happened, and what the caller can do about it. The
 * caller owns the `spry_error`; it holds no heap memory and needs no clean-up. */
#ifndef SPRY_STATUS_H
#define SPRY_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(SPRY_BUILDING_SHARED) || defined(__GNUC__)
#define SPRY_API __attribute__((visibility("default")))
#else
#define SPRY_API
#endif

#if defined(__GNUC__)
#define SPRY_MUST_USE __attribute__((warn_unused_result))
#define SPRY_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define SPRY_MUST_USE
#define SPRY_PRINTF(format_index, first)
#endif

/* The numbers are also the exit codes of the `spry` program and never change. */
typedef enum spry_status {
    SPRY_OK = 0,        /* done */
    SPRY_NEGATIVE = 1,  /* done, and the answer is "no" (a comparison failed, a goal was missed) */
    SPRY_USAGE = 2,     /* the caller's arguments make no sense */
    SPRY_BAD_INPUT = 3, /* a file or message is malformed */
    SPRY_UNSUPPORTED = 4, /* well-formed, but Spry cannot do it */
    SPRY_LIMIT = 5,       /* a named limit was reached, or memory ran out */
    SPRY_IO = 6,          /* the operating system or the network refused */
    SPRY_UNVERIFIED = 7,  /* a proof, hash or signature does not hold */
    SPRY_INTERNAL = 8,    /* a defect in Spry */
    SPRY_CANCELLED = 9    /* the caller's progress callback asked to stop */
} spry_status;

enum { SPRY_ERROR_WHERE_SIZE = 512, SPRY_ERROR_WHAT_SIZE = 1024, SPRY_ERROR_REMEDY_SIZE = 384 };

/* Details of the last failure. Strings are NUL-terminated UTF-8, truncated when too long. */
typedef struct spry_error {
    spry_status code;
    char where[SPRY_ERROR_WHERE_SIZE];   /* file, node or option, with byte offset where known */
    char what[SPRY_ERROR_WHAT_SIZE];     /* one sentence: what is wrong */
    char remedy[SPRY_ERROR_REMEDY_SIZE]; /* one sentence: the next step; "" when there is none */
} spry_error;

/* Short English name of a status ("bad input"); "unknown status" outside the enum. */
SPRY_API const char *spry_status_name(spry_status status);

/* Fills `error` (when not NULL) and returns `code`, so that a failure is one statement:
 *     return spry_fail(error, SPRY_BAD_INPUT, path, "export it again", "dimension %d is < 0", i);
 * `where` and `remedy` may be NULL. */
SPRY_API spry_status spry_fail(spry_error *error, spry_status code, const char *where,
                               const char *remedy, const char *format, ...) SPRY_PRINTF(5, 6);

#ifdef __cplusplus
}
#endif

#endif
