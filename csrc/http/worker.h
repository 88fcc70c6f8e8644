/* worker: one thread per process that carries the calls which must not block their host, for
   every Lua state in it. */
#ifndef CRUX_WORKER_H
#define CRUX_WORKER_H

#include "inbox.h"

/* Somebody will submit, or will no more. The thread starts with the first attempt and ends with
   the last somebody; nobody waits for it. */
void crux_worker_acquire(void);
void crux_worker_release(void);

/* Hands the attempt over, with a reference of the worker's own; it ends in the inbox. False
   without memory, threads or descriptors. */
bool crux_worker_submit(crux_transfer *t, crux_inbox *inbox);

/* Gives attempts up: linked by `worker.next_aborted`, each with a reference, and aborted by
   crux_transfer_abort beforehand, so that while the first ones go the last ones are not sent in
   their place. Nothing more of them is delivered, or it has been already. */
void crux_worker_abort(crux_transfer *first);

#endif
