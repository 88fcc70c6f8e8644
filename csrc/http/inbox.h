/* inbox: the completion queue of one owner. The worker's thread delivers attempts that have ended;
   the owner's thread takes them, and is told of them by a descriptor or by waiting. */
#ifndef CRUX_INBOX_H
#define CRUX_INBOX_H

#include "../os/wakeup.h"
#include "transfer.h"

typedef struct crux_inbox crux_inbox;

/* The owner has the one reference. NULL without memory. */
crux_inbox *crux_inbox_new(void);
crux_inbox *crux_inbox_retain(crux_inbox *inbox);
void crux_inbox_release(crux_inbox *inbox);

/* Takes over the caller's reference to the attempt and marks it done. If the inbox is closed, the
   attempt is released. */
void crux_inbox_deliver(crux_inbox *inbox, crux_transfer *t);

/* --- all below is called by the owner's thread only --- */

/* After fork(), makes the child's copy anew: empty, not signalled, and without a descriptor. True
   if that was needed. Must be called before an attempt is submitted. */
bool crux_inbox_renew(crux_inbox *inbox);

/* The next attempt that has ended, with its reference; NULL if there is none. */
crux_transfer *crux_inbox_take(crux_inbox *inbox);
/* Whether there is one. */
bool crux_inbox_has_any(crux_inbox *inbox);

/* Nobody will take the attempt: it is released as soon as it is delivered. */
void crux_inbox_forget(crux_inbox *inbox, crux_transfer *t);

/* Waits at most `seconds` until `t` has ended; with NULL, until there is anything to take. */
bool crux_inbox_wait(crux_inbox *inbox, const crux_transfer *t, double seconds);

/* A descriptor, made at the first call, that is readable while the inbox is signalled. -1 without
   descriptors. */
int crux_inbox_fd(crux_inbox *inbox);
/* Signals the inbox, as a delivery does. */
void crux_inbox_notify(crux_inbox *inbox);
/* Ends the signal, if there is nothing to take. */
void crux_inbox_clear(crux_inbox *inbox);

/* Signals `wakeup` instead of its own descriptor, until called with NULL or closed. */
void crux_inbox_redirect(crux_inbox *inbox, crux_wakeup *wakeup);
/* For a wakeup that reports each signal once and not its duration: the next delivery signals
   again. */
void crux_inbox_rearm(crux_inbox *inbox);
/* Rearms, and takes all that have ended: linked by `inbox.next`, each with its reference. */
crux_transfer *crux_inbox_take_all(crux_inbox *inbox);

/* Releases what has ended; what is delivered later is released at once. */
void crux_inbox_close(crux_inbox *inbox);

#endif
