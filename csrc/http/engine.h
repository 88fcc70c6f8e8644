/* engine: carries any number of attempts on one thread. A blocking call runs an engine on the
   caller's thread, the worker runs another one on its own thread. */
#ifndef CRUX_ENGINE_H
#define CRUX_ENGINE_H

#include "../os/wakeup.h"
#include "transfer.h"

typedef struct crux_engine crux_engine;

/* Called for each attempt that has ended. The function gets the engine's reference. */
typedef void (*crux_engine_done)(crux_transfer *t, void *context);

/* A signal to `wakeup` ends a wait of crux_engine_step, which clears it. `wakeup` is NULL for an
   engine on a thread of the host; there the engine blocks SIGPIPE if need be. Returns NULL without
   memory or descriptors. */
crux_engine *crux_engine_new(crux_engine_done done, void *context, crux_wakeup *wakeup);

/* Drops all attempts without calling `done`. After a fork, or once exit() has begun, the curl
   handles are leaked. */
void crux_engine_free(crux_engine *engine);

/* False: it was made before a fork, and belongs to the parent. */
bool crux_engine_is_ours(const crux_engine *engine);

/* Takes over an attempt and a reference to it. It starts at once if its client's queue permits.
   Once exit() has begun it ends here. */
void crux_engine_submit(crux_engine *engine, crux_transfer *t);

/* Drops an attempt that has not ended, and the engine's reference. `done` is not called. */
void crux_engine_drop(crux_engine *engine, crux_transfer *t);

/* Does what can be done without waiting. In particular it closes idle connections that have expired
   or that the server has closed. */
void crux_engine_sweep(crux_engine *engine);

/* Ends all attempts without calling libcurl, once exit() has begun. */
void crux_engine_fail_all(crux_engine *engine);

/* Waits at most `seconds` (negative: for ever) for something to do, and does it. False: a signal
   interrupted the wait, or exit() has begun. */
bool crux_engine_step(crux_engine *engine, double seconds);

#endif
