#include "upper.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* lua-cjson doubles its buffer until it holds all, and ends the process if it cannot. */
#define TEXT_MAX (16 * 1024 * 1024)

#define CENTS_MAX 9999999999.0 /* 99999999.99 */

/* --- faults --------------------------------------------------------------------------------------------------------- */

/* The message on top is what is wrong with that name, or index in brackets, of what is at `where`: nil and err instead. */
static int fault(lua_State *L, const char *where, const char *name) {
  const char *field = lua_pushfstring(L, "%s%s%s", where, where[0] && name[0] != '[' ? "." : "", name);
  lua_pushfstring(L, "%s: %s", field, lua_tostring(L, -2));
  lua_pushnil(L);
  lua_insert(L, -2);
  crux_push_failure(L, CRUX_KIND_INVALID, field);
  return 2;
}

static const crux_field *find_field(const crux_field *fields, const char *name) {
  for (; fields && fields->name; fields++) {
    if (strcmp(fields->name, name) == 0) return fields;
  }
  return NULL;
}

static const char *nearest_name(const char *name, const crux_field *fields, bool options, bool policy) {
  const char *nearest = NULL;
  int distance = (int)strlen(name) / 3 + 1;
  for (; fields && fields->name; fields++) {
    int d = crux_edit_distance(name, fields->name);
    if (d < distance || (d == distance && !nearest)) {
      distance = d;
      nearest = fields->name;
    }
  }
  return options ? crux_nearest_option(name, policy, &distance, nearest) : nearest;
}

/* Keys as messages may show them; two of one table are told apart by it. */
static const char *push_key(lua_State *L, int index, const char *token) {
  size_t len, i;
  const char *s;
  if (lua_type(L, index) == LUA_TNUMBER) {
    char number[40];
    snprintf(number, sizeof number, "[%.14g]", lua_tonumber(L, index));
    return lua_pushfstring(L, "%s", number);
  }
  if (lua_type(L, index) != LUA_TSTRING) return lua_pushfstring(L, "[%s]", luaL_typename(L, index));
  s = lua_tolstring(L, index, &len);
  for (i = 0; i < len && s[i] > ' ' && s[i] < 127 && s[i] != '['; i++) continue;
  /* what is long or odd is no misspelt name, and may be a value in the wrong place */
  if (len == 0 || len > 32 || i < len || crux_is_text(L, index, token)) return lua_pushfstring(L, "[a string of %d bytes]", (int)len);
  lua_pushvalue(L, index);
  return s;
}

/* The key at an index as the name it may be; names with a NUL in them are nobody's. */
static const char *name_at(lua_State *L, int key) {
  size_t len = 0;
  const char *name = lua_type(L, key) == LUA_TSTRING ? lua_tolstring(L, key, &len) : "";
  return strlen(name) == len ? name : "";
}

static bool is_known(lua_State *L, int key, const crux_field *fields, bool options, bool policy) {
  const char *name = name_at(L, key);
  return find_field(fields, name) || (options && crux_is_option(name, policy));
}

static bool has_unknown(lua_State *L, int index, const crux_field *fields, bool options, bool policy) {
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (is_known(L, -1, fields, options, policy)) continue;
    lua_pop(L, 1);
    return true;
  }
  return false;
}

bool crux_push_unknown(lua_State *L, int index, const char *where, const crux_field *fields, bool options, bool policy,
                       const char *token) {
  const char *least, *nearest;
  if (!has_unknown(L, index, fields, options, policy)) return false;
  lua_pushnil(L);
  lua_pushnil(L);
  /* of several, the first by name, since a table has no order */
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (is_known(L, -1, fields, options, policy)) continue;
    push_key(L, lua_gettop(L), token);
    if (lua_isnil(L, -3) || strcmp(lua_tostring(L, -1), lua_tostring(L, -3)) < 0) lua_replace(L, -3);
    else lua_pop(L, 1);
  }
  least = lua_tostring(L, -1);
  nearest = nearest_name(least, fields, options, policy);
  if (nearest) lua_pushfstring(L, "unknown field, did you mean '%s'?", nearest);
  else lua_pushliteral(L, "unknown field");
  fault(L, where, least);
  return true;
}

