/* client: the options of a client, and the client itself. */
#include "client.h"

#include "../os/process.h"
#include "arguments.h"
#include "error.h"
#include "fault.h"
#include "json.h"
#include "perform.h"
#include "request.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY_MAX (64 * 1024 * 1024) /* lua-cjson does not survive strings of hundreds of megabytes */

typedef enum {
  OPTION_TOKEN, OPTION_BASE_URL, OPTION_API, OPTION_SECONDS, OPTION_DURATION, OPTION_WHOLE,
  OPTION_FILE, OPTION_KEY, OPTION_DIRECTORY, OPTION_TEXT, OPTION_PROXY, OPTION_PRODUCT, OPTION_FUNCTION
} option_type;

typedef struct {
  const char *name;
  option_type type;
  bool policy;      /* known to the Lua layer alone */
  size_t offset;    /* where crux_settings keeps it; 0 (`origin`'s place) if it does not */
  double low, high; /* of a whole number */
} option;

#define AT(field) offsetof(crux_settings, field)

/* In the order in which faults are reported. */
static const option options[] = {
  { "token", OPTION_TOKEN, false, AT(token), 0, 0 },
  { "base_url", OPTION_BASE_URL, false, 0, 0, 0 },
  { "api", OPTION_API, false, AT(api_prefix), 0, 0 },
  { "timeout", OPTION_SECONDS, false, AT(timeout), 0, 0 },
  { "connect_timeout", OPTION_SECONDS, false, AT(connect_timeout), 0, 0 },
  { "retries", OPTION_WHOLE, true, 0, 0, 10 },
  { "max_connections", OPTION_WHOLE, false, AT(max_connections), 1, 65535 },
  { "idle_timeout", OPTION_DURATION, false, AT(idle_timeout), 0, 0 },
  { "connection_lifetime", OPTION_SECONDS, false, AT(connection_lifetime), 0, 0 },
  { "ca_file", OPTION_FILE, false, AT(ca_file), 0, 0 },
  { "ca_path", OPTION_DIRECTORY, false, AT(ca_path), 0, 0 },
  { "cert_file", OPTION_KEY, false, AT(cert_file), 0, 0 },
  { "key_file", OPTION_KEY, false, AT(key_file), 0, 0 },
  { "proxy", OPTION_PROXY, false, AT(proxy), 0, 0 },
  { "no_proxy", OPTION_TEXT, false, AT(no_proxy), 0, 0 },
  { "user_agent", OPTION_PRODUCT, false, AT(user_agent), 0, 0 },
  { "max_body", OPTION_WHOLE, false, AT(max_body), 1, BODY_MAX },
  { "on_event", OPTION_FUNCTION, true, 0, 0, 0 },
};

enum { OPTIONS = sizeof options / sizeof *options };

/* --- names --- */

bool crux_is_option(const char *name, bool policy) {
  size_t i;
  for (i = 0; i < OPTIONS; i++) {
    if (strcmp(options[i].name, name) == 0) return policy || !options[i].policy;
  }
  return false;
}

const char *crux_option_name(int i, bool policy) {
  if (i >= OPTIONS) return NULL;
  return policy || !options[i].policy ? options[i].name : "";
}

const char *crux_nearest_option(const char *name, bool policy, int *distance, const char *so_far) {
  size_t i;
  for (i = 0; i < OPTIONS; i++) {
    int d = crux_edit_distance(name, options[i].name);
    if (d < *distance && crux_is_option(options[i].name, policy)) {
      *distance = d;
      so_far = options[i].name;
    }
  }
  return so_far;
}

/* --- values --- */

/* A C string, or NULL for anything else. */
static const char *text_at(lua_State *L, int index) {
  size_t len;
  const char *s = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : NULL;
  return s && strlen(s) == len ? s : NULL;
}

const char *crux_token_of(lua_State *L, int index, const char *otherwise) {
  const char *token;
  lua_pushliteral(L, "token");
  lua_rawget(L, index);
  token = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : otherwise;
  lua_pop(L, 1);
  return token;
}

