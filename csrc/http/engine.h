/* engine: carries any number of attempts on one thread. A blocking call steps one on the caller's
   thread, the worker steps another on its own. */
#ifndef CRUX_ENGINE_H
#define CRUX_ENGINE_H

#include "../os/wakeup.h"
#include "transfer.h"

typedef struct crux_engine crux_engine;

/* Called for each attempt that ended; the engine's reference goes to whoever it calls. */
typedef void (*crux_engine_done)(crux_transfer *t, void *context);

/* `wakeup` (or NULL) ends a wait when signalled, and is cleared. NULL without memory or
   descriptors. Without a wakeup, the engine is on a thread of the host's, whose SIGPIPE is not
   ours to raise. */
crux_engine *crux_engine_new(crux_engine_done done, void *context, crux_wakeup *wakeup);

/* Drops all attempts without telling anybody. After a fork, or once exit() has begun, what
   belongs to libcurl is leaked. */
void crux_engine_free(crux_engine *engine);

/* False: made before a fork, by the parent. */
bool crux_engine_is_ours(const crux_engine *engine);

/* Takes an attempt, with a reference of its own: at once, or when its client's queue lets it start.
   Once exit() has begun the attempt ends here. */
void crux_engine_submit(crux_engine *engine, crux_transfer *t);

/* Forgets an attempt that has not ended, and the engine's reference. */
void crux_engine_drop(crux_engine *engine, crux_transfer *t);

/* Closes idle connections that the server has closed or that have expired, and whatever else can be
   done without waiting. */
void crux_engine_sweep(crux_engine *engine);

/* exit() has begun: ends all attempts, without libcurl. */
void crux_engine_fail_all(crux_engine *engine);

/* Waits at most `seconds` (negative: for ever) for something to do, and does it. False: the
   wait was interrupted by a signal, or exit() has begun. */
bool crux_engine_step(crux_engine *engine, double seconds);

#endif
