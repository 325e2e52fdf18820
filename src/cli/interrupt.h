/* ^C and a request to end, for commands that must not leave half a result behind. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT and SIGTERM are only noted, once: a second one ends the program. */
void interrupt_begin(void);
/* Was one noted? */
bool interrupt_seen(void);
/* What was noted has been done: the command ends well. */
void interrupt_accept(void);
/* Back to normal. A signal that was noted takes effect now. */
void interrupt_end(void);

#endif
