/* api: the endpoints of the service as constant rows. */
#include "api.h"

#include <stddef.h>
#include <string.h>

static const crux_field sku_fields[] = {
  { "supplier_uuid", CRUX_FIELD_UUID, true, NULL },
  { "sku_id", CRUX_FIELD_TEXT, false, NULL },
  { "quantity", CRUX_FIELD_WHOLE, false, NULL },
  { "price", CRUX_FIELD_DECIMAL, false, NULL },
  { "expected_sku_cost", CRUX_FIELD_DECIMAL, false, NULL },
  { NULL, CRUX_FIELD_TEXT, false, NULL },
};

static const crux_field cancel_order_fields[] = {
  { "order_uuid", CRUX_FIELD_UUID, true, NULL },
  { "skus", CRUX_FIELD_LIST, false, sku_fields },
  { NULL, CRUX_FIELD_TEXT, false, NULL },
};

static const crux_field get_order_fields[] = {
  { "order_uuid", CRUX_FIELD_UUID, true, NULL },
  { NULL, CRUX_FIELD_TEXT, false, NULL },
};

const crux_endpoint crux_endpoints[] = {
  { "cancel_order", "PATCH", "/orders/cancel/", cancel_order_fields, true, false },
  { "get_order", "GET", "/orders/*/", get_order_fields, false, true },
  { NULL, NULL, NULL, NULL, false, false },
};

const crux_endpoint *crux_endpoint_find(const char *name) {
  const crux_endpoint *endpoint;
  for (endpoint = crux_endpoints; endpoint->name; endpoint++) {
    if (strcmp(endpoint->name, name) == 0) return endpoint;
  }
  return NULL;
}
