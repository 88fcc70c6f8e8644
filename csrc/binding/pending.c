/* pending: attempts that do not block. Each scheduler of the Lua layer has an inbox; a request is
   registered with the inbox of its scheduler, and ends its attempt when it is collected. */
#include "pending.h"

#include "../http/nginx.h"
#include "../http/worker.h"
#include "../os/process.h"
#include "../os/wakeup_socket.h"
#include "error.h"
#include "perform.h"
#include "result.h"

#include <stdint.h>

typedef struct crux_inbox_handle {
  crux_inbox *inbox;          /* NULL once it is closed */
  crux_request_handle *first; /* the registered requests that were not collected */
  unsigned in_flight;         /* of these, the calls that are not done */
  bool inherited;             /* after fork(): `take` must tell so */
  crux_subscriber subscriber;
  crux_wakeup_socket socket;
} inbox_handle;

/* --- inboxes --- */

/* Makes the inbox of a forked child anew. What the parent submitted never completes here, and
   `take` must tell the scheduler so. */
static void renew(inbox_handle *handle) {
  if (!crux_inbox_renew(handle->inbox)) return;
  handle->inherited = true;
  crux_inbox_notify(handle->inbox);
}

/* Raises if the inbox is closed. */
static inbox_handle *check_inbox(lua_State *L) {
  inbox_handle *handle = crux_check(L, 1, CRUX_CLASS_INBOX);
  if (!handle->inbox) luaL_error(L, "the client is closed");
  renew(handle);
  return handle;
}

typedef struct {
  bool acquired;
} worker_handle;

static int worker_gc(lua_State *L) {
  worker_handle *worker = crux_check(L, 1, CRUX_CLASS_WORKER);
  if (worker->acquired) crux_worker_release();
  worker->acquired = false;
  return 0;
}

/* The worker lasts as long as a Lua state that has ever had an inbox, so that the connections of
   one client serve the next. */
static void acquire_worker(lua_State *L) {
  worker_handle *worker;
  if (crux_object_in(L, CRUX_SLOT_WORKER)) return;
  worker = crux_new_object(L, sizeof *worker, CRUX_CLASS_WORKER);
  lua_rawseti(L, lua_upvalueindex(1), CRUX_SLOT_WORKER);
  crux_worker_acquire();
  worker->acquired = true;
}

int crux_new_inbox(lua_State *L) {
  inbox_handle *handle;
  acquire_worker(L);
  handle = crux_new_object(L, sizeof *handle, CRUX_CLASS_INBOX);
  crux_wakeup_socket_init(&handle->socket);
  handle->inbox = crux_inbox_new();
  if (!handle->inbox) return luaL_error(L, "not enough memory");
  return 1;
}

/* Removes an attempt from the inbox, so that callers who only poll or wait do not fill it. */
static void forget(crux_request_handle *h, crux_transfer *t) {
  inbox_handle *inbox = h->pending.inbox;
  if (inbox && inbox->inbox && h->generation == crux_process_generation())
    crux_inbox_forget(inbox->inbox, t);
}

/* Takes the attempt from the request and aborts it. Returns the list `aborted` with the attempt in
   front. In a forked child the attempt is the parent's: it is leaked. */
static crux_transfer *take_and_abort(crux_request_handle *h, crux_transfer *aborted) {
  crux_transfer *t = h->pending.attempt;
  h->pending.attempt = NULL;
  h->pending.aborted_bytes = t->wire_len;
  t->waiter = NULL;
  if (h->generation != crux_process_generation()) {
    h->pending.unsent = false;
    return aborted;
  }
  if (!t->inbox.owner) atomic_store(&t->done, true); /* the worker has never had it */
  h->pending.unsent = crux_transfer_abort(t);
  t->worker.next_aborted = aborted;
  return t;
}

