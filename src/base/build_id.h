/* Which build of Spry this is: what one build computed may be used by another only where it says so
 * itself. */
#ifndef BASE_BUILD_ID_H
#define BASE_BUILD_ID_H

#include <stdint.h>

/* A hash of the identifier that the linker gave the program or shared library that this code is
 * part of; 0 where it gave none. */
uint64_t build_id(void);

#endif
