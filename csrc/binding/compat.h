/* compat: the differences between Lua 5.1, LuaJIT, 5.2, 5.3 and 5.4. No other file asks for the
   version. No name here starts with lua_ or luaL_, since LuaJIT exports some of those that Lua 5.1
   lacks. */
#ifndef CRUX_BINDING_COMPAT_H
#define CRUX_BINDING_COMPAT_H

#include <lauxlib.h>
#include <lua.h>

/* Whether the number at an index is a float. An encoder may write an integral one as 1.0. */
#if LUA_VERSION_NUM >= 503
#define crux_isfloat(L, i) (!lua_isinteger(L, i))
#else
#define crux_isfloat(L, i) ((void)(L), (void)(i), 0)
#endif

/* Whether this Lua has integers beside floats. */
#define CRUX_HAS_INTEGERS (LUA_VERSION_NUM >= 503)

/* Pushes the number at an index: as an integer if it is integral and at most 2^53, where Lua has
   integers; else as a float. Beyond 2^53 a double may not be the number that was meant. */
static inline void crux_push_as_integer(lua_State *L, int index) {
  double value = lua_tonumber(L, index);
#if CRUX_HAS_INTEGERS
  int is_integral; /* and in the range of lua_Integer */
  lua_Integer integer = lua_tointegerx(L, index, &is_integral);
  if (is_integral && value >= -9007199254740992.0 && value <= 9007199254740992.0) {
    lua_pushinteger(L, integer);
    return;
  }
#endif
  lua_pushnumber(L, value);
}

#if LUA_VERSION_NUM >= 502
#define crux_rawlen(L, i) lua_rawlen(L, i)
#define crux_setfuncs(L, functions, upvalues) luaL_setfuncs(L, functions, upvalues)
#define crux_setkept(L, i) lua_setuservalue(L, i)
#else
#define crux_rawlen(L, i) lua_objlen(L, i)
#define crux_setkept(L, i) lua_setfenv(L, i)

static inline void crux_setfuncs(lua_State *L, const luaL_Reg *f, int upvalues) {
  int i;
  for (; f->name; f++) {
    for (i = 0; i < upvalues; i++) lua_pushvalue(L, -upvalues);
    lua_pushcclosure(L, f->func, upvalues);
    lua_setfield(L, -(upvalues + 2), f->name);
  }
  lua_pop(L, upvalues);
}
#endif

/* Makes the table at one index live until the userdata at the other is collected. */
static inline void crux_keep(lua_State *L, int userdata, int table) {
  lua_pushvalue(L, table);
  crux_setkept(L, userdata);
}

/* The functions that are called and that not every Lua has. They are weak symbols, so that another
   Lua can load the module and is told so by crux_checkversion; otherwise the dynamic linker would
   refuse with a message about a symbol. CRUX_MARK is one that only the right Lua has. */
#define CRUX_PRAGMA(text) _Pragma(#text)
#define CRUX_WEAK(name) CRUX_PRAGMA(weak name)
#if LUA_VERSION_NUM >= 502
#define CRUX_MARK lua_getglobal
CRUX_WEAK(lua_callk) CRUX_WEAK(lua_getglobal) CRUX_WEAK(lua_pcallk) CRUX_WEAK(lua_rawlen)
CRUX_WEAK(lua_tointegerx) CRUX_WEAK(lua_tonumberx) CRUX_WEAK(luaL_checkversion_)
CRUX_WEAK(luaL_prepbuffsize) CRUX_WEAK(luaL_setfuncs) CRUX_WEAK(luaL_setmetatable)
#else
#define CRUX_MARK lua_objlen
CRUX_WEAK(lua_call) CRUX_WEAK(lua_objlen) CRUX_WEAK(lua_pcall) CRUX_WEAK(lua_setfenv)
CRUX_WEAK(lua_tointeger) CRUX_WEAK(lua_tonumber) CRUX_WEAK(luaL_prepbuffer)
#endif
#if LUA_VERSION_NUM >= 503
#undef CRUX_MARK
#define CRUX_MARK lua_rotate
CRUX_WEAK(lua_copy) CRUX_WEAK(lua_isinteger) CRUX_WEAK(lua_rotate)
#else
CRUX_WEAK(lua_insert) CRUX_WEAK(lua_remove) CRUX_WEAK(lua_replace)
#endif
#if LUA_VERSION_NUM >= 504
#undef CRUX_MARK
#define CRUX_MARK lua_newuserdatauv
CRUX_WEAK(lua_newuserdatauv) CRUX_WEAK(lua_setiuservalue)
#else
CRUX_WEAK(lua_newuserdata)
#if LUA_VERSION_NUM >= 502
CRUX_WEAK(lua_setuservalue)
#endif
#endif

/* Raises, unless the module was built for the Lua that loads it. */
static inline void crux_checkversion(lua_State *L, const char *module) {
  if (!CRUX_MARK) luaL_error(L, "%s was built for %s, and this is another", module, LUA_VERSION);
  lua_getglobal(L, "_VERSION");
  if (lua_type(L, -1) == LUA_TSTRING) {
    lua_pushstring(L, LUA_VERSION);
    if (!lua_rawequal(L, -1, -2))
      luaL_error(L, "%s was built for %s, and this is %s", module, LUA_VERSION,
                 lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
#if LUA_VERSION_NUM >= 502
  luaL_checkversion(L);
#endif
}

#endif