/* inbox:close(): aborts all attempts under way, before any queued attempt can start instead */
static int inbox_close(lua_State *L) {
  inbox_handle *handle = crux_check(L, 1, CRUX_CLASS_INBOX);
  crux_transfer *aborted = NULL;
  crux_request_handle *h;
  if (!handle->inbox) return 0;
  crux_nginx_unsubscribe(&handle->subscriber);
  for (h = handle->first; h; h = h->pending.next) {
    if (h->pending.attempt && !atomic_load(&h->pending.attempt->done))
      aborted = take_and_abort(h, aborted);
  }
  if (aborted) crux_worker_abort(aborted);
  crux_inbox_close(handle->inbox);
  crux_wakeup_socket_close(&handle->socket);
  crux_inbox_release(handle->inbox);
  handle->inbox = NULL;
  return 0;
}

static int inbox_gc(lua_State *L) {
  inbox_handle *handle = crux_check(L, 1, CRUX_CLASS_INBOX);
  inbox_close(L);
  for (; handle->first; handle->first = handle->first->pending.next)
    handle->first->pending.inbox = NULL;
  return 0;
}

/* inbox:take() → the number of an attempt that has ended, and whether there are more; nil: none
   has; false: this is a forked child, and what the parent submitted is lost (told once) */
static int inbox_take(lua_State *L) {
  inbox_handle *handle = check_inbox(L);
  crux_transfer *t;
  if (handle->inherited) {
    handle->inherited = false;
    lua_pushboolean(L, 0);
    return 1;
  }
  t = crux_inbox_take(handle->inbox);
  if (!t) return 0;
  lua_pushnumber(L, t->inbox.number);
  lua_pushboolean(L, crux_inbox_has_any(handle->inbox));
  crux_transfer_release(t);
  return 2;
}

/* inbox:fd() → a descriptor that is readable while there is something to take, or since `notify` */
static int inbox_fd(lua_State *L) {
  int fd = crux_inbox_fd(check_inbox(L)->inbox);
  if (fd < 0) return luaL_error(L, "no file descriptor left");
  lua_pushinteger(L, fd);
  return 1;
}

/* inbox:notify(): makes the descriptor readable; does nothing after `close` */
static int inbox_notify(lua_State *L) {
  inbox_handle *handle = crux_check(L, 1, CRUX_CLASS_INBOX);
  if (!handle->inbox) return 0;
  renew(handle);
  crux_inbox_notify(handle->inbox);
  return 0;
}

/* inbox:clear(): ends `notify`, if there is nothing to take */
static int inbox_clear(lua_State *L) {
  crux_inbox_clear(check_inbox(L)->inbox);
  return 0;
}

/* inbox:rearm(): for a reader that sees each notification once, and not how long it lasts: the next
   attempt that ends notifies again */
static int inbox_rearm(lua_State *L) {
  crux_inbox_rearm(check_inbox(L)->inbox);
  return 0;
}

/* inbox:subscribe(subsystem) → whether nginx's event loop posts the semaphores of attempts that
   have ended; if so there is never anything to take */
static int inbox_subscribe(lua_State *L) {
  inbox_handle *handle = check_inbox(L);
  lua_pushboolean(L, crux_nginx_subscribe(&handle->subscriber, handle->inbox,
                                          luaL_checkstring(L, 2)));
  return 1;
}

/* inbox:open_socket() → the path of a unix socket to connect to, or nil */
static int inbox_open_socket(lua_State *L) {
  inbox_handle *handle = check_inbox(L);
  if (!crux_wakeup_socket_open(&handle->socket)) return 0;
  lua_pushstring(L, handle->socket.path);
  return 1;
}

/* inbox:accept_socket(), after connecting to the path → whether that worked: then each
   notification is 8 bytes on that connection, until inbox:close_socket() */
static int inbox_accept_socket(lua_State *L) {
  inbox_handle *handle = check_inbox(L);
  bool connected = crux_wakeup_socket_accept(&handle->socket);
  if (connected) crux_inbox_redirect(handle->inbox, &handle->socket.wakeup);
  lua_pushboolean(L, connected);
  return 1;
}

