/* api: see api.h. */
#include "api.h"

/* --- fields --- */

static const crux_field sku_fields[] = {
  { "supplier_uuid", CRUX_TYPE_UUID, CRUX_REQUIRED, 0, 0, NULL, NULL },
  { "sku_id", CRUX_TYPE_TEXT, 0, 0, 0, NULL, NULL },
  { "quantity", CRUX_TYPE_WHOLE, 0, 1, 2147483647, NULL, NULL },
  { "price", CRUX_TYPE_DECIMAL, 0, 0, 0, NULL, NULL },
  { "expected_sku_cost", CRUX_TYPE_DECIMAL, 0, 0, 0, NULL, NULL },
  { .name = NULL },
};

static const crux_field skus_item[] = {
  { "sku", CRUX_TYPE_OBJECT, 0, 0, 0, NULL, sku_fields },
  { .name = NULL },
};

static const crux_field cancel_order_fields[] = {
  { "order_uuid", CRUX_TYPE_UUID, CRUX_REQUIRED, 0, 0, NULL, NULL },
  { "skus", CRUX_TYPE_LIST, 0, 1, 0, NULL, skus_item },
  { .name = NULL },
};

static const crux_field get_order_fields[] = {
  { "order_uuid", CRUX_TYPE_UUID, CRUX_REQUIRED | CRUX_IN_PATH, 0, 0, NULL, NULL },
  { .name = NULL },
};

/* --- hints --- */

static const crux_hint cancel_order_hints[] = {
  { 403, "the token's user lacks the permission (cancel_order, for cancelling)" },
  { 404, "no such URL, or no such order: check base_url, api and order_uuid" },
  { 409, "the token belongs to an organization of the wrong kind: cancelling is for retailers" },
  { 422, "the order is unknown, or cannot be cancelled any more: look at it with get_order" },
  { .status = 0 },
};

static const crux_hint get_order_hints[] = {
  { 404, "no such URL, or no such order: check base_url, api and order_uuid" },
  { 422, "the order is unknown" },
  { .status = 0 },
};

const crux_hint crux_hints[] = {
  { 301, "redirects are not followed: is base_url the service's own?" },
  { 307, "redirects are not followed: is base_url the service's own?" },
  { 308, "redirects are not followed: is base_url the service's own?" },
  { 400, "something required is missing or malformed" },
  { 401, "the token is wrong or has expired: tokens expire two hours after they were issued, log "
         "in again" },
  { 403, "the token's user lacks the permission" },
  { 404, "no such URL: check base_url and api" },
  { 405, "the URL does not take this method: is base_url the service's own, with no path too "
         "many?" },
  { 409, "the token belongs to an organization of the wrong kind" },
  { 415, "the Content-Type did not arrive as application/json: does a proxy change it?" },
  { 429, "wait before the next call" },
  { .status = 0 },
};

const crux_status crux_statuses[] = {
  { 301, "Moved Permanently" },
  { 307, "Temporary Redirect" },
  { 308, "Permanent Redirect" },
  { 400, "Bad Request" },
  { 401, "Unauthorized" },
  { 403, "Permission Denied" },
  { 404, "Not Found" },
  { 405, "Method Not Allowed" },
  { 409, "Critical" },
  { 415, "Unsupported Media Type" },
  { 422, "Unprocessable Entity" },
  { 429, "Too Many Requests" },
  { 500, "Internal Server Error" },
  { 502, "Bad Gateway" },
  { 503, "Service Unavailable" },
  { 504, "Gateway Timeout" },
  { .status = 0 },
};

/* --- endpoints --- */

const crux_generation crux_generations[] = {
  { "v1", CRUX_V1, "" },
  { "timp", CRUX_TIMP, "/timp" },
  { .name = NULL },
};

const crux_endpoint crux_endpoints[] = {
  { "cancel_order", "PATCH", "/orders/cancel/", cancel_order_fields, CRUX_V1 | CRUX_TIMP,
    true, false, true, "get_order", cancel_order_hints },
  { "get_order", "GET", "/orders/{order_uuid}/", get_order_fields, CRUX_V1 | CRUX_TIMP,
    false, true, true, NULL, get_order_hints },
  { .name = NULL },
};

/* --- options --- */

static const char *const api_choices[] = { "v1", "timp", NULL };

const crux_field crux_client_options[] = {
  { "token", CRUX_TYPE_TOKEN, CRUX_SECRET, 0, 0, NULL, NULL },
  { "base_url", CRUX_TYPE_BASE_URL, 0, 0, 0, NULL, NULL },
  { "api", CRUX_TYPE_ENUM, 0, 0, 0, api_choices, NULL },
  { "timeout", CRUX_TYPE_SECONDS, 0, 0, 86400, NULL, NULL },
  { "connect_timeout", CRUX_TYPE_SECONDS, 0, 0, 0, NULL, NULL },
  { "retries", CRUX_TYPE_WHOLE, CRUX_LUA_ONLY, 0, 10, NULL, NULL },
  { "max_connections", CRUX_TYPE_WHOLE, 0, 1, 65535, NULL, NULL },
  { "idle_timeout", CRUX_TYPE_DURATION, 0, 0, 0, NULL, NULL },
  { "connection_lifetime", CRUX_TYPE_SECONDS, 0, 0, 0, NULL, NULL },
  { "ca_file", CRUX_TYPE_FILE, 0, 0, 0, NULL, NULL },
  { "ca_path", CRUX_TYPE_DIRECTORY, 0, 0, 0, NULL, NULL },
  { "cert_file", CRUX_TYPE_KEY_FILE, 0, 0, 0, NULL, NULL },
  { "key_file", CRUX_TYPE_KEY_FILE, 0, 0, 0, NULL, NULL },
  { "proxy", CRUX_TYPE_PROXY, CRUX_SECRET, 0, 0, NULL, NULL },
  { "no_proxy", CRUX_TYPE_STRING, 0, 0, 0, NULL, NULL },
  { "user_agent", CRUX_TYPE_PRODUCT, 0, 0, 0, NULL, NULL },
  { "max_body", CRUX_TYPE_WHOLE, 0, 1, 67108864, NULL, NULL },
  { "on_event", CRUX_TYPE_FUNCTION, CRUX_LUA_ONLY, 0, 0, NULL, NULL },
  { .name = NULL },
};

const crux_field crux_batch_options[] = {
  { "concurrency", CRUX_TYPE_WHOLE, 0, 1, 0, NULL, NULL },
  { "on_result", CRUX_TYPE_FUNCTION, 0, 0, 0, NULL, NULL },
  { "on_progress", CRUX_TYPE_FUNCTION, 0, 0, 0, NULL, NULL },
  { "stop_on", CRUX_TYPE_KINDS, 0, 0, 0, NULL, NULL },
  { .name = NULL },
};
