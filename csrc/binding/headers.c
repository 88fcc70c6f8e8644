/* headers: the header fields of a response, as a table. */
#include "headers.h"

#include <stdint.h>
#include <string.h>

/* The names that most responses have are kept as Lua strings in the state table, in a list with
   this many places: to push one from there is cheaper than to look its text up. */
#define PLACES 64
#define HASH(first, last, len) ((unsigned)((first) + 11 * (last) + 6 * (len)) % PLACES)
#define NAME(first, last, text) [HASH(first, last, sizeof text - 1)] = text

/* Two names in one place do not compile: -Woverride-init. */
static const char *const common[PLACES] = {
  NAME('a', 'e', "age"),
  NAME('a', 'w', "allow"),
  NAME('c', 'l', "cache-control"),
  NAME('c', 'n', "connection"),
  NAME('c', 'g', "content-encoding"),
  NAME('c', 'h', "content-length"),
  NAME('c', 'e', "content-type"),
  NAME('d', 'e', "date"),
  NAME('e', 'g', "etag"),
  NAME('k', 'e', "keep-alive"),
  NAME('l', 'n', "location"),
  NAME('r', 'y', "referrer-policy"),
  NAME('r', 'r', "retry-after"),
  NAME('s', 'r', "server"),
  NAME('s', 'e', "set-cookie"),
  NAME('s', 'y', "strict-transport-security"),
  NAME('t', 'g', "transfer-encoding"),
  NAME('v', 'y', "vary"),
  NAME('v', 'a', "via"),
  NAME('w', 'e', "www-authenticate"),
  NAME('x', 's', "x-content-type-options"),
  NAME('x', 's', "x-frame-options"),
  NAME('x', 'd', "x-request-id"),
};

void crux_headers_setup(lua_State *L) {
  int i;
  lua_createtable(L, PLACES, 0);
  for (i = 0; i < PLACES; i++) {
    if (common[i]) lua_pushstring(L, common[i]);
    else lua_pushboolean(L, 0);
    lua_rawseti(L, -2, i + 1);
  }
  lua_rawseti(L, -2, CRUX_SLOT_HEADER_NAMES);
}

/* With a name on top: pushes the value, joined to the one that the table has for the name, if any
   (RFC 9110 5.3). */
static void push_joined(lua_State *L, int table, const char *value, size_t len) {
  lua_pushvalue(L, -1);
  lua_rawget(L, table);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushlstring(L, value, len);
    return;
  }
  lua_pushliteral(L, ", ");
  lua_pushlstring(L, value, len);
  lua_concat(L, 3);
}

void crux_push_headers(lua_State *L, const crux_response *r) {
  const char *name = r->fields.data, *value;
  uint64_t seen = 0; /* the hashes of the names so far: where one is new, so is the name */
  unsigned i;
  int names, table;
  crux_pushslot(L, CRUX_SLOT_HEADER_NAMES);
  lua_createtable(L, 0, (int)r->field_count);
  table = lua_gettop(L);
  names = table - 1;
  for (i = 0; i < r->field_count; i++) {
    size_t name_len = strlen(name), value_len;
    unsigned hash = HASH((unsigned char)name[0], (unsigned char)name[name_len - 1], name_len);
    value = name + name_len + 1;
    value_len = strlen(value);
    if (common[hash] && strcmp(common[hash], name) == 0) lua_rawgeti(L, names, (int)hash + 1);
    else lua_pushlstring(L, name, name_len);
    if (seen >> hash & 1) push_joined(L, table, value, value_len);
    else lua_pushlstring(L, value, value_len);
    seen |= UINT64_C(1) << hash;
    lua_rawset(L, table);
    name = value + value_len + 1;
  }
  lua_remove(L, names);
}

const char *crux_header(const crux_response *r, const char *name) {
  const char *field = r->fields.data;
  unsigned i;
  for (i = 0; i < r->field_count; i++) {
    const char *value = field + strlen(field) + 1;
    if (strcmp(field, name) == 0) return value;
    field = value + strlen(value) + 1;
  }
  return NULL;
}
