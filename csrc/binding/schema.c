/* schema: see schema.h. */
#include "schema.h"

#include "json.h"
#include "request_headers.h"
#include "values.h"
#include "../http/outcome.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>

#define EXACT_MAX 9007199254740992.0 /* 2^53: up to here every whole number is a double */

/* Where a value stands: in a field of a table, or an item of a list. */
typedef struct place {
  const struct place *above; /* NULL: in the table that is checked */
  const char *name;          /* NULL: an item */
  int item;
} place;

typedef struct {
  lua_State *L;
  crux_json_writer *json; /* NULL: of options */
  crux_base_url *url;     /* where the option base_url is parsed into, or NULL */
  unsigned hidden;        /* flags: see crux_field_list, of the list that is checked */
  int depth;              /* of nested tables */
  bool has_unknown;       /* an unknown field was seen, at any depth */
  crux_invalid *invalid;
} checker;

/* --- places --- */

static size_t put_place(const place *at, char *into, size_t len) {
  char piece[48];
  if (!at) return len;
  len = put_place(at->above, into, len);
  if (at->name) snprintf(piece, sizeof piece, "%s%s", len > 0 ? "." : "", at->name);
  else snprintf(piece, sizeof piece, "[%d]", at->item);
  if (len + strlen(piece) >= CRUX_PATH_MAX) return len;
  strcpy(into + len, piece);
  return len + strlen(piece);
}

/* Fills in what is wrong, and where. Returns false, for the caller to return. */
static bool report(checker *c, crux_problem problem, const crux_field *field, const place *at,
                   int value) {
  crux_invalid *invalid = c->invalid;
  invalid->problem = problem;
  invalid->field = field;
  invalid->hidden = c->hidden;
  invalid->value = value;
  invalid->path[0] = '\0';
  put_place(at, invalid->path, 0);
  return false;
}

/* --- sizes --- */

static bool fits(const crux_field_list *lists, int depth) {
  const crux_field *row;
  int rows = 0;
  for (; lists->fields; lists++) {
    for (row = lists->fields; row->name; row++, rows++) {
      const crux_field_list below[] = { { row->fields, 0 }, { NULL, 0 } };
      if (row->fields && depth < CRUX_DEPTH_MAX && !fits(below, depth + 1)) return false;
    }
  }
  return rows <= CRUX_ROWS_MAX;
}

bool crux_schema_fits(const crux_field_list *lists) { return fits(lists, 0); }

/* How many items a list has; -1 for a table with other keys than 1, 2, 3. */
static int count_items(lua_State *L, int index) {
  int count = 0;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    lua_pop(L, 1);
    if (key >= 1 && key == floor(key) && !isinf(key)) count++;
    else {
      lua_pop(L, 1);
      return -1;
    }
  }
  return count;
}

/* --- values --- */

static bool is_in_range(const crux_field *field, double value) {
  return value >= field->low && (field->high == 0 || value <= field->high);
}

static crux_problem check_text(checker *c, const crux_field *field, const char *s, size_t len) {
  if (len == 0 || (field->high > 0 && (double)len > field->high) || !crux_is_utf8(s, len))
    return CRUX_WRONG_VALUE;
  if (!c->json) return memchr(s, '\0', len) ? CRUX_WRONG_VALUE : CRUX_VALID;
  crux_json_put_string(c->json, s, len);
  return CRUX_VALID;
}

static crux_problem check_choice(checker *c, const crux_field *field, const char *s, size_t len) {
  const char *const *choice = field->choices;
  while (*choice && (strcmp(*choice, s) != 0 || strlen(s) != len)) choice++;
  if (!*choice) return CRUX_WRONG_VALUE;
  if (c->json) crux_json_put_string(c->json, s, len);
  return CRUX_VALID;
}

/* For a type whose values need no escaping: the text is written as it is, in quotes. */
static crux_problem check_plain(checker *c, bool is_valid, const char *s, size_t len) {
  if (!is_valid) return CRUX_WRONG_VALUE;
  if (!c->json) return CRUX_VALID;
  crux_json_put(c->json, "\"", 1);
  crux_json_put(c->json, s, len);
  crux_json_put(c->json, "\"", 1);
  return CRUX_VALID;
}

/* Digits in a string will do for an argument, since that is how rows of databases have large
   numbers. */
