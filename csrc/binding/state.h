/* state: the state table, one for each lua_State that loads crux. It holds slots, keys and classes.
   Each C function has it as upvalue 1. */
#ifndef CRUX_BINDING_STATE_H
#define CRUX_BINDING_STATE_H

#include "compat.h"

#include <stdbool.h>
#include <stddef.h>

#define CRUX_VERSION "0.1.0"

/* The message, in a forked child, of a call that the parent process made. */
#define CRUX_INHERITED "made before fork() by the parent process"

/* Blocking waits are cut into slices of this many seconds, so that a signal that arrived just
   before one is noticed. */
#define CRUX_TICK 0.25

/* The names of the fields of results, errors and dry runs. They are kept as Lua strings in the
   state table: to push one from a slot is cheaper than to look its text up. */
#define CRUX_KEYS(KEY) \
  KEY(outcome) KEY(status) KEY(body) KEY(raw) KEY(headers) KEY(meta) \
  KEY(kind) KEY(message) KEY(retryable) KEY(detail) KEY(fields) KEY(field) KEY(retry_after) \
  KEY(hint) KEY(attempts) KEY(sends) KEY(bytes_sent) KEY(reused) KEY(http_version) KEY(time) \
  KEY(body_error) KEY(dns) KEY(connect) KEY(tls) KEY(first_byte) KEY(total) \
  KEY(method) KEY(url)
#define CRUX_KEY_SLOT(name) CRUX_KEY_##name,

/* Slots of the state table. */
enum {
  CRUX_SLOT_DECODE = 1,    /* functions of the private lua-cjson instance */
  CRUX_SLOT_NULL,
  CRUX_SLOT_NEW,           /* makes a lua-cjson instance */
  CRUX_SLOT_DECIMAL_POINT, /* the locale's decimal point when the instance was made */
  CRUX_SLOT_GUARD,         /* tells that the lua_State is being closed, and cjson gone */
  CRUX_SLOT_ENGINE,        /* the engine of blocking calls */
  CRUX_SLOT_WORKER,        /* this state's reference to the worker thread, once it has one */
  CRUX_SLOT_NOOP,          /* a Lua function that does nothing: debug hooks run in it */
  CRUX_SLOT_REUSABLE,      /* the request userdata that the next blocking call may use, or nil */
  CRUX_SLOT_HEADER_NAMES,  /* the names of common response headers, see headers.c */
  CRUX_SLOT_WRITER,        /* the buffer for the JSON of requests */
  CRUX_CLASS_GUARD,        /* metatables of each class of userdata, and of errors */
  CRUX_CLASS_WRITER,
  CRUX_CLASS_CLIENT,
  CRUX_CLASS_REQUEST,
  CRUX_CLASS_ENGINE,
  CRUX_CLASS_INBOX,
  CRUX_CLASS_WORKER,
  CRUX_CLASS_ERROR,
  CRUX_KEYS(CRUX_KEY_SLOT)
  CRUX_SLOTS
};

/* Fills the keys into the state table, on top. */
void crux_state_setup(lua_State *L);

static inline void crux_pushslot(lua_State *L, int slot) {
  lua_rawgeti(L, lua_upvalueindex(1), slot);
}

/* --- fields of tables; `key` is one of CRUX_KEYS --- */

/* Each sets a field of the table on top. */
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
/* Pops the value on top into a field of the table at `table`, which is not a relative index. */
static inline void crux_setkey(lua_State *L, int table, int key) {
  crux_pushslot(L, key);
  lua_insert(L, -2);
  lua_rawset(L, table);
}
static inline void crux_getkey(lua_State *L, int table, int key) {
  crux_pushslot(L, key);
  lua_rawget(L, table);
}

/* --- userdata; `class` is one of CRUX_CLASS_... --- */

/* Makes a class. The state table, on top, becomes the upvalue of its finalizer and methods.
   `methods` may be NULL. */
void crux_new_class(lua_State *L, int class, lua_CFunction gc, const luaL_Reg *methods);
/* Sets the metatable of the value on top. */
static inline void crux_set_class(lua_State *L, int class) {
  crux_pushslot(L, class);
  lua_setmetatable(L, -2);
}
/* Pushes a userdata of the class, filled with zeros. Its class is written into its first bytes,
   before what this returns: to compare that is cheaper than to compare metatables, and holds
   after debug.setmetatable. `state` is the index of the state table. */
void *crux_new_object_at(lua_State *L, int state, size_t size, int class);
static inline void *crux_new_object(lua_State *L, size_t size, int class) {
  return crux_new_object_at(L, lua_upvalueindex(1), size, class);
}
/* The userdata at an index; raises if it is not of that class. */
void *crux_check(lua_State *L, int index, int class);
/* The userdata in a slot; NULL if there is none. */
void *crux_object_in(lua_State *L, int slot);

#endif
