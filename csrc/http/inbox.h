/* inbox: where the attempts of one owner end up, and how the owner learns of it. The owner's
   thread takes, the worker's delivers. */
#ifndef CRUX_INBOX_H
#define CRUX_INBOX_H

#include "../os/wakeup.h"
#include "transfer.h"

typedef struct crux_inbox crux_inbox;

/* With one reference, the owner's. NULL without memory. */
crux_inbox *crux_inbox_new(void);
crux_inbox *crux_inbox_retain(crux_inbox *inbox);
void crux_inbox_release(crux_inbox *inbox);

/* Takes over the attempt's reference, and marks it done. On a closed one it is let go. */
void crux_inbox_deliver(crux_inbox *inbox, crux_transfer *t);

/* From here on, the owner's alone. */

/* After a fork, makes the child's copy anew: empty, quiet and with a descriptor of its own.
   True if that was needed; it is to be asked before an attempt is submitted. */
bool crux_inbox_renew(crux_inbox *inbox);

/* The next attempt that has ended, with its reference; NULL if there is none. */
crux_transfer *crux_inbox_take(crux_inbox *inbox);
/* Whether there is one. */
bool crux_inbox_has_any(crux_inbox *inbox);

/* Nobody will ask for the attempt any more: it is let go of as soon as it is there, and never
   taken. */
void crux_inbox_forget(crux_inbox *inbox, crux_transfer *t);

/* Waits at most `seconds` until `t` has ended, or with NULL until there is anything to take. */
bool crux_inbox_wait(crux_inbox *inbox, const crux_transfer *t, double seconds);

/* Readable while something can be taken or the owner has rung; made when first asked for. -1
   without descriptors. */
int crux_inbox_fd(crux_inbox *inbox);
void crux_inbox_notify(crux_inbox *inbox);
/* Ends the ringing, if there is nothing to take. */
void crux_inbox_clear(crux_inbox *inbox);

/* Rings that one instead of its own, until told NULL or closed. */
void crux_inbox_redirect(crux_inbox *inbox, crux_wakeup *wakeup);
/* For a wake that tells each ring once, not as long as it lasts: what arrives from now on rings
   again. */
void crux_inbox_rearm(crux_inbox *inbox);
/* The same, and all that have ended, linked by `inbox.next`, each with its reference. */
crux_transfer *crux_inbox_take_all(crux_inbox *inbox);

void crux_inbox_close(crux_inbox *inbox);

#endif
