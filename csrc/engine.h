/* engine: carries any number of attempts on one thread, over one curl multi. A blocking call steps one on the caller's
   thread, the worker steps another on its own. */
#ifndef CRUX_ENGINE_H
#define CRUX_ENGINE_H

#include "transfer.h"

typedef struct crux_engine crux_engine;

/* Called from crux_engine_step for each attempt that ended; the engine's reference goes to whoever it calls. */
typedef void (*crux_engine_done)(crux_transfer *t, void *context);

/* `wake_fd` (or -1): ends a wait when readable; reading it is the caller's. NULL without memory or descriptors. */
crux_engine *crux_engine_new(crux_engine_done done, void *context, int wake_fd);

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
