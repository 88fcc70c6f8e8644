/* upper: what the files that see Lua share. Each C function has the module's state, a table, as
   its upvalue. */
#ifndef CRUX_UPPER_H
#define CRUX_UPPER_H

#include "compat.h"
#include "endpoint.h"
#include "http/transfer.h"

#include <stdbool.h>

#define CRUX_VERSION "0.1.0"

/* Said in a forked child of a call that its parent made. */
#define CRUX_INHERITED "made before fork() by the parent process"

/* How long a signal that came just before a wait may go unnoticed, in seconds. */
#define CRUX_TICK 0.25

/* The fields of results, errors and dry runs: kept as strings in the state, since to set one by
   its text takes longer. */
#define CRUX_KEYS(KEY) \
  KEY(outcome) KEY(status) KEY(body) KEY(raw) KEY(headers) KEY(meta) \
  KEY(kind) KEY(message) KEY(retryable) KEY(detail) KEY(fields) KEY(field) KEY(retry_after) KEY(hint) \
  KEY(attempts) KEY(sends) KEY(bytes_sent) KEY(reused) KEY(http_version) KEY(time) KEY(body_error) \
  KEY(dns) KEY(connect) KEY(tls) KEY(first_byte) KEY(total) \
  KEY(method) KEY(url)
#define CRUX_KEY_SLOT(name) CRUX_KEY_##name,

/* Slots of the state. */
enum {
  CRUX_SLOT_ENCODE = 1,
  CRUX_SLOT_DECODE,
  CRUX_SLOT_NULL,
  CRUX_SLOT_NEW,    /* makes an instance of lua-cjson */
  CRUX_SLOT_POINT,  /* the decimal point it was made under */
  CRUX_SLOT_GUARD,  /* tells when the state is being closed, and the instance gone */
  CRUX_SLOT_ENGINE, /* of the blocking calls */
  CRUX_SLOT_WORKER, /* this state's share in the worker, once it has one */
  CRUX_SLOT_NOTHING, /* a Lua function that does nothing, but in which hooks can run */
  CRUX_SLOT_SPARE,   /* the handle that the next blocking call may use, or nil */
  CRUX_CLASS_GUARD,
  CRUX_CLASS_CLIENT, /* metatables, of errors and of each type of userdata */
  CRUX_CLASS_REQUEST,
  CRUX_CLASS_ENGINE,
  CRUX_CLASS_INBOX,
  CRUX_CLASS_USER,
  CRUX_CLASS_ERROR,
  CRUX_KEYS(CRUX_KEY_SLOT)
  CRUX_SLOTS
};

static inline void crux_pushslot(lua_State *L, int slot) { lua_rawgeti(L, lua_upvalueindex(1), slot); }

/* Sets a field of the table on top; `key` is one of CRUX_KEYS. */
static inline void crux_set_text(lua_State *L, int key, const char *value) {
  crux_pushslot(L, key);
  lua_pushstring(L, value);
  lua_rawset(L, -3);
}
static inline void crux_set_number(lua_State *L, int key, double value) {
  crux_pushslot(L, key);
  lua_pushnumber(L, value);
  lua_rawset(L, -3);
}
static inline void crux_set_integer(lua_State *L, int key, lua_Integer value) {
  crux_pushslot(L, key);
  lua_pushinteger(L, value);
  lua_rawset(L, -3);
}
static inline void crux_set_boolean(lua_State *L, int key, bool value) {
  crux_pushslot(L, key);
  lua_pushboolean(L, value);
  lua_rawset(L, -3);
}
/* The value on top becomes a field of the table at `table`, not a relative index; it is popped. */
static inline void crux_setkey(lua_State *L, int table, int key) {
  crux_pushslot(L, key);
  lua_insert(L, -2);
  lua_rawset(L, table);
}
static inline void crux_getkey(lua_State *L, int table, int key) {
  crux_pushslot(L, key);
  lua_rawget(L, table);
}

/* Makes a type of userdata. The state, on top, becomes the upvalue of its finalizer and methods. */
static inline void crux_new_class(lua_State *L, int class, lua_CFunction gc, const luaL_Reg *methods) {
  int state = lua_gettop(L);
  lua_newtable(L);
  lua_pushvalue(L, state);
  lua_pushcclosure(L, gc, 1);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  lua_pushvalue(L, state);
  crux_setfuncs(L, methods, 1);
  lua_setfield(L, -2, "__index");
  lua_rawseti(L, state, class);
}

/* Makes the value on top one of a class. */
static inline void crux_set_class(lua_State *L, int class) {
  crux_pushslot(L, class);
  lua_setmetatable(L, -2);
}

