/* worker: one thread per process that carries the calls which must not block their host, for every Lua state in it. */
#ifndef CRUX_WORKER_H
#define CRUX_WORKER_H

#include "inbox.h"

/* Somebody will submit, or will no more. The thread starts with the first attempt and ends with the last somebody;
   nobody waits for it. */
void crux_worker_join(void);
void crux_worker_part(void);

/* Hands the attempt over, with a reference of the worker's own; it ends in the inbox. False without memory, threads or
   descriptors. */
bool crux_worker_submit(crux_transfer *t, crux_inbox *inbox);

/* Gives the attempt up: nothing more of it is delivered, or it has been already. True: it was never sent and never will
   be. */
bool crux_worker_abort(crux_transfer *t);

#endif
