/* arguments: see arguments.h. */
#include "arguments.h"

#include "options.h"

#include <stdio.h>

/* --- the writer of bodies: one for a Lua state, since nothing else runs while it is in use --- */

static crux_json_writer *writer_of(lua_State *L) { return crux_object_in(L, CRUX_SLOT_WRITER); }

void crux_wipe_body(lua_State *L) { crux_json_clear(writer_of(L)); }

static int writer_gc(lua_State *L) {
  crux_json_free(crux_check(L, 1, CRUX_CLASS_WRITER));
  return 0;
}

void crux_arguments_setup(lua_State *L) {
  int state = lua_gettop(L);
  crux_new_class(L, CRUX_CLASS_WRITER, writer_gc, NULL);
  crux_new_object_at(L, state, sizeof(crux_json_writer), CRUX_CLASS_WRITER);
  lua_rawseti(L, state, CRUX_SLOT_WRITER);
}

/* --- what is sent --- */

/* The lists of fields that arguments are checked against, as bits of crux_snapshot.given. */
enum { FIELDS = 1, OPTIONS = 2 };

/* Writes the path, with the values of the fields that are named in it. These are UUIDs, in which
   nothing has to be escaped (RFC 3986 3.3). */
static void write_target(lua_State *L, const crux_snapshot *s, const char *path, char *target) {
  size_t room = CRUX_TARGET_MAX - 1, len;
  char name[64];
  for (; *path; path += len) {
    const char *piece = path;
    size_t piece_len = len = strcspn(path, "{");
    if (len == 0) {
      piece_len = strcspn(path + 1, "}");
      len = piece_len + 2;
      snprintf(name, sizeof name, "%.*s", (int)piece_len, path + 1);
      piece = crux_snapshot_text(L, s, name);
      piece_len = strlen(piece);
    }
    if (piece_len > room) piece_len = room;
    memcpy(target, piece, piece_len);
    target += piece_len;
    room -= piece_len;
  }
  *target = '\0';
}

/* Whether the chosen generation of the API has the endpoint. */
static bool has_endpoint(lua_State *L, const crux_endpoint *endpoint, const crux_config *config,
                         crux_invalid *invalid) {
  const crux_generation *generation = crux_generations;
  while (strcmp(generation->prefix, config->settings.api_prefix) != 0) generation++;
  if (generation->bit & endpoint->generations) return true;
  lua_pushstring(L, generation->name);
  memset(invalid, 0, sizeof *invalid);
  invalid->problem = CRUX_OTHER_API;
  strcpy(invalid->path, "api");
  invalid->nearest = endpoint->name;
  invalid->number = (int)endpoint->generations;
  invalid->value = lua_gettop(L);
  return false;
}

/* A field of the same name as an option is that option, if it is left out. */
static void add_options(lua_State *L, const crux_settings *settings, const crux_endpoint *endpoint,
                        crux_snapshot *s) {
  const crux_field *field = endpoint->fields;
  int *at = s->at;
  for (; field->name; field++, at++) {
    const char *text = *at ? NULL : crux_settings_text(settings, field->name);
    if (!text) continue;
    lua_pushstring(L, text);
    *at = lua_gettop(L);
  }
}

static crux_config *config_of(lua_State *L, const crux_snapshot *s, const crux_base_url *url,
                              crux_config *client, crux_invalid *invalid) {
  crux_settings defaults;
  bool has_options = s->given & OPTIONS;
  if (client && !has_options) return crux_config_retain(client);
  if (client) return crux_make_config(L, s, url, &client->settings, client->client, invalid);
  crux_default_settings(&defaults);
  return crux_make_config(L, s, url, &defaults, 0, invalid);
}

bool crux_read_arguments(lua_State *L, int index, const crux_endpoint *endpoint,
                         const crux_field_list *options, crux_config *client,
                         crux_arguments *arguments, crux_invalid *invalid) {
  const crux_field_list lists[] = { { endpoint->fields, 0 }, *options, { NULL, 0 } };
  crux_json_writer *writer = writer_of(L);
  crux_snapshot s;
  crux_base_url url;
  arguments->config = NULL;
  crux_json_clear(writer);
  crux_snapshot_take(L, index, lists, &s);
  if (client) add_options(L, &client->settings, endpoint, &s);
  arguments->token = s.given & OPTIONS ? crux_snapshot_text(L, &s, "token") : NULL;
  if (!arguments->token && client) arguments->token = client->settings.token;
  if (!crux_schema_check(L, &s, writer, &url, invalid)) return false;
  arguments->config = config_of(L, &s, &url, client, invalid);
  if (!arguments->config || !has_endpoint(L, endpoint, arguments->config, invalid)) return false;
  write_target(L, &s, endpoint->path, arguments->target);
  arguments->body = endpoint->has_body ? writer->data : NULL;
  arguments->body_len = endpoint->has_body ? writer->len : 0;
  return true;
}
