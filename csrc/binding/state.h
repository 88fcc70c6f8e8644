/* state: the table of one Lua state: its slots, keys and classes. Each C function has it as
   upvalue 1. */
#ifndef CRUX_BINDING_STATE_H
#define CRUX_BINDING_STATE_H

#include "compat.h"

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
  CRUX_SLOT_DECODE = 1,
  CRUX_SLOT_NULL,
  CRUX_SLOT_NEW,    /* makes an instance of lua-cjson */
  CRUX_SLOT_POINT,  /* the decimal point it was made under */
  CRUX_SLOT_GUARD,  /* tells when the state is being closed, and the instance gone */
  CRUX_SLOT_ENGINE, /* of the blocking calls */
  CRUX_SLOT_WORKER, /* this state's share in the worker, once it has one */
  CRUX_SLOT_NOTHING, /* a Lua function that does nothing, but in which hooks can run */
  CRUX_SLOT_WRITER,  /* of the JSON of requests */
  CRUX_SLOT_SPARE,   /* the handle that the next blocking call may use, or nil */
  CRUX_CLASS_GUARD,
  CRUX_CLASS_WRITER,
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

#endif