static crux_problem check_whole(checker *c, const crux_field *field, int value) {
  int type = lua_type(c->L, value);
  size_t len;
  const char *s;
  double number = type == LUA_TNUMBER ? lua_tonumber(c->L, value) : -1;
  if (type == LUA_TSTRING && c->json) {
    s = lua_tolstring(c->L, value, &len);
    number = crux_whole_of_text(s, len);
  }
  if (number < 0 || number != floor(number) || !is_in_range(field, number)) return CRUX_WRONG_VALUE;
  if (!c->json) return CRUX_VALID;
  if (number > EXACT_MAX) return CRUX_WRONG_VALUE;
  crux_json_put_whole(c->json, number);
  return CRUX_VALID;
}

static crux_problem check_decimal(checker *c, int value) {
  int type = lua_type(c->L, value);
  size_t len;
  const char *s;
  double cents = type == LUA_TNUMBER ? crux_cents_of_number(lua_tonumber(c->L, value)) : -1;
  if (type == LUA_TSTRING) {
    s = lua_tolstring(c->L, value, &len);
    cents = crux_cents_of_text(s, len);
  }
  if (cents < 0) return CRUX_WRONG_VALUE;
  if (c->json) crux_json_put_cents(c->json, cents);
  return CRUX_VALID;
}

static crux_problem check_boolean(checker *c, int value) {
  bool is = lua_toboolean(c->L, value);
  if (lua_type(c->L, value) != LUA_TBOOLEAN) return CRUX_WRONG_VALUE;
  if (c->json) crux_json_put(c->json, is ? "true" : "false", is ? 4 : 5);
  return CRUX_VALID;
}

static crux_problem check_seconds(const crux_field *field, double seconds, bool may_be_zero) {
  if (!(seconds > 0 || (may_be_zero && seconds >= 0)) || isinf(seconds)) return CRUX_WRONG_VALUE;
  return field->high == 0 || seconds <= field->high ? CRUX_VALID : CRUX_WRONG_VALUE;
}

static crux_problem check_base_url(checker *c, const char *text) {
  crux_base_url unused;
  switch (text ? crux_base_url_parse(text, c->url ? c->url : &unused) : CRUX_URL_BAD) {
    case CRUX_URL_OK: return CRUX_VALID;
    case CRUX_URL_NOT_LOOPBACK: return CRUX_NOT_LOOPBACK;
    case CRUX_URL_NOMEM: return CRUX_NO_MEMORY;
    default: return CRUX_WRONG_VALUE;
  }
}

static crux_problem check_proxy(const char *text) {
  if (!text) return CRUX_WRONG_VALUE;
  switch (text[0] ? crux_proxy_parse(text) : CRUX_URL_OK) {
    case CRUX_URL_OK: return CRUX_VALID;
    case CRUX_URL_NOMEM: return CRUX_NO_MEMORY;
    default: return CRUX_WRONG_VALUE;
  }
}

static crux_problem check_file(checker *c, const char *path, crux_type type) {
  if (!path || !path[0]) return CRUX_WRONG_VALUE;
  c->invalid->number = crux_file_error(path, type == CRUX_TYPE_DIRECTORY);
  if (c->invalid->number != 0) return CRUX_BAD_FILE;
  if (type == CRUX_TYPE_KEY_FILE && crux_is_encrypted_key(path)) return CRUX_ENCRYPTED_KEY;
  return CRUX_VALID;
}

static crux_problem valid_if(bool is_valid) { return is_valid ? CRUX_VALID : CRUX_WRONG_VALUE; }

/* A list would be a set of 1, 2, 3. */
static bool is_stop_key(lua_State *L, int key) {
  double status = lua_type(L, key) == LUA_TNUMBER ? lua_tonumber(L, key) : 0;
  if (lua_type(L, key) == LUA_TSTRING)
    return crux_kind_named(lua_tostring(L, key)) != CRUX_KIND_NONE;
  return status >= 100 && status <= 999 && status == floor(status);
}

static crux_problem check_stop_set(lua_State *L, int value) {
  if (lua_isfunction(L, value)) return CRUX_VALID;
  if (lua_type(L, value) != LUA_TTABLE) return CRUX_WRONG_VALUE;
  lua_pushnil(L);
  while (lua_next(L, value)) {
    lua_pop(L, 1);
    if (is_stop_key(L, lua_gettop(L))) continue;
    lua_pop(L, 1);
    return CRUX_WRONG_VALUE;
  }
  return CRUX_VALID;
}

static bool is_limit(lua_State *L, const crux_field *field, int value, double number) {
  if (lua_type(L, value) == LUA_TBOOLEAN) return !lua_toboolean(L, value);
  return number == floor(number) && number >= field->low && number <= field->high;
}

