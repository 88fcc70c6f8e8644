/* options: see options.h. */
#include "options.h"

#include "../http/connection.h"
#include "../os/process.h"

const crux_field_list crux_lua_options = { crux_client_options, 0 };
const crux_field_list crux_core_options = { crux_client_options, CRUX_LUA_ONLY };

static const char agent[] = "crux/" CRUX_VERSION;

/* lua/crux/api.lua repeats these, for the documentation: a spec compares them. */
void crux_default_settings(crux_settings *s) {
  memset(s, 0, sizeof *s);
  s->origin = CRUX_SANDBOX;
  s->prefix = s->api_prefix = "";
  s->tls = true;
  s->timeout = 30;
  s->connect_timeout = 10;
  s->idle_timeout = 15;
  s->connection_lifetime = 300;
  s->max_connections = 32;
  s->max_body = 1024 * 1024;
}

/* --- from an option to its field of crux_settings --- */

#define FIELD(name) { #name, offsetof(crux_settings, name) }

static const struct {
  const char *name;
  size_t offset;
} texts[] = {
  FIELD(token), FIELD(username), FIELD(password), FIELD(ca_file), FIELD(ca_path),
  FIELD(cert_file), FIELD(key_file), FIELD(proxy), FIELD(no_proxy), FIELD(user_agent),
}, seconds[] = {
  FIELD(timeout), FIELD(connect_timeout), FIELD(idle_timeout), FIELD(connection_lifetime),
};

const char *crux_settings_text(const crux_settings *s, const char *name) {
  const char *text = NULL;
  size_t i;
  for (i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (strcmp(texts[i].name, name) == 0)
      memcpy(&text, (const char *)s + texts[i].offset, sizeof text);
  }
  return text;
}

static const char *prefix_of(const char *api) {
  const crux_generation *generation = crux_generations;
  while (strcmp(generation->name, api) != 0) generation++;
  return generation->prefix;
}

/* An option that only the Lua layer acts on has no field here, and is not stored. */
static void store(lua_State *L, const char *name, int value, const crux_base_url *url,
                  crux_settings *s) {
  const char *text = lua_type(L, value) == LUA_TSTRING ? lua_tostring(L, value) : NULL;
  double number = text ? 0 : lua_tonumber(L, value);
  size_t i;
  for (i = 0; i < sizeof texts / sizeof *texts; i++) {
    /* a token function leaves no token */
    if (strcmp(texts[i].name, name) == 0) memcpy((char *)s + texts[i].offset, &text, sizeof text);
  }
  for (i = 0; i < sizeof seconds / sizeof *seconds; i++) {
    if (strcmp(seconds[i].name, name) == 0)
      memcpy((char *)s + seconds[i].offset, &number, sizeof number);
  }
  if (strcmp(name, "token") == 0) s->token_function = !text;
  if (strcmp(name, "max_connections") == 0) s->max_connections = (unsigned)number;
  if (strcmp(name, "max_body") == 0) s->max_body = (size_t)number;
  if (strcmp(name, "api") == 0) s->api_prefix = prefix_of(text);
  if (strcmp(name, "base_url") == 0) {
    s->origin = url->origin;
    s->prefix = url->prefix;
    s->tls = url->tls;
  }
}

/* --- options that do not go together --- */

static void blame(crux_invalid *invalid, crux_problem problem, const char *name) {
  const crux_field *row = crux_client_options;
  while (row->name && strcmp(row->name, name) != 0) row++;
  memset(invalid, 0, sizeof *invalid);
  invalid->problem = problem;
  invalid->field = row;
  strcpy(invalid->path, name);
}

/* A call's own token replaces a user of the environment, and its own user such a token. */
static void set_aside(crux_settings *settings, const crux_snapshot *s) {
  static const char *const names[] = { "token", "username", "password" };
  bool given[3];
  int i, number, list;
  if (!settings->environment) return;
  for (i = 0; i < 3; i++)
    given[i] = crux_find_row(s->lists, names[i], strlen(names[i]), &number, &list) &&
               s->at[number];
  if (given[0]) settings->username = settings->password = NULL;
  if (given[1] || given[2]) settings->token = NULL;
  if (given[0] || given[1] || given[2]) settings->environment = false;
}

