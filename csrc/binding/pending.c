/* pending: attempts that do not block. An inbox belongs to one loop of the Lua layer; a request
   that is registered there ends its attempt of the moment when it is collected. */
#include "pending.h"

#include "../http/nginx.h"
#include "../http/worker.h"
#include "../os/process.h"
#include "../os/wakeup_socket.h"
#include "error.h"
#include "perform.h"
#include "request.h"
#include "result.h"

#include <stdint.h>
#include <string.h>

typedef struct crux_inbox_box {
  crux_inbox *inbox;
  crux_request_handle *first; /* all that are registered and were not collected */
  unsigned in_flight;         /* of these, the calls that are not done */
  bool orphaned;              /* by a fork, and nobody was told yet */
  crux_subscriber subscriber;
  crux_wakeup_socket socket;
} inbox_box;

/* Raises if it is closed. After a fork, the child has to be told that nothing will come of what
   its parent submitted. */
static crux_inbox *open_inbox(lua_State *L, inbox_box *box) {
  if (!box->inbox) luaL_error(L, "the client is closed");
  if (crux_inbox_renew(box->inbox)) {
    box->orphaned = true;
    crux_inbox_notify(box->inbox);
  }
  return box->inbox;
}

static inbox_box *check_inbox(lua_State *L) {
  inbox_box *box = crux_check(L, 1, CRUX_CLASS_INBOX);
  open_inbox(L, box);
  return box;
}

static int user_gc(lua_State *L) {
  bool *joined = crux_check(L, 1, CRUX_CLASS_USER);
  if (*joined) crux_worker_release();
  *joined = false;
  return 0;
}

/* The worker lasts as long as a Lua state that has ever had an inbox: connections are kept from
   client to client. */
static void join(lua_State *L) {
  bool *joined;
  crux_pushslot(L, CRUX_SLOT_WORKER);
  if (lua_isnil(L, -1)) {
    joined = lua_newuserdata(L, sizeof *joined);
    *joined = false;
    crux_set_class(L, CRUX_CLASS_USER);
    lua_rawseti(L, lua_upvalueindex(1), CRUX_SLOT_WORKER);
    crux_worker_acquire();
    *joined = true;
  }
  lua_pop(L, 1);
}

/* core.inbox() → inbox */
int crux_inbox_open(lua_State *L) {
  inbox_box *box;
  join(L);
  box = lua_newuserdata(L, sizeof *box);
  memset(box, 0, sizeof *box);
  crux_wakeup_socket_init(&box->socket);
  crux_set_class(L, CRUX_CLASS_INBOX);
  box->inbox = crux_inbox_new();
  if (!box->inbox) return luaL_error(L, "not enough memory");
  return 1;
}

/* Drops an attempt that has ended from the inbox, so that who only polls or waits does not fill
   it. */
static void forget(crux_request_handle *h, crux_transfer *t) {
  inbox_box *box = h->pending.inbox;
  if (box && box->inbox && h->generation == crux_process_generation()) crux_inbox_forget(box->inbox, t);
}

/* Ends the hold on an attempt that is under way; the reference goes to `aborted`, or is left to the
   parent, memory and all. */
static crux_transfer *release_hold(crux_request_handle *h, crux_transfer *aborted) {
  crux_transfer *t = h->pending.attempt;
  h->pending.attempt = NULL;
  h->pending.aborted_bytes = t->wire_len;
  t->waiter = NULL;
  if (h->generation != crux_process_generation()) {
    h->pending.unsent = false;
    return aborted;
  }
  h->pending.unsent = crux_transfer_abort(t);
  t->worker.next_aborted = aborted;
  return t;
}

/* inbox:close(): aborts what is under way, all of it before any other attempt is sent instead. */
static int inbox_close(lua_State *L) {
  inbox_box *box = crux_check(L, 1, CRUX_CLASS_INBOX);
  crux_transfer *aborted = NULL;
  crux_request_handle *h;
  if (!box->inbox) return 0;
  crux_nginx_unsubscribe(&box->subscriber);
  for (h = box->first; h; h = h->pending.next) {
    if (h->pending.attempt && !atomic_load(&h->pending.attempt->done)) aborted = release_hold(h, aborted);
  }
  if (aborted) crux_worker_abort(aborted);
  crux_inbox_close(box->inbox);
  crux_wakeup_socket_close(&box->socket);
  crux_inbox_release(box->inbox);
  box->inbox = NULL;
  return 0;
}