static crux_problem check_headers(checker *c, int value) {
  if (lua_isfunction(c->L, value)) return valid_if(!(c->hidden & CRUX_LUA_ONLY));
  c->invalid->key = lua_gettop(c->L) + 1;
  c->invalid->number = (int)crux_check_headers(c->L, value);
  return c->invalid->number == CRUX_HEADERS_OK ? CRUX_VALID : CRUX_BAD_HEADER;
}

static crux_problem check_option(checker *c, const crux_field *field, int value) {
  lua_State *L = c->L;
  const char *text = crux_text_at(L, value);
  double number = lua_type(L, value) == LUA_TNUMBER ? lua_tonumber(L, value) : -1;
  switch (field->type) {
    case CRUX_TYPE_TOKEN:
      if (lua_isfunction(L, value)) return valid_if(!(c->hidden & CRUX_LUA_ONLY));
      return valid_if(text && crux_is_token(text));
    case CRUX_TYPE_BASE_URL: return check_base_url(c, text);
    case CRUX_TYPE_SECONDS: return check_seconds(field, number, false);
    case CRUX_TYPE_DURATION: return check_seconds(field, number, true);
    case CRUX_TYPE_FILE:
    case CRUX_TYPE_KEY_FILE:
    case CRUX_TYPE_DIRECTORY: return check_file(c, text, field->type);
    case CRUX_TYPE_PROXY: return check_proxy(text);
    case CRUX_TYPE_PRODUCT: return valid_if(text && crux_is_product(text));
    case CRUX_TYPE_HEADERS: return check_headers(c, value);
    case CRUX_TYPE_CACHE:
      return valid_if(lua_istable(L, value) || lua_type(L, value) == LUA_TUSERDATA);
    case CRUX_TYPE_FUNCTION: return valid_if(lua_isfunction(L, value));
    case CRUX_TYPE_TABLE: return valid_if(lua_type(L, value) == LUA_TTABLE);
    case CRUX_TYPE_RATE: return valid_if(number > 0 && !isinf(number));
    case CRUX_TYPE_LIMIT: return valid_if(is_limit(L, field, value, number));
    case CRUX_TYPE_STOP_SET: return check_stop_set(L, value);
    default: return valid_if(text); /* CRUX_TYPE_STRING */
  }
}

static crux_problem check_scalar(checker *c, const crux_field *field, int value) {
  size_t len = 0;
  const char *s = NULL;
  switch (field->type) {
    case CRUX_TYPE_WHOLE: return check_whole(c, field, value);
    case CRUX_TYPE_DECIMAL: return check_decimal(c, value);
    case CRUX_TYPE_BOOLEAN: return check_boolean(c, value);
    case CRUX_TYPE_UUID:
    case CRUX_TYPE_TEXT:
    case CRUX_TYPE_DATE:
    case CRUX_TYPE_ENUM: break;
    default: return check_option(c, field, value);
  }
  if (lua_type(c->L, value) != LUA_TSTRING) return CRUX_WRONG_VALUE;
  s = lua_tolstring(c->L, value, &len);
  switch (field->type) {
    case CRUX_TYPE_UUID: return check_plain(c, crux_is_uuid(s, len), s, len);
    case CRUX_TYPE_DATE: return check_plain(c, crux_is_date(s, len), s, len);
    case CRUX_TYPE_ENUM: return check_choice(c, field, s, len);
    default: return check_text(c, field, s, len);
  }
}

/* --- tables --- */

static bool check_rows(checker *c, const crux_field *row, const int *at, const place *above);

static void put(checker *c, const char *punctuation) {
  if (c->json) crux_json_put(c->json, punctuation, 1);
}

static bool check_object(checker *c, const crux_field *field, int value, const place *at) {
  const crux_field_list lists[] = { { field->fields, 0 }, { NULL, 0 } };
  crux_snapshot s;
  if (lua_type(c->L, value) != LUA_TTABLE) return report(c, CRUX_WRONG_VALUE, field, at, value);
  crux_snapshot_take(c->L, value, lists, &s);
  c->has_unknown = c->has_unknown || s.has_unknown;
  put(c, "{");
  if (!check_rows(c, field->fields, s.at, at)) return false;
  put(c, "}");
  return true;
}

static bool check_value(checker *c, const crux_field *field, int value, const place *at);