int crux_unknown(lua_State *L) {
  enum { MOST = 8 };
  crux_field fields[MOST + 1];
  int i, count;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  count = (int)crux_rawlen(L, 2);
  luaL_argcheck(L, count <= MOST, 2, "too many names");
  memset(fields, 0, sizeof fields);
  for (i = 0; i < count; i++) {
    lua_rawgeti(L, 2, i + 1);
    fields[i].name = luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  return crux_push_unknown(L, 1, "", fields, false, false, NULL) ? 1 : 0;
}

int crux_invalid(lua_State *L) {
  const char *name = luaL_checkstring(L, 1), *what = luaL_checkstring(L, 2);
  luaL_checkany(L, 3);
  crux_push_expected(L, what, 3, true);
  fault(L, "", name);
  return 1;
}

/* --- values --------------------------------------------------------------------------------------------------------- */

static bool is_uuid(const char *s, size_t len) {
  static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  size_t i;
  if (len != sizeof shape - 1) return false;
  for (i = 0; i < sizeof shape - 1; i++) {
    unsigned digit = (unsigned char)s[i] - (unsigned)'0', letter = ((unsigned char)s[i] | 32u) - (unsigned)'a';
    if (shape[i] == '-' ? s[i] != '-' : digit > 9 && letter > 5) return false;
  }
  return true;
}

/* "12", "12.5" or "12.50" in cents; -1 for anything else. */
static double cents_of_text(const char *s, size_t len) {
  const char *end = s + len;
  double cents = 0;
  int decimals = -1;
  if (len == 0 || len > 64 || *s == '.' || end[-1] == '.') return -1;
  for (; s < end; s++) {
    if (*s == '.' && decimals < 0) decimals = 0;
    else if (*s >= '0' && *s <= '9' && decimals < 2) {
      cents = cents * 10 + (*s - '0');
      if (decimals >= 0) decimals++;
    } else return -1;
  }
  for (decimals = decimals < 0 ? 0 : decimals; decimals < 2; decimals++) cents *= 10;
  return cents;
}

/* The float nearest to a number of two decimals is taken for that number, and no other float is. */
static double cents_of_number(double value) {
  double cents = floor(value * 100 + 0.5);
  return value >= 0 && cents <= CENTS_MAX && cents / 100 == value ? cents : -1;
}

/* What the field is, for messages. */
static const char *expectation(crux_field_type type) {
  switch (type) {
    case CRUX_FIELD_UUID: return "a UUID (8-4-4-4-12 hex digits)";
    case CRUX_FIELD_TEXT: return "a non-empty string of UTF-8";
    case CRUX_FIELD_WHOLE: return "a whole number from 1 to 2147483647";
    case CRUX_FIELD_DECIMAL: return "a number or string from 0 to 99999999.99 with at most two decimals";
    default: return "a list of at least one table";
  }
}

/* What checking the arguments found out about them. */
typedef struct {
  int arguments;     /* all of them, a table */
  const char *token; /* the client's */
  size_t text;       /* bytes of it so far */
  bool foreign;      /* a table has a key that is none of its fields: an option, or a fault */
  bool convert;      /* a value is not yet what is sent for it, or a table more than its raw fields */
} checking;

static double cents_of(lua_State *L, int index) {
  size_t len;
  const char *s;
  if (lua_type(L, index) == LUA_TNUMBER) return cents_of_number(lua_tonumber(L, index));
  if (lua_type(L, index) != LUA_TSTRING) return -1;
  s = lua_tolstring(L, index, &len);
  return cents_of_text(s, len);
}

/* False: the value on top is none of its type. */
static bool check_value(lua_State *L, crux_field_type type, checking *c) {
  size_t len = 0;
  const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  double value;
  switch (type) {
    case CRUX_FIELD_UUID: return s && is_uuid(s, len);
    case CRUX_FIELD_TEXT:
      c->text += len;
      return s && len > 0 && crux_is_utf8(s, len);
    case CRUX_FIELD_WHOLE:
      value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
      if (crux_isfloat(L, -1)) c->convert = true;
      return value >= 1 && value <= 2147483647 && value == floor(value);
    case CRUX_FIELD_DECIMAL:
      value = cents_of(L, -1);
      c->convert = true;
      return value >= 0 && value <= CENTS_MAX;
    default: return false;
  }
}

/* --- tables --------------------------------------------------------------------------------------------------------- */

/* The length of a list without holes or other keys: 0 if it is none, and -i if it has a hole at i. */
static int list_length(lua_State *L, int index) {
  int count = 0, i;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    lua_pop(L, 1);
    if (key < 1 || key != floor(key) || isinf(key)) {
      lua_pop(L, 1);
      return 0;
    }
    count++;
  }
  for (i = 1; i <= count; i++) {
    bool hole;
    lua_rawgeti(L, index, i);
    hole = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (hole) return -i;
  }
  return count;
}

