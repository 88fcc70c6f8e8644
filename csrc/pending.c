/* pending: attempts that do not block. An inbox belongs to one loop of the Lua layer; a flight is one call's hold on its
   attempt of the moment, and ends it when it is collected. */
#include "os/process.h"
#include "os/wakeup_socket.h"
#include "http/nginx.h"
#include "upper.h"
#include "http/worker.h"

#include <stdint.h>
#include <string.h>

typedef struct {
  crux_inbox *inbox;
  struct flight_box *first; /* all that were not collected */
  unsigned flights;         /* calls that are not done */
  bool orphaned;            /* by a fork, and nobody was told yet */
  crux_subscriber subscriber;
  crux_wakeup_socket socket;
} inbox_box;

typedef struct flight_box {
  inbox_box *inbox; /* NULL once that is collected */
  struct flight_box *previous, *next;
  crux_transfer *t;
  crux_transfer *answering; /* being made into Lua values, or what that was given up on for want of memory */
  unsigned generation;
  bool counted;
  bool unsent;      /* what was given up was not sent; otherwise that many bytes may have been: */
  size_t given_up;
  bool safe;        /* the call changes nothing, so that it may be made again */
} flight_box;

/* Raises if it is closed. After a fork, the child has to be told that nothing will come of what its parent submitted. */
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

/* The worker lasts as long as a Lua state that has ever had an inbox: connections are kept from client to client. */
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

/* Whoever asks the flight alone, and never takes from the inbox, leaves nothing behind there. */
static void forget(flight_box *f, crux_transfer *t) {
  if (f->inbox && f->inbox->inbox && f->generation == crux_process_generation()) crux_inbox_forget(f->inbox->inbox, t);
}

/* Ends a flight's hold on an attempt that is under way; the reference goes to `aborted`, or is left to the parent, memory
   and all. */
static crux_transfer *release_hold(flight_box *f, crux_transfer *aborted) {
  crux_transfer *t = f->t;
  f->t = NULL;
  f->given_up = t->wire_len;
  t->waiter = NULL;
  if (f->generation != crux_process_generation()) {
    f->unsent = false;
    return aborted;
  }
  f->unsent = crux_transfer_abort(t);
  t->worker.next_aborted = aborted;
  return t;
}