bool crux_is_text(lua_State *L, int index, const char *text) {
  return text && lua_type(L, index) == LUA_TSTRING && strcmp(lua_tostring(L, index), text) == 0;
}

bool crux_ends_line(const char *s) {
  size_t len = s ? strlen(s) : 0;
  return len > 0 && (s[len - 1] == '\n' || s[len - 1] == '\r');
}

bool crux_is_token(const char *s) {
  size_t len = strlen(s);
  while (*s > ' ' && *s < 127) s++;
  return len > 0 && len <= 8192 && *s == '\0';
}

static bool is_tchar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* RFC 9110: product = token ["/" product-version] */
static bool is_product(const char *s) {
  size_t name = 0, version = 0;
  if (strlen(s) > 256) return false;
  while (is_tchar(s[name])) name++;
  if (name == 0) return false;
  if (s[name] == '\0') return true;
  if (s[name] != '/') return false;
  for (s += name + 1; is_tchar(s[version]); version++) continue;
  return version > 0 && s[version] == '\0';
}

/* Why a file cannot be used, as errno; 0 if it can. */
static int file_error(const char *path, bool directory) {
  struct stat st;
  if (stat(path, &st) != 0) return errno;
  if (directory) return !S_ISDIR(st.st_mode) ? ENOTDIR : access(path, R_OK | X_OK) != 0 ? errno : 0;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  if (!S_ISREG(st.st_mode)) return EINVAL; /* whoever opens a pipe may wait for ever */
  return access(path, R_OK) != 0 ? errno : 0;
}

/* RFC 7468 11, and the older form of RFC 1421: libcurl has no password for the key, and OpenSSL
   would ask for it on the terminal. */
static bool is_encrypted(const char *path) {
  char line[128];
  bool found = false;
  FILE *file = fopen(path, "r");
  if (!file) return false;
  while (!found && fgets(line, sizeof line, file))
    found = strncmp(line, "-----BEGIN ENCRYPTED PRIVATE KEY", 32) == 0 ||
            strncmp(line, "Proc-Type: 4,ENCRYPTED", 22) == 0;
  fclose(file);
  return found;
}

/* Pushes what is wrong with a path, or returns true. */
static bool check_path(lua_State *L, const char *path, option_type type) {
  const char *what = type == OPTION_DIRECTORY ? "a readable directory" : "a readable file";
  int error;
  if (!path || !path[0]) {
    crux_push_expected(L, what, -1, false);
    return false;
  }
  error = file_error(path, type == OPTION_DIRECTORY);
  if (error) lua_pushfstring(L, "expected %s, found '%s': %s", what, path, strerror(error));
  else if (type == OPTION_KEY && is_encrypted(path))
    lua_pushfstring(L, "expected a private key without a password, found '%s' encrypted", path);
  else return true;
  return false;
}

/* Appends a text to the message on top. */
static void add_to_message(lua_State *L, const char *more) {
  lua_pushstring(L, more);
  lua_concat(L, 2);
}

#define BASE_URL "an https:// URL with no user, query or fragment"