static bool check_list(checker *c, const crux_field *field, int value, const place *at) {
  place item = { at, NULL, 0 };
  int count;
  if (lua_type(c->L, value) != LUA_TTABLE) return report(c, CRUX_WRONG_VALUE, field, at, value);
  luaL_checkstack(c->L, 8, "too many fields");
  count = count_items(c->L, value);
  if (count < 0) return report(c, CRUX_OTHER_KEYS, field, at, value);
  c->invalid->number = count;
  if (!is_in_range(field, count)) return report(c, CRUX_ITEM_COUNT, field, at, value);
  put(c, "[");
  for (item.item = 1; item.item <= count; item.item++) {
    int top = lua_gettop(c->L) + 1;
    if (item.item > 1) put(c, ",");
    lua_rawgeti(c->L, value, item.item);
    if (lua_isnil(c->L, top)) return report(c, CRUX_HOLE, field, &item, top);
    if (!check_value(c, field->fields, top, &item)) return false;
    lua_settop(c->L, top - 1);
  }
  put(c, "]");
  return true;
}

/* What became of the JSON so far. The last byte is kept for the brace that ends it. */
static crux_problem problem_of_json(const crux_json_writer *json) {
  if (!json || (json->status == CRUX_JSON_OK && json->len < CRUX_JSON_MAX)) return CRUX_VALID;
  return json->status == CRUX_JSON_NOMEM ? CRUX_NO_MEMORY : CRUX_TOO_LONG;
}

static bool check_value(checker *c, const crux_field *field, int value, const place *at) {
  bool is_object = field->type == CRUX_TYPE_OBJECT, is_list = field->type == CRUX_TYPE_LIST;
  crux_problem problem = CRUX_VALID;
  if (is_object || is_list) {
    if (c->depth == CRUX_DEPTH_MAX) return report(c, CRUX_TOO_DEEP, field, at, value);
    c->depth++;
    if (is_object && !check_object(c, field, value, at)) return false;
    if (is_list && !check_list(c, field, value, at)) return false;
    c->depth--;
  } else problem = check_scalar(c, field, value);
  if (problem == CRUX_VALID) problem = problem_of_json(c->json);
  return problem == CRUX_VALID || report(c, problem, field, at, value);
}

/* Rows from JSON or SQL have null for what is not there. */
static bool is_absent(const checker *c, const crux_field *row, int value) {
  if (value == 0) return true;
  return c->json && row->type != CRUX_TYPE_LIST && row->type != CRUX_TYPE_OBJECT &&
         !(row->flags & CRUX_REQUIRED) && crux_is_null(c->L, value);
}

static bool check_rows(checker *c, const crux_field *row, const int *at, const place *above) {
  crux_json_writer *json = c->json;
  for (; row->name; row++, at++) {
    const place here = { above, row->name, 0 };
    bool is_valid;
    if (is_absent(c, row, *at)) {
      if (!(row->flags & CRUX_REQUIRED)) continue;
      lua_pushnil(c->L);
      return report(c, CRUX_WRONG_VALUE, row, &here, lua_gettop(c->L));
    }
    if (row->flags & CRUX_IN_PATH) c->json = NULL;
    else if (json) crux_json_put_key(json, row->name);
    is_valid = check_value(c, row, *at, &here);
    c->json = json;
    if (!is_valid) return false;
  }
  return true;
}

/* --- unknown fields --- */

/* Which of two keys that are no fields comes first: names in alphabetical order, then numbers,
   then the rest by type. */
static bool comes_before(lua_State *L, int a, int b) {
  int ta = lua_type(L, a), tb = lua_type(L, b);
  if (ta == LUA_TSTRING && tb == LUA_TSTRING)
    return strcmp(lua_tostring(L, a), lua_tostring(L, b)) < 0;
  if (ta == LUA_TNUMBER && tb == LUA_TNUMBER) return lua_tonumber(L, a) < lua_tonumber(L, b);
  if (ta == LUA_TSTRING || tb == LUA_TSTRING) return ta == LUA_TSTRING;
  if (ta == LUA_TNUMBER || tb == LUA_TNUMBER) return ta == LUA_TNUMBER;
  return ta < tb;
}

static bool is_known_key(lua_State *L, int key, const crux_field_list *lists) {
  size_t len;
  int number, list;
  const char *name = lua_type(L, key) == LUA_TSTRING ? lua_tolstring(L, key, &len) : NULL;
  return name && crux_find_row(lists, name, len, &number, &list);
}

