/* inbox: where the attempts of one owner end up, and how the owner learns of it. The owner's thread takes, the worker's
   delivers. */
#ifndef CRUX_INBOX_H
#define CRUX_INBOX_H

#include "transfer.h"

typedef struct crux_inbox crux_inbox;

/* With one reference, the owner's. NULL without memory. */
crux_inbox *crux_inbox_new(void);
crux_inbox *crux_inbox_retain(crux_inbox *inbox);
void crux_inbox_release(crux_inbox *inbox);

/* Takes over the attempt's reference, and marks it done. On a closed one it is let go. */
void crux_inbox_deliver(crux_inbox *inbox, crux_transfer *t);

/* From here on, the owner's alone. After a fork the child's copy starts empty. */

/* The next attempt that has ended, with its reference; NULL if there is none. */
crux_transfer *crux_inbox_take(crux_inbox *inbox);

/* Waits at most `seconds` until `t` has ended, or with NULL until there is anything to take. */
bool crux_inbox_wait(crux_inbox *inbox, const crux_transfer *t, double seconds);

/* Readable while something can be taken or the owner has rung; made when first asked for. -1 without descriptors. */
int crux_inbox_fd(crux_inbox *inbox);
void crux_inbox_ring(crux_inbox *inbox);
/* Ends the ringing, if there is nothing to take. */
void crux_inbox_quiet(crux_inbox *inbox);

void crux_inbox_close(crux_inbox *inbox);

#endif
