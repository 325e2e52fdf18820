/* Runs code with memory running out at every possible place. */
#ifndef SUPPORT_FAULT_H
#define SUPPORT_FAULT_H

#include "spry/allocator.h"
#include "spry/status.h"

/* Code under test: does its work with memory from `allocator`, destroys everything it made whether
 * it failed or not, and returns the first status that was not SPRY_OK. */
typedef spry_status (*fault_code)(const spry_allocator *allocator, void *context,
                                  spry_error *error);

/* Calls `code` again and again while the 1st, 2nd, 3rd, ... allocation fails, until one run needs
 * fewer. Asserts (cmocka) that each run with a failure gives SPRY_LIMIT with a description, or
 * SPRY_OK where the code can do without the memory; that the last run gives SPRY_OK; and that every
 * run releases all it took. Returns how many allocations a whole run makes. */
int fault_sweep(fault_code code, void *context);

#endif
