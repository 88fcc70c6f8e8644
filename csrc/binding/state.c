/* state: see state.h. */
#include "state.h"

#include <string.h>

#define KEY_TEXT(name) #name,

void crux_state_setup(lua_State *L) {
  static const char *const texts[] = { CRUX_KEYS(KEY_TEXT) };
  int i;
  for (i = 0; i < (int)(sizeof texts / sizeof *texts); i++) {
    lua_pushstring(L, texts[i]);
    lua_rawseti(L, -2, CRUX_KEY_outcome + i);
  }
}

/* What a userdata begins with. The address of an element of `classes` is a mark that nothing but
   this module writes; the double aligns what follows. */
typedef union {
  const char *mark;
  double align;
} header;

static const char classes[CRUX_SLOTS];

/* In a message. */
static const char *class_name(int class) {
  switch (class) {
    case CRUX_CLASS_CLIENT: return "crux.client";
    case CRUX_CLASS_REQUEST: return "crux.request";
    case CRUX_CLASS_INBOX: return "crux.inbox";
    default: return "another userdata of crux";
  }
}

void crux_new_class(lua_State *L, int class, lua_CFunction gc, const luaL_Reg *methods) {
  int state = lua_gettop(L);
  lua_newtable(L);
  lua_pushvalue(L, state);
  lua_pushcclosure(L, gc, 1);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  if (methods) {
    lua_pushvalue(L, state);
    crux_setfuncs(L, methods, 1);
  }
  lua_setfield(L, -2, "__index");
  lua_rawseti(L, state, class);
}

void *crux_new_object_at(lua_State *L, int state, size_t size, int class) {
  header *h = lua_newuserdata(L, sizeof *h + size);
  memset(h, 0, sizeof *h + size);
  h->mark = &classes[class];
  lua_rawgeti(L, state, class);
  lua_setmetatable(L, -2);
  return h + 1;
}

void *crux_check(lua_State *L, int index, int class) {
  header *h = lua_touserdata(L, index);
  /* a light userdata has a length of 0 */
  if (!h || crux_rawlen(L, index) < sizeof *h || h->mark != &classes[class])
    luaL_error(L, "expected %s, found %s", class_name(class), luaL_typename(L, index));
  return h + 1;
}

void *crux_object_in(lua_State *L, int slot) {
  header *h;
  crux_pushslot(L, slot);
  h = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return h ? h + 1 : NULL;
}