/* Unknown fields anywhere come before any other fault. */
static bool push_unknown_within(lua_State *L, int index, const crux_field *fields, const char *token) {
  char where[64];
  for (; fields->name; fields++) {
    int list = lua_gettop(L) + 1;
    double least = 0;
    if (fields->type != CRUX_FIELD_LIST) continue;
    lua_pushstring(L, fields->name);
    lua_rawget(L, index);
    lua_pushnil(L);
    /* holes and other keys in the list are faults too, but later ones */
    while (lua_type(L, list) == LUA_TTABLE && lua_next(L, list)) {
      double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
      if (key >= 1 && key <= INT_MAX && key == floor(key) && (least == 0 || key < least) &&
          lua_type(L, -1) == LUA_TTABLE && has_unknown(L, lua_gettop(L), fields->fields, false, false))
        least = key;
      lua_pop(L, 1);
    }
    lua_settop(L, list);
    if (least != 0) {
      lua_rawgeti(L, list, (int)least);
      snprintf(where, sizeof where, "%s[%d]", fields->name, (int)least);
      return crux_push_unknown(L, list + 1, where, fields->fields, false, false, token);
    }
    lua_pop(L, 1);
  }
  return false;
}

static int check_object(lua_State *L, int index, const char *list, int item, const crux_field *fields, checking *c);

/* False: the value at `index` is the token in the wrong place. */
static bool may_be_told(lua_State *L, int index, const checking *c) {
  return !crux_is_text(L, index, crux_token_of(L, c->arguments, c->token));
}

static bool has_metatable(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return false;
  lua_pop(L, 1);
  return true;
}

static int check_list(lua_State *L, int list, const crux_field *field, checking *c) {
  int i, count = lua_type(L, list) == LUA_TTABLE ? list_length(L, list) : 0;
  char where[64];
  if (count < 0) {
    snprintf(where, sizeof where, "[%d]", -count);
    lua_pushliteral(L, "expected a list without holes, found nothing");
    return fault(L, field->name, where);
  }
  if (count == 0) {
    lua_pushnil(L);
    if (lua_type(L, list) != LUA_TTABLE) crux_push_expected(L, expectation(field->type), list, may_be_told(L, list, c));
    else if (lua_next(L, list)) lua_pushfstring(L, "expected a list, found a table with other keys than 1, 2, 3");
    else lua_pushfstring(L, "expected %s, found an empty one", expectation(field->type));
    return fault(L, "", field->name);
  }
  for (i = 1; i <= count; i++) {
    int item = lua_gettop(L) + 1, faults;
    lua_rawgeti(L, list, i);
    if (lua_type(L, item) != LUA_TTABLE) {
      snprintf(where, sizeof where, "[%d]", i);
      crux_push_expected(L, "a table", item, may_be_told(L, item, c));
      return fault(L, field->name, where);
    }
    faults = check_object(L, item, field->name, i, field->fields, c);
    if (faults) return faults;
    lua_settop(L, item - 1);
  }
  if (has_metatable(L, list)) c->convert = true;
  return 0;
}

/* Checks the fields of the table at `index`, which is an item of `list` unless that is NULL. 0; or nil and err pushed, and
   their number returned. */