/* inbox:close(): gives up what is under way, all of it before any other attempt is sent instead. */
static int inbox_close(lua_State *L) {
  inbox_box *box = crux_check(L, 1, CRUX_CLASS_INBOX);
  crux_transfer *aborted = NULL;
  flight_box *f;
  if (!box->inbox) return 0;
  crux_nginx_unsubscribe(&box->subscriber);
  for (f = box->first; f; f = f->next) {
    if (f->t && !atomic_load(&f->t->done)) aborted = release_hold(f, aborted);
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
  for (; box->first; box->first = box->first->next) box->first->inbox = NULL;
  return 0;
}

/* inbox:take() → the number of an attempt that has ended, or nil; false once after a fork: those of the parent are lost */
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

/* inbox:attend(subsystem) → whether nginx's event loop will hear of what has ended; there is then nothing to take */
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

/* inbox:listen() → a path to connect to, or nil. Once that was tried, inbox:accept() → whether what rings the inbox now
   sends 8 bytes there, until inbox:hang_up(). */
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

static int inbox_flights(lua_State *L) {
  lua_pushinteger(L, ((inbox_box *)crux_check(L, 1, CRUX_CLASS_INBOX))->flights);
  return 1;
}

/* What a parent submitted is the parent's, and what was collected is gone, though another finalizer may still reach it:
   its end will never be heard of here. */
static bool is_lost(const flight_box *f) { return !f->inbox || (f->t && f->generation != crux_process_generation()); }

/* In ticks, so that a Ctrl-C is heeded. What a hook then does may close the inbox or end the flight. */
static int wait_for(lua_State *L, const inbox_box *box, const flight_box *f, double seconds) {
  double until = crux_now() + seconds, left;
  bool ended = crux_inbox_wait(box->inbox, f ? f->t : NULL, 0);
  while (!ended && (left = until - crux_now()) > 0) {
    ended = crux_inbox_wait(box->inbox, f ? f->t : NULL, left < CRUX_TICK ? left : CRUX_TICK);
    if (crux_run_hooks(L) != 0) return lua_error(L);
    if (!box->inbox || (f && (!f->t || is_lost(f)))) ended = true;
  }
  lua_pushboolean(L, ended);
  return 1;
}

/* inbox:wait(seconds) → whether there is something to take */
static int inbox_wait(lua_State *L) { return wait_for(L, check_inbox(L), NULL, luaL_checknumber(L, 2)); }

/* --- flights -------------------------------------------------------------------------------------------------------- */

static flight_box *check_flight(lua_State *L) { return crux_check(L, 1, CRUX_CLASS_FLIGHT); }

/* inbox:flight() → flight */
static int inbox_flight(lua_State *L) {
  inbox_box *inbox = check_inbox(L);
  flight_box *f = lua_newuserdata(L, sizeof *f);
  memset(f, 0, sizeof *f);
  crux_set_class(L, CRUX_CLASS_FLIGHT);
  f->inbox = inbox;
  f->generation = crux_process_generation();
  f->next = inbox->first;
  if (f->next) f->next->previous = f;
  inbox->first = f;
  inbox->flights++;
  f->counted = true;
  return 1;
}

/* flight:start(request, token or nil, deadline, number[, semaphore, its address]) → true, or false and an error.
   The semaphore, a table, lives until the flight has been collected, and is not posted from then on. */
static int flight_start(lua_State *L) {
  flight_box *f = check_flight(L);
  crux_request *request = crux_check_request(L, 2);
  const char *token = luaL_optstring(L, 3, request->config->settings.token);
  double deadline = luaL_checknumber(L, 4), number = luaL_checknumber(L, 5);
  crux_kind kind = CRUX_KIND_MEMORY;
  if (!f->inbox) return luaL_error(L, "the client is closed");
  open_inbox(L, f->inbox);
  if (!token) kind = CRUX_KIND_AUTH;
  else {
    f->generation = crux_process_generation();
    f->safe = request->safe;
    f->t = crux_transfer_new(request, token, deadline, request->config->settings.connect_timeout);
    if (f->t) {
      f->t->inbox.number = number;
      if (lua_istable(L, 6)) {
        f->t->waiter = (void *)(uintptr_t)luaL_checknumber(L, 7);
        crux_keep(L, 1, 6);
      }
      if (crux_worker_submit(f->t, f->inbox->inbox)) {
        lua_pushboolean(L, 1);
        return 1;
      }
      crux_transfer_release(f->t);
      f->t = NULL;
    }
  }
  lua_pushboolean(L, 0);
  lua_pushstring(L, kind == CRUX_KIND_AUTH ? "expected a token, found none" : "out of memory, threads or descriptors");
  crux_push_failure(L, kind, NULL);
  return 2;
}

/* flight:inherited() → whether this is a forked child, and the call its parent's */
static int flight_inherited(lua_State *L) {
  lua_pushboolean(L, check_flight(L)->generation != crux_process_generation());
  return 1;
}

/* flight:done() → whether the attempt has ended */
static int flight_done(lua_State *L) {
  const flight_box *f = check_flight(L);
  lua_pushboolean(L, (f->t && atomic_load_explicit(&f->t->done, memory_order_acquire)) || is_lost(f));
  return 1;
}

static int flight_wait(lua_State *L) {
  const flight_box *f = check_flight(L);
  if (!f->t || is_lost(f) || !f->inbox->inbox) return flight_done(L);
  return wait_for(L, f->inbox, f, luaL_checknumber(L, 2));
}

/* flight:answer() → what came of an attempt that has ended: result | nil, err; or nothing if it is lost */
static int flight_answer(lua_State *L) {
  flight_box *f = check_flight(L);
  crux_transfer *t = f->t;
  int count;
  if (!t || !atomic_load(&t->done)) return 0;
  t->waiter = NULL;
  forget(f, t);
  /* out of reach of finalizers, which may run meanwhile and give this very call up: that is all they are told of it */
  f->t = NULL;
  f->answering = t;
  f->unsent = t->reply.sends == 0;
  f->given_up = t->reply.bytes_sent;
  count = crux_push_reply(L, t);
  f->given_up = 0;
  f->answering = NULL;
  crux_transfer_release(t);
  return count;
}

static void give_up(flight_box *f) {
  crux_transfer *aborted = f->t ? release_hold(f, NULL) : NULL;
  if (!aborted) return;
  forget(f, aborted);
  crux_worker_abort(aborted);
}

/* flight:abort() → true if the attempt was not sent and never will be, else false; how many bytes may have been; whether it
   changes nothing */
static int flight_abort(lua_State *L) {
  flight_box *f = check_flight(L);
  bool unsent = !f->t && !f->given_up;
  give_up(f);
  unsent = unsent || f->unsent;
  lua_pushboolean(L, unsent);
  lua_pushinteger(L, unsent ? 0 : (lua_Integer)f->given_up);
  lua_pushboolean(L, f->safe);
  f->given_up = 0;
  return 3;
}

/* flight:finish() → true: the call is done; or false: it was before */
static int flight_finish(lua_State *L) {
  flight_box *f = check_flight(L);
  lua_pushboolean(L, f->counted);
  if (f->counted && f->inbox) f->inbox->flights--;
  f->counted = false;
  return 1;
}

static int flight_gc(lua_State *L) {
  flight_box *f = check_flight(L);
  give_up(f);
  crux_transfer_release(f->answering);
  f->answering = NULL;
  flight_finish(L);
  if (f->inbox) {
    if (f->previous) f->previous->next = f->next;
    else f->inbox->first = f->next;
    if (f->next) f->next->previous = f->previous;
  }
  f->inbox = NULL;
  return 0;
}

void crux_pending_open(lua_State *L) {
  static const luaL_Reg none[] = { { NULL, NULL } };
  static const luaL_Reg inbox_methods[] = {
    { "take", inbox_take }, { "fd", inbox_fd }, { "ring", inbox_ring }, { "quiet", inbox_quiet },
    { "flights", inbox_flights }, { "wait", inbox_wait }, { "flight", inbox_flight }, { "close", inbox_close },
    { "attend", inbox_attend }, { "listen", inbox_listen }, { "accept", inbox_accept }, { "hang_up", inbox_hang_up },
    { "heard", inbox_heard },
    { NULL, NULL },
  };
  static const luaL_Reg flight_methods[] = {
    { "start", flight_start }, { "done", flight_done }, { "inherited", flight_inherited }, { "wait", flight_wait }, { "answer", flight_answer },
    { "abort", flight_abort }, { "finish", flight_finish }, { NULL, NULL },
  };
  crux_new_class(L, CRUX_CLASS_USER, user_gc, none);
  crux_new_class(L, CRUX_CLASS_INBOX, inbox_gc, inbox_methods);
  crux_new_class(L, CRUX_CLASS_FLIGHT, flight_gc, flight_methods);
}
