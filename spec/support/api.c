/* A table of endpoints instead of csrc/api.c, with every type, flag and nesting that rows may have.
   spec/support/api.lua links it with the rest of crux. */
#include "api.h"

static const char *const keys[] = { "date", "status", "sku_id", NULL };
static const char *const directions[] = { "asc", "desc", NULL };
static const char *const one_word[] = { "only", NULL };

static const crux_field sort_fields[] = {
  { "key", CRUX_TYPE_ENUM, CRUX_REQUIRED, 0, 0, keys, NULL },
  { "dir", CRUX_TYPE_ENUM, 0, 0, 0, directions, NULL },
  { .name = NULL },
};

static const crux_field uuid_item[] = {
  { "uuid", CRUX_TYPE_UUID, 0, 0, 0, NULL, NULL },
  { .name = NULL },
};
static const crux_field key_item[] = {
  { "key", CRUX_TYPE_ENUM, 0, 0, 0, keys, NULL },
  { .name = NULL },
};
static const crux_field text_item[] = {
  { "text", CRUX_TYPE_TEXT, 0, 0, 3, NULL, NULL },
  { .name = NULL },
};
static const crux_field whole_item[] = {
  { "whole", CRUX_TYPE_WHOLE, 0, 0, 9, NULL, NULL },
  { .name = NULL },
};
static const crux_field wholes_item[] = {
  { "wholes", CRUX_TYPE_LIST, 0, 0, 2, NULL, whole_item },
  { .name = NULL },
};
static const crux_field sort_item[] = {
  { "sort", CRUX_TYPE_OBJECT, 0, 0, 0, NULL, sort_fields },
  { .name = NULL },
};

/* Lists in objects in lists ... without an end. */
static const crux_field tree_item[];
static const crux_field tree_fields[] = {
  { "name", CRUX_TYPE_TEXT, 0, 0, 0, NULL, NULL },
  { "children", CRUX_TYPE_LIST, 0, 0, 0, NULL, tree_item },
  { .name = NULL },
};
static const crux_field tree_item[] = {
  { "child", CRUX_TYPE_OBJECT, 0, 0, 0, NULL, tree_fields },
  { .name = NULL },
};

static const crux_field every_fields[] = {
  { "flag", CRUX_TYPE_BOOLEAN, 0, 0, 0, NULL, NULL },
  { "day", CRUX_TYPE_DATE, 0, 0, 0, NULL, NULL },
  { "term", CRUX_TYPE_TEXT, 0, 0, 5, NULL, NULL },
  { "start", CRUX_TYPE_WHOLE, 0, 0, 0, NULL, NULL },
  { "sort", CRUX_TYPE_OBJECT, 0, 0, 0, NULL, sort_fields },
  { "word", CRUX_TYPE_ENUM, 0, 0, 0, one_word, NULL },
  { "uuids", CRUX_TYPE_LIST, 0, 1, 3, NULL, uuid_item },
  { "keys", CRUX_TYPE_LIST, 0, 0, 0, NULL, key_item },
  { "texts", CRUX_TYPE_LIST, 0, 2, 0, NULL, text_item },
  { "grid", CRUX_TYPE_LIST, 0, 2, 2, NULL, wholes_item },
  { "sorts", CRUX_TYPE_LIST, 0, 1, 0, NULL, sort_item },
  { "tree", CRUX_TYPE_OBJECT, 0, 0, 0, NULL, tree_fields },
  { .name = NULL },
};

static const crux_field enter_fields[] = {
  { "username", CRUX_TYPE_TEXT, CRUX_REQUIRED, 0, 0, NULL, NULL },
  { "password", CRUX_TYPE_TEXT, CRUX_REQUIRED | CRUX_SECRET, 0, 0, NULL, NULL },
  { "pin", CRUX_TYPE_WHOLE, CRUX_SECRET, 0, 99, NULL, NULL },
  { .name = NULL },
};

static const crux_field change_fields[] = {
  { "order_uuid", CRUX_TYPE_UUID, CRUX_REQUIRED | CRUX_IN_PATH, 0, 0, NULL, NULL },
  { "note", CRUX_TYPE_TEXT, 0, 0, 0, NULL, NULL },
  { "line_uuid", CRUX_TYPE_UUID, CRUX_REQUIRED | CRUX_IN_PATH, 0, 0, NULL, NULL },
  { .name = NULL },
};

#ifdef TOO_MANY
#define FIELD { "x", CRUX_TYPE_TEXT, 0, 0, 0, NULL, NULL }
#define FIELDS FIELD, FIELD, FIELD, FIELD, FIELD, FIELD, FIELD, FIELD, FIELD, FIELD
static const crux_field many_fields[] = {
  FIELDS, FIELDS, FIELDS, FIELDS, FIELDS, FIELDS, { .name = NULL },
};
#endif

static const crux_field no_fields[] = { { .name = NULL } };

static const crux_hint change_hints[] = {
  { 404, "a hint of its own" },
  { .status = 0 },
};

const crux_generation crux_generations[] = {
  { "v1", CRUX_V1, "" },
  { "timp", CRUX_TIMP, "/timp" },
  { .name = NULL },
};

const crux_endpoint crux_endpoints[] = {
  { "every", "POST", "/every/", every_fields, CRUX_V1 | CRUX_TIMP, true, true, true, NULL, NULL },
  { "enter", "POST", "/enter/", enter_fields, CRUX_V1 | CRUX_TIMP, true, false, false, NULL, NULL },
  { "change", "PATCH", "/orders/{order_uuid}/lines/{line_uuid}/change/", change_fields, CRUX_TIMP,
    true, false, true, "every", change_hints },
  { "remove", "DELETE", "/lines/{line_uuid}", change_fields, CRUX_V1, false, false, true, "every",
    NULL },
  { "nothing", "POST", "/nothing/", no_fields, CRUX_V1 | CRUX_TIMP, true, true, true, NULL, NULL },
#ifdef TOO_MANY
  { "many", "POST", "/many/", many_fields, CRUX_V1, true, true, true, NULL, NULL },
#endif
  { .name = NULL },
};

static const char *const apis[] = { "v1", "timp", NULL };

const crux_field crux_client_options[] = {
  { "token", CRUX_TYPE_TOKEN, CRUX_SECRET, 0, 0, NULL, NULL },
  { "base_url", CRUX_TYPE_BASE_URL, 0, 0, 0, NULL, NULL },
  { "api", CRUX_TYPE_ENUM, 0, 0, 0, apis, NULL },
  { "timeout", CRUX_TYPE_SECONDS, 0, 0, 60, NULL, NULL },
  { "idle_timeout", CRUX_TYPE_DURATION, 0, 0, 60, NULL, NULL },
  { .name = NULL },
};

const crux_field crux_batch_options[] = { { .name = NULL } };

const crux_hint crux_hints[] = {
  { 404, "a hint for all" },
  { .status = 0 },
};

const crux_status crux_statuses[] = {
  { 404, "Not Found" },
  { .status = 0 },
};