static int check_object(lua_State *L, int index, const char *list, int item, const crux_field *fields, checking *c) {
  unsigned given = 0, wrong = 0, bit = 1;
  luaL_checkstack(L, 16, "arguments");
  lua_pushnil(L);
  while (lua_next(L, index)) {
    const crux_field *field = find_field(fields, name_at(L, -2));
    if (!field) c->foreign = true;
    else {
      unsigned its = 1u << (field - fields);
      given |= its;
      if (field->type != CRUX_FIELD_LIST && !check_value(L, field->type, c)) wrong |= its;
    }
    lua_pop(L, 1);
  }
  if (has_metatable(L, index)) c->convert = true;
  /* a table has no order, but its faults have */
  for (; fields->name; fields++, bit <<= 1) {
    bool lacking = fields->required && !(given & bit), list_given = fields->type == CRUX_FIELD_LIST && (given & bit);
    bool long_text = fields->type == CRUX_FIELD_TEXT && (given & bit) && c->text > TEXT_MAX;
    if (!(lacking || list_given || long_text || (wrong & bit))) continue;
    lua_pushstring(L, fields->name);
    lua_rawget(L, index);
    if (list_given) {
      int faults = check_list(L, lua_gettop(L), fields, c);
      if (faults) return faults;
      lua_pop(L, 1);
      continue;
    }
    if (lacking || (wrong & bit))
      crux_push_expected(L, expectation(fields->type), lua_gettop(L),
                         fields->type != CRUX_FIELD_UUID && may_be_told(L, lua_gettop(L), c));
    else lua_pushfstring(L, "expected a request of at most %d bytes of text, found more", TEXT_MAX);
    if (list) lua_pushfstring(L, "%s[%d]", list, item);
    else lua_pushliteral(L, "");
    lua_insert(L, -2);
    return fault(L, lua_tostring(L, -2), fields->name);
  }
  return 0;
}

/* Pushes a table of what is sent for the checked fields of the one at `index`, and of nothing else. */
static void push_sent(lua_State *L, int index, const crux_field *fields) {
  int into = lua_gettop(L) + 1;
  luaL_checkstack(L, 8, "arguments");
  lua_createtable(L, 0, 5);
  for (; fields->name; fields++) {
    char text[32];
    double cents;
    int value = into + 2, i;
    lua_pushstring(L, fields->name);
    lua_pushvalue(L, -1);
    lua_rawget(L, index);
    if (lua_isnil(L, value)) {
      lua_settop(L, into);
      continue;
    }
    switch (fields->type) {
      case CRUX_FIELD_LIST:
        lua_newtable(L);
        for (i = 1; i <= (int)crux_rawlen(L, value); i++) {
          lua_rawgeti(L, value, i);
          push_sent(L, value + 2, fields->fields);
          lua_rawseti(L, value + 1, i);
          lua_settop(L, value + 1);
        }
        break;
      case CRUX_FIELD_WHOLE: lua_pushinteger(L, (lua_Integer)lua_tonumber(L, value)); break;
      case CRUX_FIELD_DECIMAL:
        cents = cents_of(L, value);
        snprintf(text, sizeof text, "%.0f.%02d", floor(cents / 100), (int)fmod(cents, 100));
        lua_pushstring(L, text);
        break;
      default: lua_pushvalue(L, value); break;
    }
    lua_remove(L, value);
    lua_rawset(L, into);
  }
}

/* --- the request ---------------------------------------------------------------------------------------------------- */

crux_request_box *crux_check_box(lua_State *L, int index) { return crux_check(L, index, CRUX_CLASS_REQUEST); }

crux_request *crux_check_request(lua_State *L, int index) {
  crux_request *request = crux_check_box(L, index)->request;
  if (!request) luaL_error(L, "the request has ended");
  return request;
}

static bool has_options(lua_State *L, int index, bool policy) {
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING && crux_is_option(lua_tostring(L, -1), policy)) {
      lua_pop(L, 1);
      return true;
    }
  }
  return false;
}

/* A userdata with a finalizer costs more than all the rest of a request, hence the spare one. */
static crux_request_box *push_box(lua_State *L) {
  crux_request_box *box;
  crux_pushslot(L, CRUX_SLOT_SPARE);
  box = lua_touserdata(L, -1);
  if (box) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, lua_upvalueindex(1), CRUX_SLOT_SPARE);
    return box;
  }
  lua_pop(L, 1);
  box = lua_newuserdata(L, sizeof *box);
  memset(box, 0, sizeof *box);
  crux_set_class(L, CRUX_CLASS_REQUEST);
  return box;
}

static void empty(crux_request_box *box) {
  crux_drop_attempt(box);
  crux_request_release(box->request);
  crux_config_release(box->config);
  box->request = NULL;
  box->config = NULL;
}