static int inbox_gc(lua_State *L) {
  inbox_box *box = crux_check(L, 1, CRUX_CLASS_INBOX);
  inbox_close(L);
  for (; box->first; box->first = box->first->pending.next) box->first->pending.inbox = NULL;
  return 0;
}

/* inbox:take() → the number of an attempt that has ended, or nil; false once after a fork:
   those of the parent are lost */
static int inbox_take(lua_State *L) {
  inbox_box *box = check_inbox(L);
  crux_transfer *t;
  if (box->orphaned) {
    box->orphaned = false;
    lua_pushboolean(L, 0);
    return 1;
  }
  t = crux_inbox_take(box->inbox);
  if (!t) return 0;
  lua_pushnumber(L, t->inbox.number);
  crux_transfer_release(t);
  return 1;
}

static int inbox_fd(lua_State *L) {
  int fd = crux_inbox_fd(check_inbox(L)->inbox);
  if (fd < 0) return luaL_error(L, "no file descriptor left");
  lua_pushinteger(L, fd);
  return 1;
}

/* A closed one has nobody to ring for. */
static int inbox_ring(lua_State *L) {
  inbox_box *box = crux_check(L, 1, CRUX_CLASS_INBOX);
  if (box->inbox) crux_inbox_notify(open_inbox(L, box));
  return 0;
}

static int inbox_quiet(lua_State *L) {
  crux_inbox_clear(check_inbox(L)->inbox);
  return 0;
}

/* inbox:attend(subsystem) → whether nginx's event loop will hear of what has ended; there is
   then nothing to take */
static int inbox_attend(lua_State *L) {
  inbox_box *box = check_inbox(L);
  lua_pushboolean(L, crux_nginx_subscribe(&box->subscriber, box->inbox, luaL_checkstring(L, 2)));
  return 1;
}

/* inbox:heard(): a ring was received, and what arrives from now on rings again. */
static int inbox_heard(lua_State *L) {
  crux_inbox_rearm(check_inbox(L)->inbox);
  return 0;
}

/* inbox:listen() → a path to connect to, or nil. Once that was tried, inbox:accept() → whether
   what rings the inbox now sends 8 bytes there, until inbox:hang_up(). */
static int inbox_listen(lua_State *L) {
  inbox_box *box = check_inbox(L);
  if (!crux_wakeup_socket_open(&box->socket)) return 0;
  lua_pushstring(L, box->socket.path);
  return 1;
}

static int inbox_accept(lua_State *L) {
  inbox_box *box = check_inbox(L);
  bool met = crux_wakeup_socket_accept(&box->socket);
  if (met) crux_inbox_redirect(box->inbox, &box->socket.wakeup);
  lua_pushboolean(L, met);
  return 1;
}

static int inbox_hang_up(lua_State *L) {
  inbox_box *box = check_inbox(L);
  crux_inbox_redirect(box->inbox, NULL);
  crux_wakeup_socket_close(&box->socket);
  return 0;
}

static int inbox_in_flight(lua_State *L) {
  lua_pushinteger(L, ((inbox_box *)crux_check(L, 1, CRUX_CLASS_INBOX))->in_flight);
  return 1;
}

/* inbox:register(request): the call is in flight from now on, here. */
static int inbox_register(lua_State *L) {
  inbox_box *box = check_inbox(L);
  crux_request_handle *h = crux_check_handle(L, 2);
  if (h->pending.inbox || h->finalized) return 0;
  h->pending.inbox = box;
  h->pending.next = box->first;
  if (h->pending.next) h->pending.next->pending.previous = h;
  box->first = h;
  h->pending.counted = true;
  box->in_flight++;
  return 0;
}

/* True if the attempt will never complete here: its parent submitted it before a fork, or its
   inbox was collected, though a finalizer of the user's may still reach it. */
static bool is_lost(const crux_request_handle *h) {
  return !h->pending.inbox || (h->pending.attempt && h->generation != crux_process_generation());
}

