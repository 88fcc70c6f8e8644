/* worker: one thread per process. It carries the attempts of non-blocking calls, for every Lua
   state of the process. */
#ifndef CRUX_WORKER_H
#define CRUX_WORKER_H

#include "inbox.h"

/* Counts the worker's users. The thread starts with the first attempt, and stops when the last user
   has released it. Releasing does not wait for that. */
void crux_worker_acquire(void);
void crux_worker_release(void);

/* Submits an attempt, of which the worker takes a reference of its own. When it has ended it is
   delivered to the inbox. False without memory, threads or descriptors. */
bool crux_worker_submit(crux_transfer *t, crux_inbox *inbox);

/* Drops attempts, which are linked by `worker.next_aborted`, each with a reference. They are not
   delivered any more, but may have been already. Call crux_transfer_abort for all of them before:
   else, when the first is dropped, the next may be started in its place. */
void crux_worker_abort(crux_transfer *first);

#endif