void crux_end_request(lua_State *L, crux_request_box *box, int index) {
  empty(box);
  lua_pushvalue(L, index);
  lua_rawseti(L, lua_upvalueindex(1), CRUX_SLOT_SPARE);
}

int crux_prepare(lua_State *L, const crux_endpoint *endpoint, int index, crux_config *client, bool policy) {
  crux_request_box *box;
  crux_settings base;
  const char *path_value = "", *body = "", *token;
  size_t len = 0;
  checking c = { index, client ? client->settings.token : NULL, 0, false, false };
  bool options = false;
  int top, faults, wrong;
  box = push_box(L);
  top = lua_gettop(L);
  faults = check_object(L, index, NULL, 0, endpoint->fields, &c);
  /* unknown fields come first, so they are looked for only where there must be some or a fault was found */
  if (faults || c.foreign) {
    token = crux_token_of(L, index, c.token);
    if (crux_push_unknown(L, index, "", endpoint->fields, true, policy, token) ||
        push_unknown_within(L, index, endpoint->fields, token))
      return 2;
    options = has_options(L, index, policy);
  }
  if (client && !options) box->config = crux_config_retain(client);
  else {
    if (client) base = client->settings;
    else crux_default_settings(&base);
    wrong = crux_read_options(L, index, &base, policy, client ? client->client : 0, &box->config);
    if (wrong) return wrong;
  }
  if (faults) return faults;
  if (strchr(endpoint->path, '*')) {
    lua_pushstring(L, endpoint->fields->name);
    lua_rawget(L, index);
    path_value = lua_tostring(L, -1);
  }
  if (endpoint->has_body) {
    /* the caller's own table, where it says just what is to be sent */
    if (c.foreign || c.convert) push_sent(L, index, endpoint->fields);
    else lua_pushvalue(L, index);
    crux_json_encode(L);
    body = lua_tolstring(L, -1, &len);
  }
  box->request = crux_request_new(box->config, endpoint, path_value, body, len);
  if (!box->request) {
    lua_pushnil(L);
    lua_pushliteral(L, "out of memory");
    crux_push_failure(L, CRUX_KIND_MEMORY, NULL);
    return 2;
  }
  lua_settop(L, top);
  return 1;
}

static int request_gc(lua_State *L) {
  empty(crux_check_box(L, 1));
  return 0;
}

/* request:describe() → method, url, whether it changes nothing */
static int request_describe(lua_State *L) {
  const crux_request *r = crux_check_request(L, 1);
  lua_pushstring(L, r->endpoint->method);
  lua_pushstring(L, r->url);
  lua_pushboolean(L, r->endpoint->safe);
  return 3;
}

static int request_has_token(lua_State *L) {
  lua_pushboolean(L, crux_check_request(L, 1)->config->settings.token != NULL);
  return 1;
}

/* request:dry_run() → { method, url, headers, body } */
static int request_dry_run(lua_State *L) {
  const crux_request *r = crux_check_request(L, 1);
  const char *lines[CRUX_HEADERS];
  char length[24];
  int i, dry;
  crux_request_headers(r, "Authorization: Token [redacted]", lines);
  lua_createtable(L, 0, 4);
  dry = lua_gettop(L);
  crux_set_text(L, CRUX_KEY_method, r->endpoint->method);
  crux_set_text(L, CRUX_KEY_url, r->url);
  lua_createtable(L, 0, CRUX_HEADERS + 1);
  for (i = 0; i < CRUX_HEADERS; i++) {
    const char *colon = strchr(lines[i], ':');
    lua_pushlstring(L, lines[i], (size_t)(colon - lines[i]));
    lua_pushstring(L, colon + 2);
    lua_rawset(L, -3);
  }
  if (r->endpoint->has_body) {
    snprintf(length, sizeof length, "%zu", r->body_len);
    lua_pushstring(L, length);
    lua_setfield(L, -2, "Content-Length");
    lua_pushlstring(L, r->body, r->body_len);
    crux_setkey(L, dry, CRUX_KEY_body);
  }
  crux_setkey(L, dry, CRUX_KEY_headers);
  return 1;
}

void crux_request_open(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "describe", request_describe }, { "dry_run", request_dry_run }, { "has_token", request_has_token },
    { NULL, NULL },
  };
  crux_new_class(L, CRUX_CLASS_REQUEST, request_gc, methods);
}