/* As messages name it. */
static inline const char *crux_class_name(int class) {
  switch (class) {
    case CRUX_CLASS_CLIENT: return "crux.client";
    case CRUX_CLASS_REQUEST: return "crux.request";
    case CRUX_CLASS_INBOX: return "crux.inbox";
    default: return "a userdata of crux's";
  }
}

/* The userdata at an index, or raises if it is none of that class. */
static inline void *crux_check(lua_State *L, int index, int class) {
  void *p = lua_touserdata(L, index);
  bool is = false;
  if (p && lua_getmetatable(L, index)) {
    crux_pushslot(L, class);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  if (!is) luaL_error(L, "expected %s, found %s", crux_class_name(class), luaL_typename(L, index));
  return p;
}

/* --- json: lua-cjson, an instance of our own --- */

/* Fills the state, the table on top, with a private instance's functions. Raises without lua-
   cjson. */
void crux_json_open(lua_State *L);
/* Whether the state is being closed and lua-cjson's own finalizers have run, or may have: it must not be
   called any more. Finalizers of the user's may still make calls. */
bool crux_json_is_gone(lua_State *L);
/* Replaces the value on top by its JSON. */
void crux_json_encode(lua_State *L);
/* Pushes the value, or nil and why it is none. Integral numbers become integers. */
void crux_json_decode(lua_State *L, const char *text, size_t len);
bool crux_is_utf8(const char *s, size_t len);

/* --- failure: errors as users see them --- */

void crux_failure_open(lua_State *L);
/* Pushes an error for something that was not sent, with the string on top as its message
   (popped) and the place of the fault, or NULL. */
void crux_push_failure(lua_State *L, crux_kind kind, const char *field);
/* Pushes nil and such an error, and returns their number. */
int crux_fail(lua_State *L, crux_kind kind, const char *message);

/* Replaces the string on top by one without the token. */
void crux_redact(lua_State *L, const char *token);
/* Replaces the string on top by one that may stand in a log: at most `most` bytes of printable
   text on one line, with [redacted] where the token, of `token_len` bytes, stood. NULL: without
   looking for one. */
void crux_sanitize(lua_State *L, size_t most, const char *token, size_t token_len);
/* How much of a server's words a message has, and how much of ours. */
#define CRUX_SERVER_MESSAGE_MAX 240
#define CRUX_MESSAGE_MAX 384

/* --- field_errors: the server's, in the shapes that servers and proxies send --- */

/* With the error on top: `detail` and `fields` out of its body; `whole`: it is not cut off. */
void crux_set_field_errors(lua_State *L, bool whole);
/* Pushes one of the error's `fields` for its message, the first in alphabetical order, so that
   it is the same each time; or nothing and returns false. */
bool crux_push_first_field_error(lua_State *L, int err);

/* --- response: from a finished attempt to result | nil, err; returns the number of values --- */

int crux_push_reply(lua_State *L, crux_transfer *t);
/* Pushes the account of an attempt; NULL: of none. */
void crux_push_meta(lua_State *L, const crux_transfer *t);

/* --- fault: what is said of an argument or an option that is not as it should be --- */

/* Pushes "expected <what>, found <the value at index>"; the value itself only if it can hold no
   secret. */
void crux_push_expected(lua_State *L, const char *what, int index, bool echo);
/* The message on top is what is wrong with that name, or index in brackets, of what is at
   `where`: nil and err instead, and their number returned. */
int crux_fault(lua_State *L, const char *where, const char *name);
/* The field that the key at `key` names, or NULL. */
const crux_field *crux_field_at(lua_State *L, int key, const crux_field *fields);
bool crux_has_unknown(lua_State *L, int index, const crux_field *fields, bool options, bool policy);
/* Pushes nil and err and returns true if the table has a key that is neither one of `fields`
   nor, with `options`, an option. `where` is the table's place, "" or as in "skus[3]". */
bool crux_push_unknown(lua_State *L, int index, const char *where, const crux_field *fields, bool options, bool policy,
                       const char *token);
/* Pushes what to say of an unknown field that is an option in other libraries, or nothing. */
bool crux_push_foreign(lua_State *L, const char *name, bool policy);
/* How many slips lie between two names. */
int crux_edit_distance(const char *a, const char *b);
/* core.unknown(options, names) → an error if there is a key that is none of the names
   core.invalid(name, what was expected, value) → an error: for options that the Lua layer reads */
int crux_unknown(lua_State *L);
int crux_invalid(lua_State *L);

/* --- arguments: held against an endpoint's fields --- */

/* What checking the arguments found out about them. */
typedef struct {
  int arguments;     /* all of them, a table */
  const char *token; /* the client's */
  size_t text;       /* bytes of it so far */
  bool foreign;      /* a table has a key that is none of its fields: an option, or a fault */
  bool convert;      /* a value is not yet what is sent for it, or a table more than its raw fields */
} crux_checked;

/* 0; or nil and err pushed, and their number returned. */
int crux_check_arguments(lua_State *L, const crux_field *fields, crux_checked *c);
/* The same as crux_push_unknown for what lists among the arguments hold. */
bool crux_push_unknown_within(lua_State *L, int index, const crux_field *fields, const char *token);
/* Pushes a table of what is sent for arguments without a fault. */
void crux_push_sent(lua_State *L, const crux_field *fields, const crux_checked *c);

/* --- client: options --- */

typedef struct {
  crux_config *config; /* until it is collected: a finalizer may close one that is in use further up the stack */
  bool closed;
} crux_client;

void crux_default_settings(crux_settings *settings);
/* Raw reading of a table of options over a base into a config of that client. Keys that are no
   option are passed over. 0; or nil and err pushed, and their number returned. `policy`: for
   the Lua layer, which knows more options. */
int crux_read_options(lua_State *L, int index, const crux_settings *base, bool policy, unsigned long client,
                      crux_config **into);
bool crux_is_token(const char *s);
/* Whether it has the newline that reading a file leaves; NULL has none. */
bool crux_ends_line(const char *s);
/* The token among arguments or options, if it is a string, else the other. Valid while the
   table is. */
const char *crux_token_of(lua_State *L, int index, const char *otherwise);
bool crux_is_text(lua_State *L, int index, const char *text);
bool crux_is_option(const char *name, bool policy);
/* The names of the options one after the other, NULL after the last; "" for one that is not
   known here. */
const char *crux_option_name(int i, bool policy);
/* The nearest option's name within `*distance`, which is lowered; or `so_far`. */
const char *crux_nearest_option(const char *name, bool policy, int *distance, const char *so_far);

int crux_client_new(lua_State *L);
void crux_client_open(lua_State *L);

/* --- request: arguments, made ready to be sent --- */

struct crux_inbox_box;

/* A call as Lua holds it: its request, and the attempt at it that is under way. Lua gets one
   for each call, and none is used again: a finalizer of the user's may release it while its own
   is due. */
typedef struct crux_request_handle {
  crux_config *config;
  crux_request *request; /* NULL once it is released */
  unsigned generation;   /* of the process that made it */
  struct {               /* by a blocking call */
    crux_transfer *attempt;
    struct crux_engine *engine; /* that carries it */
  } blocking;
  struct {                      /* without blocking */
    crux_transfer *attempt;
    crux_transfer *answering;   /* being made into Lua values */
    struct crux_inbox_box *inbox; /* where it is registered; NULL once that is collected */
    struct crux_request_handle *previous, *next;
    bool counted;               /* among those in flight */
    bool unsent;                /* what was aborted was not sent; else that many bytes may have been: */
    size_t aborted_bytes;
  } pending;
  bool safe;      /* the call changes nothing, so that it may be made again */
  bool finalized;
} crux_request_handle;

/* Pushes a new handle. */
crux_request_handle *crux_push_request(lua_State *L);
/* Makes the request of the handle on top out of the arguments at `index`: 0, or nil and err
   pushed, and their number returned. Options among the arguments win over the client's; without
   a client (NULL) they stand over the defaults. */
int crux_prepare(lua_State *L, crux_request_handle *handle, const crux_endpoint *endpoint, int index,
                 crux_config *client, bool policy);
/* Nobody will use the request any more. */
void crux_release_request(crux_request_handle *handle);
crux_request_handle *crux_check_handle(lua_State *L, int index);
/* The same; raises if the request has been released. */
crux_request *crux_check_request(lua_State *L, int index);
extern const luaL_Reg crux_request_methods[];

/* --- blocking: one attempt on the caller's thread --- */

/* Pushes what came of it and returns the number of values. The handle is somewhere on the stack. */
int crux_perform(lua_State *L, crux_request_handle *handle, const char *token, double deadline);
/* Ends the attempt that is under way, if one is. */
void crux_drop_attempt(crux_request_handle *handle);
/* Pushes a handle for a call that is over before Lua gets to see it: one that served such a
   call before, if there is one. It was on the stack all the while, so no finalizer can have
   been due. */
crux_request_handle *crux_take_spare(lua_State *L);
/* Such a call is over: releases the request of the handle at `index`, for the next to use. */
void crux_put_spare(lua_State *L, crux_request_handle *handle, int index);
/* Closes the idle connections of blocking calls that the server has closed: no thread watches
   them. */
void crux_sweep(lua_State *L);
int crux_sleep(lua_State *L);
/* Lets hooks run, and with them what a signal handler has set; not 0: one raised the error on
   top. */
int crux_run_hooks(lua_State *L);
void crux_blocking_open(lua_State *L);

/* --- pending: attempts that do not block --- */

int crux_inbox_open(lua_State *L);
void crux_pending_open(lua_State *L);

#endif
