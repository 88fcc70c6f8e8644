/* perform: see perform.h. */
#include "perform.h"

#include "../http/engine.h"
#include "../os/poller.h"
#include "../os/process.h"
#include "error.h"
#include "result.h"

#include <errno.h>
#include <poll.h>

/* --- the engine of this Lua state --- */

typedef struct {
  crux_engine *engine; /* NULL before the first call */
} engine_handle;

static int engine_gc(lua_State *L) {
  engine_handle *handle = crux_check(L, 1, CRUX_CLASS_ENGINE);
  crux_engine_free(handle->engine);
  handle->engine = NULL;
  return 0;
}

static void on_done(crux_transfer *t, void *context) {
  (void)context;
  atomic_store(&t->done, true);
  crux_transfer_release(t);
}

/* In a forked child a new engine replaces the parent's. NULL without memory or descriptors. */
static crux_engine *engine_of(lua_State *L) {
  engine_handle *handle = crux_object_in(L, CRUX_SLOT_ENGINE);
  if (handle->engine && !crux_engine_is_ours(handle->engine)) {
    crux_engine_free(handle->engine);
    handle->engine = NULL;
  }
  if (!handle->engine) handle->engine = crux_engine_new(on_done, NULL, NULL);
  return handle->engine;
}

void crux_sweep(lua_State *L) {
  const engine_handle *handle = crux_object_in(L, CRUX_SLOT_ENGINE);
  if (handle && handle->engine && crux_engine_is_ours(handle->engine))
    crux_engine_sweep(handle->engine);
}

/* --- one attempt --- */

void crux_drop_attempt(crux_request_handle *handle) {
  crux_transfer *t = handle->blocking.attempt;
  handle->blocking.attempt = NULL;
  if (!t) return;
  if (!atomic_load(&t->done) && handle->generation == crux_process_generation())
    crux_engine_drop(handle->blocking.engine, t);
  crux_transfer_release(t);
}

/* Ends an attempt that the engine will not end: it must not be used any more. */
static void give_up(crux_request_handle *handle, crux_cause cause) {
  crux_transfer_fail(handle->blocking.attempt, cause);
  atomic_store(&handle->blocking.attempt->done, true);
}

int crux_run_hooks(lua_State *L) {
  crux_pushslot(L, CRUX_SLOT_NOOP); /* hooks run in Lua functions only */
  return lua_pcall(L, 0, 0, 0);
}

/* Runs the engine until the attempt has ended. Not 0: a hook raised the error on top. */
static int run_engine(lua_State *L, crux_request_handle *handle) {
  double last_hooks = handle->blocking.attempt->started;
  int status;
  while (!atomic_load(&handle->blocking.attempt->done)) {
    bool moved = crux_engine_step(handle->blocking.engine, CRUX_TICK);
    /* by the clock too: a response that arrives in small pieces never lets a step time out */
    if (moved && crux_now() - last_hooks < CRUX_TICK) continue;
    last_hooks = crux_now();
    status = crux_run_hooks(L);
    if (status != 0) return status;
    /* a hook has forked, and the connection is the parent's; or another thread called exit() */
    if (handle->generation != crux_process_generation()) give_up(handle, CRUX_CAUSE_FORKED);
    else if (crux_process_is_exiting()) give_up(handle, CRUX_CAUSE_EXITING);
  }
  return 0;
}

int crux_perform(lua_State *L, crux_request_handle *handle, const char *token, double deadline) {
  const crux_settings *s = &handle->request->config->settings;
  int count;
  if (handle->blocking.attempt && !atomic_load(&handle->blocking.attempt->done))
    return luaL_error(L, "the request is under way");
  crux_drop_attempt(handle);
  if (handle->generation != crux_process_generation())
    return crux_fail(L, CRUX_KIND_ABORTED, CRUX_INHERITED);
  if (!crux_choose_token(handle, &token)) return crux_fail(L, CRUX_KIND_AUTH, CRUX_NO_TOKEN);
  handle->blocking.engine = engine_of(L);
  if (handle->blocking.engine)
    handle->blocking.attempt =
        crux_transfer_new(handle->request, token, handle->headers, deadline, s->connect_timeout);
  if (!handle->blocking.attempt)
    return crux_fail(L, CRUX_KIND_MEMORY, "out of memory or descriptors");
  crux_engine_submit(handle->blocking.engine, crux_transfer_retain(handle->blocking.attempt));
  if (run_engine(L, handle) != 0) {
    crux_drop_attempt(handle);
    return lua_error(L);
  }
  count = crux_push_reply(L, handle->endpoint, handle->blocking.attempt);
  crux_drop_attempt(handle);
  return count;
}

/* --- handles of calls that Lua code never sees --- */

crux_request_handle *crux_take_reusable_request(lua_State *L) {
  crux_request_handle *handle = crux_object_in(L, CRUX_SLOT_REUSABLE);
  /* while the lua_State is being closed, a finalizer of the user's may run after the handle's */
  if (!handle || handle->finalized) return crux_push_request(L);
  crux_pushslot(L, CRUX_SLOT_REUSABLE);
  lua_pushnil(L);
  lua_rawseti(L, lua_upvalueindex(1), CRUX_SLOT_REUSABLE);
  handle->generation = crux_process_generation();
  return handle;
}

void crux_put_reusable_request(lua_State *L, crux_request_handle *handle, int index) {
  crux_release_request(handle);
  lua_pushvalue(L, index);
  lua_rawseti(L, lua_upvalueindex(1), CRUX_SLOT_REUSABLE);
}

int crux_sleep(lua_State *L) {
  double until = crux_now() + luaL_checknumber(L, 1), left;
  while ((left = until - crux_now()) > 0) {
    poll(NULL, 0, crux_milliseconds(left < CRUX_TICK ? left : CRUX_TICK));
    if (crux_run_hooks(L) != 0) return lua_error(L);
  }
  return 0;
}

void crux_perform_setup(lua_State *L) {
  int state = lua_gettop(L);
  crux_new_class(L, CRUX_CLASS_ENGINE, engine_gc, NULL);
  crux_new_object_at(L, state, sizeof(engine_handle), CRUX_CLASS_ENGINE);
  lua_rawseti(L, state, CRUX_SLOT_ENGINE);
  if (luaL_loadstring(L, "return") != 0) lua_error(L);
  lua_rawseti(L, state, CRUX_SLOT_NOOP);
}
