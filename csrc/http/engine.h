/* engine: carries any number of attempts on one thread, over one curl multi. A blocking call steps one on the caller's
   thread, the worker steps another on its own. */
#ifndef CRUX_ENGINE_H
#define CRUX_ENGINE_H

#include "transfer.h"
#include "../os/wakeup.h"

typedef struct crux_engine crux_engine;

/* Called from crux_engine_step for each attempt that ended; the engine's reference goes to whoever it calls. */
typedef void (*crux_engine_done)(crux_transfer *t, void *context);

/* `wake` (or NULL) ends a wait when rung, and is cleared. NULL without memory or descriptors. Without a wake, the engine
   is on a thread of the host's, whose SIGPIPE is not ours to raise. */
crux_engine *crux_engine_new(crux_engine_done done, void *context, crux_wakeup *wake);

/* Gives everything up without a word to anybody. Under another generation, or while the process ends, what belongs to
   curl is left where it is. */
void crux_engine_free(crux_engine *engine);

/* False: made before a fork, by the parent. */
bool crux_engine_is_ours(const crux_engine *engine);

/* Takes an attempt, with a reference of its own, at once or when its client's line lets it through. */
void crux_engine_submit(crux_engine *engine, crux_transfer *t);

/* Forgets an attempt that has not ended, and the engine's reference. */
void crux_engine_drop(crux_engine *engine, crux_transfer *t);

/* Waits at most `seconds` (negative: for ever) for something to do, and does it. False: the wait was interrupted by a
   signal. */
bool crux_engine_step(crux_engine *engine, double seconds);

#endif