static int inbox_close_socket(lua_State *L) {
  inbox_handle *handle = check_inbox(L);
  crux_inbox_redirect(handle->inbox, NULL);
  crux_wakeup_socket_close(&handle->socket);
  return 0;
}

static int inbox_in_flight(lua_State *L) {
  const inbox_handle *handle = crux_check(L, 1, CRUX_CLASS_INBOX);
  lua_pushinteger(L, handle->in_flight);
  return 1;
}

/* inbox:register(request): the call counts as in flight from now on */
static int inbox_register(lua_State *L) {
  inbox_handle *handle = check_inbox(L);
  crux_request_handle *h = crux_check_handle(L, 2);
  if (h->pending.inbox || h->finalized) return 0;
  h->pending.inbox = handle;
  h->pending.next = handle->first;
  if (h->pending.next) h->pending.next->pending.previous = h;
  handle->first = h;
  h->pending.counted = true;
  handle->in_flight++;
  return 0;
}

/* True if the attempt will never complete here: the parent process submitted it before fork(), or
   the inbox was collected and a finalizer of the user's still uses the request. */
static bool is_lost(const crux_request_handle *h) {
  return !h->pending.inbox || (h->pending.attempt && h->generation != crux_process_generation());
}

/* Waits in slices of CRUX_TICK and runs debug hooks in between, so that Ctrl-C works. A hook may
   close the inbox or abort the call: both are checked again. */
static int wait_for(lua_State *L, const inbox_handle *handle, const crux_request_handle *h,
                    double seconds) {
  double until = crux_now() + seconds, left;
  bool ended = crux_inbox_wait(handle->inbox, h ? h->pending.attempt : NULL, 0);
  while (!ended && (left = until - crux_now()) > 0) {
    ended = crux_inbox_wait(handle->inbox, h ? h->pending.attempt : NULL,
                            left < CRUX_TICK ? left : CRUX_TICK);
    if (crux_run_hooks(L) != 0) return lua_error(L);
    if (!handle->inbox || (h && (!h->pending.attempt || is_lost(h)))) ended = true;
  }
  lua_pushboolean(L, ended);
  return 1;
}

/* inbox:wait(seconds) → whether there is something to take */
static int inbox_wait(lua_State *L) {
  return wait_for(L, check_inbox(L), NULL, luaL_checknumber(L, 2));
}

/* --- requests --- */

static crux_request_handle *check_handle(lua_State *L) { return crux_check_handle(L, 1); }

crux_inbox *crux_open_inbox(crux_request_handle *h) {
  if (!h->request || !h->pending.inbox || !h->pending.inbox->inbox) return NULL;
  if (h->generation != crux_process_generation()) return NULL;
  renew(h->pending.inbox);
  return h->pending.inbox->inbox;
}