/* Whether the options go together. */
static bool is_consistent(const crux_settings *s, crux_invalid *invalid) {
  static const struct {
    const char *alone, *other;
  } pairs[] = {
    { "key_file", "cert_file" }, { "username", "password" }, { "password", "username" },
  };
  size_t i;
  for (i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    if (!crux_settings_text(s, pairs[i].alone) || crux_settings_text(s, pairs[i].other)) continue;
    blame(invalid, CRUX_ALONE, pairs[i].alone);
    invalid->nearest = pairs[i].other;
    return false;
  }
  if (!s->token_function || !s->username) return true;
  blame(invalid, CRUX_TWO_CREDENTIALS, "token");
  return false;
}

/* Whether this libcurl supports what the options for TLS and the proxy ask of it. */
static bool is_built_in(const crux_settings *s, crux_invalid *invalid) {
  const char *name = NULL;
  CURLcode code;
  if (!s->tls || !(s->ca_file || s->ca_path || s->cert_file || (s->proxy && s->proxy[0])))
    return true;
  if (!crux_process_enter()) return true;
  code = crux_connection_check(s, &name);
  crux_process_leave();
  if (code == CURLE_OK) return true;
  if (code == CURLE_OUT_OF_MEMORY) invalid->problem = CRUX_NO_MEMORY;
  else {
    blame(invalid, CRUX_NOT_BUILT_IN, name);
    invalid->number = (int)code;
  }
  return false;
}

/* --- headers --- */

bool crux_merge_headers(lua_State *L, int above, const char *own, int beneath,
                        crux_header_lines *lines, crux_invalid *invalid) {
  int key = lua_gettop(L) + 1, value = above;
  crux_headers_problem problem = CRUX_HEADERS_OK;
  crux_header_lines_clear(lines);
  if (above) problem = crux_header_lines_add_table(lines, L, above);
  if (problem == CRUX_HEADERS_OK && own) problem = crux_header_lines_add(lines, own);
  if (problem == CRUX_HEADERS_OK && beneath) {
    value = beneath;
    problem = crux_header_lines_add_table(lines, L, beneath);
  }
  if (problem == CRUX_HEADERS_OK) return true;
  blame(invalid, CRUX_BAD_HEADER, "headers");
  invalid->hidden = CRUX_LUA_ONLY; /* a function will not do */
  invalid->value = value;
  invalid->key = key;
  invalid->number = (int)problem;
  return false;
}

/* --- all --- */

/* Overrides settings by the options in the snapshot. False: options that do not go together. */
static bool read_options(lua_State *L, const crux_snapshot *s, const crux_base_url *url,
                         crux_settings *settings, crux_header_lines *lines,
                         crux_invalid *invalid) {
  const crux_field_list *list = s->lists;
  const crux_field *row;
  const int *value = s->at;
  set_aside(settings, s);
  for (; list->fields; list++) {
    for (row = list->fields; row->name; row++, value++) {
      if (*value && list->fields == crux_client_options) store(L, row->name, *value, url, settings);
      if (*value && row->type == CRUX_TYPE_HEADERS && !lua_isfunction(L, *value)) {
        if (!crux_merge_headers(L, *value, settings->headers, 0, lines, invalid)) return false;
        settings->headers = lines->text;
      }
    }
  }
  return is_consistent(settings, invalid) && is_built_in(settings, invalid);
}

crux_config *crux_make_config(lua_State *L, const crux_snapshot *s, const crux_base_url *url,
                              const crux_settings *base, unsigned long client,
                              crux_invalid *invalid) {
  crux_settings settings = *base;
  crux_header_lines lines;
  crux_config *config = NULL;
  lines.len = 0;
  if (read_options(L, s, url, &settings, &lines, invalid)) {
    config = crux_config_new(&settings, agent, client);
    if (!config) invalid->problem = CRUX_NO_MEMORY;
  }
  if (lines.len > 0) crux_header_lines_wipe(&lines);
  return config;
}