/* In slices of CRUX_TICK, with hooks in between, so that Ctrl-C works. A hook may close the
   inbox or abort the call: hence the check. */
static int wait_for(lua_State *L, const inbox_box *box, const crux_request_handle *h, double seconds) {
  double until = crux_now() + seconds, left;
  bool ended = crux_inbox_wait(box->inbox, h ? h->pending.attempt : NULL, 0);
  while (!ended && (left = until - crux_now()) > 0) {
    ended = crux_inbox_wait(box->inbox, h ? h->pending.attempt : NULL, left < CRUX_TICK ? left : CRUX_TICK);
    if (crux_run_hooks(L) != 0) return lua_error(L);
    if (!box->inbox || (h && (!h->pending.attempt || is_lost(h)))) ended = true;
  }
  lua_pushboolean(L, ended);
  return 1;
}

/* inbox:wait(seconds) → whether there is something to take */
static int inbox_wait(lua_State *L) { return wait_for(L, check_inbox(L), NULL, luaL_checknumber(L, 2)); }

/* --- requests --- */

static crux_request_handle *check_handle(lua_State *L) { return crux_check_handle(L, 1); }

/* With a new attempt in the handle: whether it is on its way. */
static bool submit(crux_request_handle *h, const char *token, double deadline, double number, void *waiter) {
  crux_request *request = h->request;
  crux_transfer *t = crux_transfer_new(request, token, deadline, request->config->settings.connect_timeout);
  if (!t) return false;
  t->inbox.number = number;
  t->waiter = waiter;
  if (crux_worker_submit(t, h->pending.inbox->inbox)) {
    h->pending.attempt = t;
    return true;
  }
  crux_transfer_release(t);
  return false;
}

static int refuse(lua_State *L, crux_kind kind, const char *message) {
  lua_pushboolean(L, 0);
  lua_pushstring(L, message);
  crux_push_failure(L, kind, NULL);
  return 2;
}

/* request:start(token or nil, deadline, number[, semaphore, its address]) → true; false and an
   error; or nothing, if the call is over or its client closed: by a hook or finalizer just
   before this. The semaphore, a table, lives until the request has been collected, and is not
   posted from then on. */
static int request_start(lua_State *L) {
  crux_request_handle *h = check_handle(L);
  double deadline = luaL_checknumber(L, 3), number = luaL_checknumber(L, 4);
  void *waiter = NULL;
  const char *token;
  lua_settop(L, 6);
  if (lua_istable(L, 5)) {
    waiter = (void *)(uintptr_t)luaL_checknumber(L, 6);
    crux_keep(L, 1, 5);
  }
  /* from here to the submission nothing is allocated in Lua, so that no finalizer can abort the
     call */
  if (!h->request || !h->pending.inbox || !h->pending.inbox->inbox) return 0;
  open_inbox(L, h->pending.inbox);
  token = luaL_optstring(L, 2, NULL);
  if (h->generation != crux_process_generation()) return refuse(L, CRUX_KIND_ABORTED, CRUX_INHERITED);
  if (!crux_choose_token(h, &token)) return refuse(L, CRUX_KIND_AUTH, CRUX_NO_TOKEN);
  if (!submit(h, token, deadline, number, waiter))
    return refuse(L, CRUX_KIND_MEMORY, "out of memory, threads or descriptors");
  lua_pushboolean(L, 1);
  return 1;
}

/* request:done() → whether the attempt has ended */
static int request_done(lua_State *L) {
  const crux_request_handle *h = check_handle(L);
  const crux_transfer *t = h->pending.attempt;
  lua_pushboolean(L, (t && atomic_load_explicit(&t->done, memory_order_acquire)) || is_lost(h));
  return 1;
}

static int request_wait(lua_State *L) {
  const crux_request_handle *h = check_handle(L);
  if (!h->pending.attempt || is_lost(h) || !h->pending.inbox->inbox) return request_done(L);
  return wait_for(L, h->pending.inbox, h, luaL_checknumber(L, 2));
}

/* request:answer() → what came of an attempt that has ended: result | nil, err; or nothing if
   it is lost */