/* Hands a new attempt to the worker. False without memory, threads or descriptors. */
static bool submit(crux_request_handle *h, const char *token, double deadline, double number,
                   void *waiter) {
  crux_transfer *t = crux_transfer_new(h->request, token, h->headers, deadline,
                                       h->request->config->settings.connect_timeout);
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

int crux_refuse_start(lua_State *L, crux_kind kind, const char *message) {
  lua_pushboolean(L, 0);
  lua_pushstring(L, message);
  crux_push_failure(L, kind, NULL);
  return 2;
}

/* request:start(token or nil, deadline, number[, semaphore, its address]) → true; false, err; or
   nothing if the call is over, its client closed or this a forked child, by a callback, a hook or
   a finalizer just before. The semaphore is a table: it lives until the request is collected, and
   is not posted any more from then on. */
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
  /* Lua allocates nothing between these checks and the submission, so that no finalizer can abort
     the call in between */
  if (!crux_open_inbox(h)) return 0;
  token = luaL_optstring(L, 2, NULL);
  if (!crux_choose_token(h, &token)) return crux_refuse_start(L, CRUX_KIND_AUTH, CRUX_NO_TOKEN);
  if (!submit(h, token, deadline, number, waiter))
    return crux_refuse_start(L, CRUX_KIND_MEMORY, "out of memory, threads or descriptors");
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

/* request:wait(seconds) → the same, after at most that time */
static int request_wait(lua_State *L) {
  const crux_request_handle *h = check_handle(L);
  if (!h->pending.attempt || is_lost(h) || !h->pending.inbox->inbox) return request_done(L);
  return wait_for(L, h->pending.inbox, h, luaL_checknumber(L, 2));
}

/* request:answer() → result | nil, err of an attempt that has ended; false if it has not; nothing
   if it is lost. Until the next attempt, `abort` tells how much this one has sent, in case an error
   keeps the caller from counting it. */
static int request_answer(lua_State *L) {
  crux_request_handle *h = check_handle(L);
  crux_transfer *t = h->pending.attempt;
  int count;
  if (!t || !atomic_load(&t->done)) {
    if (is_lost(h)) return 0;
    lua_pushboolean(L, 0);
    return 1;
  }
  t->waiter = NULL;
  forget(h, t);
  /* Lua allocates below, so that a finalizer may abort this very call: it must not find the
     attempt, only what `abort` tells of it */
  h->pending.attempt = NULL;
  h->pending.answering = t;
  h->pending.unsent = t->reply.sends == 0;
  h->pending.aborted_bytes = t->reply.bytes_sent;
  count = crux_push_reply(L, h->endpoint, t);
  h->pending.answering = NULL;
  crux_transfer_release(t);
  return count;
}

static void abort_attempt(crux_request_handle *h) {
  crux_transfer *aborted = h->pending.attempt ? take_and_abort(h, NULL) : NULL;
  if (!aborted) return;
  forget(h, aborted);
  crux_worker_abort(aborted);
}

/* request:abort() → whether the attempt was not sent and never will be; how many bytes may have
   been sent; whether the call is safe */
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

/* request:finish(): the call is done → whether it was in flight before */
static int request_finish(lua_State *L) {
  crux_request_handle *h = check_handle(L);
  lua_pushboolean(L, h->pending.counted);
  if (h->pending.counted && h->pending.inbox) h->pending.inbox->in_flight--;
  h->pending.counted = false;
  return 1;
}

static void unregister(crux_request_handle *h) {
  inbox_handle *inbox = h->pending.inbox;
  if (!inbox) return;
  if (h->pending.counted) inbox->in_flight--;
  if (h->pending.previous) h->pending.previous->pending.next = h->pending.next;
  else inbox->first = h->pending.next;
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

void crux_pending_setup(lua_State *L) {
  static const luaL_Reg inbox_methods[] = {
    { "register", inbox_register },
    { "in_flight", inbox_in_flight },
    { "take", inbox_take },
    { "wait", inbox_wait },
    { "fd", inbox_fd },
    { "notify", inbox_notify },
    { "clear", inbox_clear },
    { "rearm", inbox_rearm },
    { "subscribe", inbox_subscribe },
    { "open_socket", inbox_open_socket },
    { "accept_socket", inbox_accept_socket },
    { "close_socket", inbox_close_socket },
    { "close", inbox_close },
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
  crux_new_class(L, CRUX_CLASS_WORKER, worker_gc, NULL);
  crux_new_class(L, CRUX_CLASS_INBOX, inbox_gc, inbox_methods);
  crux_new_class(L, CRUX_CLASS_REQUEST, request_gc, crux_request_methods);
  lua_rawgeti(L, state, CRUX_CLASS_REQUEST);
  lua_getfield(L, -1, "__index");
  lua_pushvalue(L, state);
  crux_setfuncs(L, request_methods, 1);
  lua_pop(L, 2);
}