/* Of several, the first, since a table has no order. */
static void report_unknown(checker *c, const crux_snapshot *s, const place *at) {
  lua_State *L = c->L;
  crux_invalid *invalid = c->invalid;
  int first = lua_gettop(L) + 1, i = 0;
  lua_pushnil(L);
  lua_pushnil(L);
  while (lua_next(L, s->table)) {
    lua_pop(L, 1);
    if (is_known_key(L, first + 1, s->lists)) continue;
    if (!lua_isnil(L, first) && !comes_before(L, first + 1, first)) continue;
    lua_pushvalue(L, first + 1);
    lua_replace(L, first);
  }
  report(c, CRUX_UNKNOWN_FIELD, NULL, at, first);
  for (; i < CRUX_LISTS_MAX; i++) {
    invalid->lists[i] = s->lists[i];
    if (!s->lists[i].fields) break;
  }
  invalid->nearest = NULL;
  if (lua_type(L, first) == LUA_TSTRING)
    invalid->nearest = crux_nearest_name(s->lists, lua_tostring(L, first));
}

static bool find_unknown_value(checker *c, const crux_field *field, int value, const place *at);

/* Whether a table holds an unknown field, at any depth; then the first is reported. */
static bool find_unknown(checker *c, const crux_snapshot *s, const place *at) {
  const crux_field_list *list = s->lists;
  const crux_field *row;
  const int *value = s->at;
  if (s->has_unknown) {
    report_unknown(c, s, at);
    return true;
  }
  for (; list->fields; list++) {
    for (row = list->fields; row->name; row++, value++) {
      const place here = { at, row->name, 0 };
      if (*value && find_unknown_value(c, row, *value, &here)) return true;
    }
  }
  return false;
}

static bool find_unknown_object(checker *c, const crux_field *field, int value, const place *at) {
  const crux_field_list lists[] = { { field->fields, 0 }, { NULL, 0 } };
  crux_snapshot s;
  int top = lua_gettop(c->L);
  crux_snapshot_take(c->L, value, lists, &s);
  if (find_unknown(c, &s, at)) return true;
  lua_settop(c->L, top);
  return false;
}

/* Holes and other keys in the list are problems too, but reported later. */
static bool find_unknown_item(checker *c, const crux_field *field, int value, const place *at) {
  lua_State *L = c->L;
  place item = { at, NULL, 0 };
  int top = lua_gettop(L);
  double first = 0;
  luaL_checkstack(L, 8, "too many fields");
  lua_pushnil(L);
  while (lua_next(L, value)) {
    double key = lua_type(L, top + 1) == LUA_TNUMBER ? lua_tonumber(L, top + 1) : 0;
    if (key >= 1 && key <= INT_MAX && key == floor(key) && (first == 0 || key < first) &&
        find_unknown_value(c, field->fields, top + 2, &item))
      first = key;
    lua_settop(L, top + 1);
  }
  if (first == 0) return false;
  item.item = (int)first;
  lua_rawgeti(L, value, item.item);
  return find_unknown_value(c, field->fields, top + 1, &item);
}

static bool find_unknown_value(checker *c, const crux_field *field, int value, const place *at) {
  bool is_found = false;
  if (lua_type(c->L, value) != LUA_TTABLE || c->depth == CRUX_DEPTH_MAX) return false;
  c->depth++;
  if (field->type == CRUX_TYPE_OBJECT) is_found = find_unknown_object(c, field, value, at);
  if (field->type == CRUX_TYPE_LIST) is_found = find_unknown_item(c, field, value, at);
  c->depth--;
  return is_found;
}

/* --- all --- */

bool crux_schema_check(lua_State *L, const crux_snapshot *s, crux_json_writer *json,
                       crux_base_url *url, crux_invalid *invalid) {
  checker c = { L, json, url, 0, 0, s->has_unknown, invalid };
  const crux_field *row;
  const int *at = s->at;
  bool is_valid = true;
  int i;
  invalid->problem = CRUX_VALID;
  put(&c, "{");
  for (i = 0; is_valid && s->lists[i].fields; i++) {
    c.hidden = s->lists[i].hidden;
    if (i == 0 || s->given & (1u << i)) is_valid = check_rows(&c, s->lists[i].fields, at, NULL);
    if (i == 0) put(&c, "}");
    c.json = NULL;
    for (row = s->lists[i].fields; row->name; row++) at++;
  }
  if (is_valid && json && json->status != CRUX_JSON_OK)
    is_valid = report(&c, CRUX_NO_MEMORY, NULL, NULL, s->table);
  if (is_valid && !c.has_unknown) return true;
  c.depth = 0;
  if (find_unknown(&c, s, NULL)) return false;
  return is_valid;
}