static int request_answer(lua_State *L) {
  crux_request_handle *h = check_handle(L);
  crux_transfer *t = h->pending.attempt;
  int count;
  if (!t || !atomic_load(&t->done)) return 0;
  t->waiter = NULL;
  forget(h, t);
  /* out of reach of finalizers, which may abort this very call meanwhile: that is all they are
     told of it */
  h->pending.attempt = NULL;
  h->pending.answering = t;
  h->pending.unsent = t->reply.sends == 0;
  h->pending.aborted_bytes = t->reply.bytes_sent;
  count = crux_push_reply(L, t);
  h->pending.aborted_bytes = 0;
  h->pending.answering = NULL;
  crux_transfer_release(t);
  return count;
}

static void abort_attempt(crux_request_handle *h) {
  crux_transfer *aborted = h->pending.attempt ? release_hold(h, NULL) : NULL;
  if (!aborted) return;
  forget(h, aborted);
  crux_worker_abort(aborted);
}

/* request:abort() → true if the attempt was not sent and never will be, else false; how many
   bytes may have been; whether it changes nothing */
static int request_abort(lua_State *L) {
  crux_request_handle *h = check_handle(L);
  bool unsent = !h->pending.attempt && !h->pending.aborted_bytes;
  abort_attempt(h);
  unsent = unsent || h->pending.unsent;
  lua_pushboolean(L, unsent);
  lua_pushinteger(L, unsent ? 0 : (lua_Integer)h->pending.aborted_bytes);
  lua_pushboolean(L, h->safe);
  h->pending.aborted_bytes = 0;
  return 3;
}

/* request:finish() → true: the call is done; or false: it was before */
static int request_finish(lua_State *L) {
  crux_request_handle *h = check_handle(L);
  lua_pushboolean(L, h->pending.counted);
  if (h->pending.counted && h->pending.inbox) h->pending.inbox->in_flight--;
  h->pending.counted = false;
  return 1;
}

static void unregister(crux_request_handle *h) {
  inbox_box *box = h->pending.inbox;
  if (!box) return;
  if (h->pending.counted) box->in_flight--;
  if (h->pending.previous) h->pending.previous->pending.next = h->pending.next;
  else box->first = h->pending.next;
  if (h->pending.next) h->pending.next->pending.previous = h->pending.previous;
  h->pending.inbox = NULL;
}

static int request_gc(lua_State *L) {
  crux_request_handle *h = check_handle(L);
  h->finalized = true;
  abort_attempt(h);
  crux_transfer_release(h->pending.answering);
  h->pending.answering = NULL;
  unregister(h);
  crux_drop_attempt(h);
  crux_release_request(h);
  return 0;
}

void crux_pending_open(lua_State *L) {
  static const luaL_Reg none[] = { { NULL, NULL } };
  static const luaL_Reg inbox_methods[] = {
    { "take", inbox_take },
    { "fd", inbox_fd },
    { "ring", inbox_ring },
    { "quiet", inbox_quiet },
    { "in_flight", inbox_in_flight },
    { "wait", inbox_wait },
    { "register", inbox_register },
    { "close", inbox_close },
    { "attend", inbox_attend },
    { "listen", inbox_listen },
    { "accept", inbox_accept },
    { "hang_up", inbox_hang_up },
    { "heard", inbox_heard },
    { NULL, NULL },
  };
  static const luaL_Reg request_methods[] = {
    { "start", request_start },
    { "done", request_done },
    { "wait", request_wait },
    { "answer", request_answer },
    { "abort", request_abort },
    { "finish", request_finish },
    { NULL, NULL },
  };
  int state = lua_gettop(L);
  crux_new_class(L, CRUX_CLASS_USER, user_gc, none);
  crux_new_class(L, CRUX_CLASS_INBOX, inbox_gc, inbox_methods);
  crux_new_class(L, CRUX_CLASS_REQUEST, request_gc, crux_request_methods);
  lua_rawgeti(L, state, CRUX_CLASS_REQUEST);
  lua_getfield(L, -1, "__index");
  lua_pushvalue(L, state);
  crux_setfuncs(L, request_methods, 1);
  lua_pop(L, 2);
}