/* Whether it looks like host[:port][/path], and so is no secret in the wrong place. */
static bool is_hostlike(const char *s) {
  size_t len = strlen(s), host = strcspn(s, ":/"), digits;
  if (len > 100 || host == 0 || strstr(s, "//")) return false;
  if (strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:/") != len)
    return false;
  if (s[host] == ':') {
    digits = strspn(s + host + 1, "0123456789");
    if (digits == 0 || strchr(s + host + 1, ':')) return false;
  }
  return memchr(s, '.', host) || (host == 9 && strncasecmp(s, "localhost", 9) == 0);
}

/* With the value on top: pushes what is wrong with it, and how to write it if only the scheme
   is missing. `text`: it may be shown. `url` is for the parser. */
static void push_bad_url(lua_State *L, const char *text, crux_base_url *url) {
  static const char *const schemes[] = { "http://", "https://" }; /* the first: this machine alone */
  char whole[128];
  int i;
  crux_push_expected(L, BASE_URL, -1, false);
  if (!text || !is_hostlike(text)) return;
  for (i = 0; i < 2; i++) {
    snprintf(whole, sizeof whole, "%s%s", schemes[i], text);
    if (crux_base_url_parse(whole, url) != CRUX_URL_OK) continue;
    lua_pop(L, 1);
    lua_pushfstring(L, "expected " BASE_URL ", found '%s': write '%s'", text, whole);
    return;
  }
}

/* True: the value on top is in `s`, its strings as long as the table they came from. False:
   what is wrong with it was pushed as a message, or nil for want of memory. */
static bool read_value(lua_State *L, const option *o, bool policy, crux_settings *s, crux_base_url *url) {
  char *place = (char *)s + o->offset;
  const char *text = text_at(L, -1);
  double number = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
  bool echo = !crux_is_text(L, -1, s->token);
  char what[96];
  switch (o->type) {
    case OPTION_TOKEN:
      if (policy && lua_isfunction(L, -1)) {
        s->token = NULL;
        return true;
      }
      if (text && crux_is_token(text)) break;
      crux_push_expected(L, policy ? "a string of printable ASCII without spaces, or a function"
                                   : "a string of printable ASCII without spaces", -1, false);
      if (crux_ends_line(text)) add_to_message(L, " that ends in a newline");
      return false;
    case OPTION_BASE_URL:
      switch (text ? crux_base_url_parse(text, url) : CRUX_URL_BAD) {
        case CRUX_URL_OK:
          s->origin = url->origin;
          s->prefix = url->prefix;
          s->tls = url->tls;
          return true;
        case CRUX_URL_NOT_LOOPBACK:
          lua_pushliteral(L, "expected https, found http to another machine, where a token would be readable");
          return false;
        case CRUX_URL_NOMEM: lua_pushnil(L); return false;
        default:
          push_bad_url(L, echo ? text : NULL, url);
          return false;
      }
    case OPTION_API:
      if (text && strcmp(text, "v1") == 0) s->api_prefix = "";
      else if (text && strcmp(text, "timp") == 0) s->api_prefix = "/timp";
      else {
        crux_push_expected(L, "'v1' or 'timp'", -1, echo);
        return false;
      }
      return true;
    case OPTION_SECONDS:
      if (number > 0 && number <= HUGE_VAL && !isinf(number)) {
        *(double *)(void *)place = number;
        return true;
      }
      crux_push_expected(L, "a positive, finite number of seconds", -1, echo);
      return false;
    case OPTION_DURATION:
      if (number >= 0 && number <= HUGE_VAL && !isinf(number)) {
        *(double *)(void *)place = number;
        return true;
      }
      crux_push_expected(L, "a finite number of seconds, 0 or more", -1, echo);
      return false;
    case OPTION_WHOLE:
      if (number >= o->low && number <= o->high && number == floor(number)) {
        if (o->offset == AT(max_body)) s->max_body = (size_t)number;
        else if (o->offset == AT(max_connections)) s->max_connections = (unsigned)number;
        return true;
      }
      snprintf(what, sizeof what, "a whole number from %.0f to %.0f", o->low, o->high);
      crux_push_expected(L, what, -1, echo);
      return false;
    case OPTION_PROXY:
      switch (text ? (text[0] ? crux_proxy_parse(text) : CRUX_URL_OK) : CRUX_URL_BAD) {
        case CRUX_URL_OK: break;
        case CRUX_URL_NOMEM: lua_pushnil(L); return false;
        default: crux_push_expected(L, "a proxy URL, or an empty string for none", -1, false); return false;
      }
      break;
    case OPTION_PRODUCT:
      if (text && is_product(text)) break;
      crux_push_expected(L, "a product token such as 'shop/1.2'", -1, false);
      return false;
    case OPTION_FILE:
    case OPTION_KEY:
    case OPTION_DIRECTORY:
      if (check_path(L, text, o->type)) break;
      return false;
    case OPTION_TEXT:
      if (text) break;
      crux_push_expected(L, "a string", -1, false);
      return false;
    case OPTION_FUNCTION:
      if (lua_isfunction(L, -1)) return true;
      crux_push_expected(L, "a function", -1, echo);
      return false;
  }
  memcpy(place, &text, sizeof text);
  return true;
}

static const char *agent(void) { return "crux/" CRUX_VERSION; }

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

/* 0; or nil and err pushed, and their number returned, if this libcurl does not know an option
   that was asked for. */
static int check_libcurl(lua_State *L, const crux_settings *s) {
  const char *name = NULL;
  CURLcode code;
  if (!s->tls || !(s->ca_file || s->ca_path || s->cert_file || (s->proxy && s->proxy[0]))) return 0;
  if (!crux_process_enter()) return 0;
  code = crux_connection_check(s, &name);
  crux_process_leave();
  if (code == CURLE_OK) return 0;
  if (code == CURLE_OUT_OF_MEMORY) return crux_fail(L, CRUX_KIND_MEMORY, "out of memory");
  lua_pushfstring(L, "expected a libcurl that knows it, found %s: %s", curl_version(),
                  curl_easy_strerror(code));
  return crux_fault(L, "", name);
}

int crux_read_options(lua_State *L, int index, const crux_settings *base, bool policy, unsigned long client,
                      crux_config **into) {
  crux_settings s;
  crux_base_url url;
  size_t i;
  int count;
  s = *base;
  for (i = 0; i < OPTIONS; i++) {
    const option *o = &options[i];
    if (o->policy && !policy) continue;
    lua_pushstring(L, o->name);
    lua_rawget(L, index);
    if (!lua_isnil(L, -1) && !read_value(L, o, policy, &s, &url))
      return lua_isnil(L, -1) ? crux_fail(L, CRUX_KIND_MEMORY, "out of memory") : crux_fault(L, "", o->name);
    lua_pop(L, 1);
  }
  if (s.key_file && !s.cert_file) {
    lua_pushliteral(L, "expected cert_file too, found none");
    return crux_fault(L, "", "key_file");
  }
  count = check_libcurl(L, &s);
  if (count > 0) return count;
  *into = crux_config_new(&s, agent(), client);
  return *into ? 0 : crux_fail(L, CRUX_KIND_MEMORY, "out of memory");
}

/* --- the userdata --- */

static crux_client *check_client(lua_State *L) {
  crux_client *c = crux_check(L, 1, CRUX_CLASS_CLIENT);
  if (c->closed) luaL_error(L, "the client is closed");
  return c;
}

static int client_close(lua_State *L) {
  crux_client *c = crux_check(L, 1, CRUX_CLASS_CLIENT);
  c->closed = true;
  crux_sweep(L);
  return 0;
}

static int client_gc(lua_State *L) {
  crux_client *c = crux_check(L, 1, CRUX_CLASS_CLIENT);
  crux_config_release(c->config);
  c->config = NULL;
  c->closed = true;
  crux_sweep(L);
  return 0;
}

/* core.client(options) → client | nil, err: for the Lua layer, which adds what the environment
   sets. */
int crux_client_new(lua_State *L) {
  crux_client *c;
  crux_settings base;
  int count;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  /* its finalizer would not be run any more */
  if (crux_json_is_gone(L))
    return crux_fail(L, CRUX_KIND_ABORTED, "the Lua state is being closed");
  crux_default_settings(&base);
  c = crux_new_object(L, sizeof *c, CRUX_CLASS_CLIENT);
  if (crux_push_unknown(L, 1, "", NULL, true, true, crux_token_of(L, 1, NULL))) return 2;
  count = crux_read_options(L, 1, &base, true, 0, &c->config);
  if (count > 0) return count;
  lua_settop(L, 2);
  return 1;
}

/* Raises, with the names that there are. What is no name may be a secret in the wrong place. */
static void raise_unknown_call(lua_State *L, const char *name) {
  const crux_endpoint *endpoint;
  luaL_Buffer list;
  size_t len = name ? strlen(name) : 0;
  bool is_name = len > 0 && len <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz_") == len;
  if (is_name) lua_pushfstring(L, "expected the name of a call, found '%s'; there are ", name);
  else
    lua_pushfstring(L, "expected the name of a call, found %s %s; there are ", name ? "another" : "a",
                    luaL_typename(L, 2));
  luaL_buffinit(L, &list);
  for (endpoint = crux_endpoints; endpoint->name; endpoint++) {
    if (endpoint != crux_endpoints) luaL_addstring(&list, ", ");
    luaL_addstring(&list, endpoint->name);
  }
  luaL_pushresult(&list);
  lua_concat(L, 2);
  lua_error(L);
}

/* The endpoint that the name at 2 is for. */
static const crux_endpoint *check_endpoint(lua_State *L) {
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
  const crux_endpoint *endpoint = name ? crux_endpoint_find(name) : NULL;
  if (!endpoint) raise_unknown_call(L, name);
  return endpoint;
}

/* With the handle on top: pushes its deadline and whether options stand among the arguments. */
static void push_terms(lua_State *L, const crux_client *c, const crux_request_handle *handle,
                       double now) {
  lua_pushnumber(L, now + handle->config->settings.timeout);
  lua_pushboolean(L, handle->config != c->config);
}

/* client:prepare(name, arguments) → request, its deadline, whether options stand among the
   arguments; or nil, err */
static int client_prepare(lua_State *L) {
  crux_client *c = check_client(L);
  const crux_endpoint *endpoint = check_endpoint(L);
  crux_request_handle *handle;
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  handle = crux_push_request(L);
  if (crux_prepare(L, handle, endpoint, 3, c->config, true) != 0) return 2;
  push_terms(L, c, handle, crux_now());
  return 3;
}

/* client:call(name, arguments) → result, after one attempt; or nil, err of it, and as from
   `prepare` for further ones. Arguments with a fault: nil, err. Options among them: nil, nil,
   and as from `prepare` for the first attempt. */
static int client_call(lua_State *L) {
  crux_client *c = check_client(L);
  const crux_endpoint *endpoint = check_endpoint(L);
  crux_request_handle *handle;
  double now;
  int count;
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  handle = crux_take_reusable_request(L);
  count = crux_prepare(L, handle, endpoint, 3, c->config, true);
  if (count == 0) {
    now = crux_now();
    if (handle->config != c->config) {
      lua_pushnil(L);
      lua_pushnil(L);
      count = 2;
    } else count = crux_perform(L, handle, NULL, now + handle->config->settings.timeout);
    if (count == 2) {
      lua_pushvalue(L, 4);
      push_terms(L, c, handle, now);
      return 5;
    }
  }
  crux_put_reusable_request(L, handle, 4);
  return count;
}

/* client:describe(open) → what it is, without the token; `open`: raises if it is closed */
static int client_describe(lua_State *L) {
  const crux_client *c = lua_toboolean(L, 2) ? check_client(L) : crux_check(L, 1, CRUX_CLASS_CLIENT);
  if (c->closed) lua_pushliteral(L, "crux.client (closed)");
  else {
    const crux_settings *s = &c->config->settings;
    lua_pushfstring(L, "crux.client (%s%s%s)", s->origin, s->prefix, s->api_prefix);
  }
  return 1;
}

void crux_client_open(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "prepare", client_prepare },
    { "call", client_call },
    { "describe", client_describe },
    { "close", client_close },
    { NULL, NULL },
  };
  crux_new_class(L, CRUX_CLASS_CLIENT, client_gc, methods);
}
