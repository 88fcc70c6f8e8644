/* blocking: one attempt on the caller's thread. */
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
  crux_engine *engine;
} engine_box;

static int engine_gc(lua_State *L) {
  engine_box *box = crux_check(L, 1, CRUX_CLASS_ENGINE);
  crux_engine_free(box->engine);
  box->engine = NULL;
  return 0;
}

static void on_done(crux_transfer *t, void *context) {
  (void)context;
  atomic_store(&t->done, true);
  crux_transfer_release(t);
}

static crux_engine *engine_of(lua_State *L) {
  engine_box *box;
  crux_pushslot(L, CRUX_SLOT_ENGINE);
  box = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (box->engine && !crux_engine_is_ours(box->engine)) {
    crux_engine_free(box->engine);
    box->engine = NULL;
  }
  if (!box->engine) box->engine = crux_engine_new(on_done, NULL, NULL);
  return box->engine;
}

void crux_sweep(lua_State *L) {
  engine_box *box;
  crux_pushslot(L, CRUX_SLOT_ENGINE);
  box = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (box && box->engine && crux_engine_is_ours(box->engine)) crux_engine_sweep(box->engine);
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

/* The engine is not to be touched any more, and will not end the attempt. */
static void give_up(crux_request_handle *handle, crux_cause cause) {
  crux_transfer_fail(handle->blocking.attempt, cause);
  atomic_store(&handle->blocking.attempt->done, true);
}

/* Lets what was set from a signal handler run, an interpreter's Ctrl-C above all: hooks run in
   Lua functions only. */
int crux_run_hooks(lua_State *L) {
  crux_pushslot(L, CRUX_SLOT_NOTHING);
  return lua_pcall(L, 0, 0, 0);
}

int crux_perform(lua_State *L, crux_request_handle *handle, const char *token, double deadline) {
  const crux_settings *s = &handle->request->config->settings;
  double heeded;
  int count;
  if (handle->blocking.attempt && !atomic_load(&handle->blocking.attempt->done))
    return luaL_error(L, "the request is under way");
  crux_drop_attempt(handle);
  if (handle->generation != crux_process_generation())
    return crux_fail(L, CRUX_KIND_ABORTED, CRUX_INHERITED);
  if (!crux_choose_token(handle, &token)) return crux_fail(L, CRUX_KIND_AUTH, CRUX_NO_TOKEN);
  handle->blocking.engine = engine_of(L);
  if (handle->blocking.engine)
    handle->blocking.attempt = crux_transfer_new(handle->request, token, deadline, s->connect_timeout);
  if (!handle->blocking.attempt)
    return crux_fail(L, CRUX_KIND_MEMORY, "out of memory or descriptors");
  crux_engine_submit(handle->blocking.engine, crux_transfer_retain(handle->blocking.attempt));
  heeded = handle->blocking.attempt->started;
  while (!atomic_load(&handle->blocking.attempt->done)) {
    bool moved = crux_engine_step(handle->blocking.engine, CRUX_TICK);
    /* also when an answer that drips never lets a wait last, or a signal came just before one */
    if (moved && crux_now() - heeded < CRUX_TICK) continue;
    heeded = crux_now();
    if (crux_run_hooks(L) != 0) {
      crux_drop_attempt(handle);
      return lua_error(L);
    }
    /* a hook forked, and the connection is the parent's; or another thread has called exit() */
    if (handle->generation != crux_process_generation()) give_up(handle, CRUX_CAUSE_FORKED);
    else if (crux_process_is_exiting()) give_up(handle, CRUX_CAUSE_EXITING);
  }
  count = crux_push_reply(L, handle->blocking.attempt);
  crux_drop_attempt(handle);
  return count;
}

/* --- handles of calls that Lua never gets to see --- */

/* Alone it would cost more than all the rest of a request, for its finalizer. */
crux_request_handle *crux_take_spare(lua_State *L) {
  crux_request_handle *handle;
  crux_pushslot(L, CRUX_SLOT_SPARE);
  handle = lua_touserdata(L, -1);
  /* when the state closes, a finalizer of the user's may come after the spare one's */
  if (!handle || handle->finalized) {
    lua_pop(L, 1);
    return crux_push_request(L);
  }
  lua_pushnil(L);
  lua_rawseti(L, lua_upvalueindex(1), CRUX_SLOT_SPARE);
  handle->generation = crux_process_generation();
  return handle;
}

void crux_put_spare(lua_State *L, crux_request_handle *handle, int index) {
  crux_release_request(handle);
  lua_pushvalue(L, index);
  lua_rawseti(L, lua_upvalueindex(1), CRUX_SLOT_SPARE);
}

/* core.sleep(seconds): as interruptible as a call. */
int crux_sleep(lua_State *L) {
  double until = crux_now() + luaL_checknumber(L, 1), left;
  while ((left = until - crux_now()) > 0) {
    poll(NULL, 0, crux_milliseconds(left < CRUX_TICK ? left : CRUX_TICK));
    if (crux_run_hooks(L) != 0) return lua_error(L);
  }
  return 0;
}

void crux_blocking_open(lua_State *L) {
  static const luaL_Reg none[] = { { NULL, NULL } };
  engine_box *box;
  int state = lua_gettop(L);
  crux_new_class(L, CRUX_CLASS_ENGINE, engine_gc, none);
  box = lua_newuserdata(L, sizeof *box);
  box->engine = NULL;
  lua_rawgeti(L, state, CRUX_CLASS_ENGINE);
  lua_setmetatable(L, -2);
  lua_rawseti(L, state, CRUX_SLOT_ENGINE);
  if (luaL_loadstring(L, "return") != 0) lua_error(L);
  lua_rawseti(L, state, CRUX_SLOT_NOTHING);
}
