--- The CRUXconnect API as data: servers, endpoints, fields, options. No code; loads in any Lua.
-- `docs/generate.lua` makes of it: csrc/api.c (what arguments are checked against, and requests
-- made of), docs/reference.md, tables of the README, and the LuaLS definitions in library/. The
-- sandbox takes its routes, parties and permissions from it. After a change: `make generate`.
--
-- *A field* is `{ name, type, required =, secret =, choices =, low =, high =, doc = }`. Its type
-- is a name among `types` or `objects`, `"choice"` (one of `choices`), or `"list of "` and one of
-- these. Of a list, `low` and `high` are numbers of items, 1 and no limit if left out; `high =
-- false` is no limit where the type has one. `secret`: never shown. Fields are in the order in
-- which errors are reported.
--
-- *An endpoint* is a row of
--
-- - `name`: the function of `crux`, of a client and of `crux.core`;
-- - `route`: the method, and the path below the generation's prefix. A field in braces is sent in
--   the path, and not in the body; where every field is in the path, there is no body;
-- - `generations`: the names of those that have it; all if left out;
-- - `fields`, `doc`, `example` (arguments);
-- - `authenticated`: false if it is sent without a token;
-- - `safe`: it changes nothing at the server, so it may be repeated after an `unknown`;
-- - `look`: the endpoint that shows, after an `unknown`, what came of it;
-- - `party`: the kind of organization that may call it, if only one may; `permission`: the one
--   that its user needs;
-- - `hints`: what to do about a status; else those of `statuses`;
-- - `batch`: a name for the client's method that makes many of these calls.
--
-- *An option* is a field that may also have `default`, `default_doc` (the default in words),
-- `environment` (the variables that set it; the first that is set wins), `lua` (its LuaLS type),
-- `lua_only` (`crux.core` does not know it) and `with` (the option whose row in the README it
-- shares). `default` and `environment` are for the documentation: the code has its own, in
-- `crux_default_settings` or in Lua, and in `crux.environment`. Specs compare them.
-- @module crux.api
local LINE = {
  "order_item_uuid", "uuid", required = true,
  doc = "the line's own UUID: `uuid` in a v1 order, `line_item_uuid` in a timp order. The "
    .. "service's documentation does not say which UUID of a line it is; it is sent as given",
}

local REDIRECT = "redirects are not followed: is base_url the service's own?"

return {
  servers = {
    sandbox = "https://api-sandbox.cruxconnect.com",
    production = "https://api.cruxconnect.com",
  },

  -- The first is the default.
  generations = { { name = "v1", prefix = "" }, { name = "timp", prefix = "/timp" } },

  -- Of fields and of options. `c`: the type in csrc/api.h. `lua`: the type in LuaLS. `low` and
  -- `high`: the range where a field gives none.
  types = {
    uuid = {
      c = "UUID", lua = "string",
      doc = "a UUID: 8-4-4-4-12 hex digits of either case, sent as given",
    },
    text = { c = "TEXT", lua = "string", doc = "non-empty UTF-8" },
    whole = {
      c = "WHOLE", lua = "integer|string", low = 1, high = 2147483647,
      doc = "a whole number, or one as a string of digits",
    },
    decimal = {
      c = "DECIMAL", lua = "number|string", low = 0, high = 99999999.99,
      doc = "a number or string of at most two decimals, sent as a string of two",
    },
    boolean = { c = "BOOLEAN", lua = "boolean", doc = "`true` or `false`" },
    date = {
      c = "DATE", lua = "string",
      doc = "a date and perhaps a time, such as `2018-08-03`, `2018-08-03 06:00:00` or "
        .. "`2018-08-03T06:00:00.000Z`, sent as given",
    },
    token = { c = "TOKEN", lua = "string", doc = "printable ASCII without spaces" },
    url = { c = "BASE_URL", lua = "string", doc = "a URL without user, query and fragment" },
    seconds = { c = "SECONDS", lua = "number", doc = "a positive, finite number of seconds" },
    duration = { c = "DURATION", lua = "number", doc = "a finite number of seconds, 0 or more" },
    file = { c = "FILE", lua = "string", doc = "the path of a readable file" },
    key = {
      c = "KEY_FILE", lua = "string", doc = "the path of a readable file, not encrypted",
    },
    directory = { c = "DIRECTORY", lua = "string", doc = "the path of a readable directory" },
    string = { c = "STRING", lua = "string", doc = "a string" },
    proxy = { c = "PROXY", lua = "string", doc = "a URL, or `\"\"`" },
    product = { c = "PRODUCT", lua = "string", doc = "a product token, RFC 9110 10.1.5" },
    headers = {
      c = "HEADERS", lua = "table<string, string>", low = 0, high = 8192,
      doc = "a table of header names and values, 8 KiB in all; not Host, Authorization, "
        .. "Content-Type, Content-Length, Accept, User-Agent, Connection, Expect, "
        .. "Transfer-Encoding, TE or Upgrade",
    },
    cache = {
      c = "CACHE", lua = "crux.token_cache",
      doc = "an object with `get(key)` and `set(key, value, seconds)`",
    },
    ["function"] = { c = "FUNCTION", lua = "function", doc = "a function" },
    table = { c = "TABLE", lua = "table", doc = "a table" },
    rate = { c = "RATE", lua = "number", doc = "a positive, finite number" },
    limit = {
      c = "LIMIT", lua = "integer|false", low = 1, high = 2147483647,
      doc = "a whole number, or `false`",
    },
    stop_set = {
      c = "STOP_SET", lua = "table<crux.kind|integer, boolean>|fun(err: crux.err): any",
      doc = "a set of kinds and statuses, such as `{ auth = true, [403] = true }`, or a function",
    },
  },

  objects = {
    sku = {
      doc = "One SKU of an order.",
      fields = {
        {
          "supplier_uuid", "uuid", required = true,
          doc = "the supplier whose line items are meant",
        },
        { "sku_id", "text", doc = "the supplier's own id of the SKU; leading zeros count" },
        { "quantity", "whole", doc = "how many to cancel; all if left out" },
        { "price", "decimal", doc = "the SKU's price" },
        { "expected_sku_cost", "decimal", doc = "what the SKU was expected to cost" },
      },
    },
    sort = {
      doc = "How a list is sorted.",
      fields = {
        { "key", "choice", choices = { "date", "status", "sku_id" }, doc = "by what" },
        { "dir", "choice", choices = { "asc", "desc" }, doc = "upwards or downwards" },
      },
    },
  },

  -- By the names that the service gives them. `hint`: what to do about it, whatever the endpoint;
  -- to those of 403 and 409 an endpoint's permission and party are added.
  statuses = {
    { 301, "Moved Permanently", hint = REDIRECT },
    { 307, "Temporary Redirect", hint = REDIRECT },
    { 308, "Permanent Redirect", hint = REDIRECT },
    { 400, "Bad Request", hint = "something required is missing or malformed" },
    {
      401, "Unauthorized",
      hint = "the token is wrong or has expired: tokens expire two hours after they were issued, "
        .. "log in again",
    },
    { 403, "Permission Denied", hint = "the token's user lacks the permission" },
    { 404, "Not Found", hint = "no such URL: check base_url and api" },
    {
      405, "Method Not Allowed",
      hint = "the URL does not take this method: is base_url the service's own, with no path "
        .. "too many?",
    },
    { 409, "Critical", hint = "the token belongs to an organization of the wrong kind" },
    {
      415, "Unsupported Media Type",
      hint = "the Content-Type did not arrive as application/json: does a proxy change it?",
    },
    {
      422, "Unprocessable Entity", hint = "the service cannot do this with that identifier",
    },
    { 429, "Too Many Requests", hint = "wait before the next call" },
    { 500, "Internal Server Error" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
  },

  endpoints = {
    {
      name = "login",
      route = "POST /organizations/user-login/",
      doc = "Logs a user in. `result.body.auth_token` is the token that the other calls take; it "
        .. "expires two hours after it was issued. The client's own token stays as it is.",
      fields = {
        { "username", "text", required = true, doc = "the user's name" },
        { "password", "text", required = true, secret = true, doc = "the user's password" },
      },
      authenticated = false,
      -- A login that is repeated gives one more token at most.
      safe = true,
      hints = {
        [401] = "the username or the password is wrong",
        [403] = "the user may not log in",
        [409] = "the user may not log in: the organization is of the wrong kind",
      },
      example = { username = "ada", password = "correct horse battery staple" },
    },
    {
      name = "list_orders",
      route = "POST /orders/",
      doc = "Lists orders; nothing is changed. `result.body` is `{ total_results, orders }`. "
        .. "`client:orders` reads page after page.",
      fields = {
        { "start", "whole", low = 0, doc = "the position of the first order, from 0" },
        {
          "limit", "whole", low = 0,
          doc = "documented as the position of the last order; the service may take it for the "
            .. "number of orders",
        },
        { "sort", "sort", doc = "the order in which they are listed" },
        {
          "line_item_allocation_statuses", "list of choice",
          choices = { "Unallocated", "Partial", "Allocated" },
          doc = "only orders with a line in one of these states",
        },
        {
          "line_item_designation", "choice",
          choices = { "HasTracking", "NeedsTracking", "Backordered", "Rejected", "Cancelled" },
          doc = "only orders with such a line",
        },
        { "start_date", "date", doc = "only orders from then on" },
        { "end_date", "date", doc = "only orders until then" },
        {
          "term", "text",
          doc = "v1: the UUID of an order, a PO number or the id of a SKU; timp: a word of a SKU's "
            .. "description",
        },
        { "org_uuids", "list of uuid", doc = "only orders of these organizations" },
        {
          "po_number", "text",
          doc = "only orders of this PO number; documented for timp alone, and sent to v1 as well",
        },
        {
          "sent_to_supplier", "boolean",
          doc = "only orders that were sent to the supplier, or that were not; documented for timp "
            .. "alone, and sent to v1 as well",
        },
      },
      permission = "view_order",
      safe = true,
      example = {
        start = 0, limit = 49, sort = { key = "date", dir = "desc" },
        line_item_allocation_statuses = { "Unallocated", "Partial" },
        start_date = "2018-08-03T06:00:00.000Z",
      },
    },
    {
      name = "get_order",
      route = "GET /orders/{order_uuid}/",
      doc = "Reads an order. `result.body` is the order in the form of the API's generation.",
      fields = { { "order_uuid", "uuid", required = true, doc = "the order" } },
      permission = "view_order",
      safe = true,
      hints = {
        [404] = "no such URL, or no such order: check base_url, api and order_uuid",
        [422] = "the order is unknown",
      },
      example = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" },
    },
    {
      name = "cancel_order",
      route = "PATCH /orders/cancel/",
      doc = "Asks the suppliers of an order to cancel it, or some of its SKUs. 2xx means received "
        .. "and passed on, not cancelled: each supplier confirms or rejects later.",
      fields = {
        { "order_uuid", "uuid", required = true, doc = "the order" },
        { "skus", "list of sku", doc = "the SKUs to cancel; the whole order if left out" },
      },
      party = "retailer",
      permission = "cancel_order",
      look = "get_order",
      hints = {
        [422] = "the order is unknown, or cannot be cancelled any more: look at it with get_order",
      },
      batch = "cancel_orders",
      example = {
        order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29",
        skus = {
          {
            supplier_uuid = "757ce28d-fbd6-4b9f-8051-f847482e169f",
            sku_id = "000106", quantity = 2,
          },
        },
      },
    },
    {
      name = "cancel_order_item",
      route = "DELETE /orders/items/cancel/{order_item_uuid}/",
      doc = "Asks the supplier of a line of an order to cancel it. 2xx means received and passed "
        .. "on, not cancelled: the supplier confirms or rejects later.",
      fields = { LINE },
      party = "retailer",
      permission = "cancel_order",
      look = "get_order",
      hints = {
        [404] = "no such URL, or no such line: check base_url, api and order_item_uuid",
        [422] = "the line is unknown, or cannot be cancelled any more: look at its order with "
          .. "get_order",
      },
      example = { order_item_uuid = "5f0f6c1e-6a0c-4a35-9d3f-0d8c5b0a7c11" },
    },
    {
      name = "confirm_order_cancellation",
      route = "PATCH /orders/cancel/{order_uuid}/confirm/",
      generations = { "timp" },
      doc = "Confirms, as a supplier, that an order is cancelled as its retailer asked.",
      fields = { { "order_uuid", "uuid", required = true, doc = "the order" } },
      party = "supplier",
      permission = "cancel_order",
      look = "get_order",
      hints = {
        [404] = "no such URL, or no such order: check base_url, api and order_uuid",
        [422] = "no cancellation of this order waits for this supplier",
      },
      example = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" },
    },
    {
      name = "reject_order_cancellation",
      route = "PATCH /orders/cancel/{order_uuid}/reject/",
      generations = { "timp" },
      doc = "Rejects, as a supplier, what a retailer asked for with cancel_order.",
      fields = { { "order_uuid", "uuid", required = true, doc = "the order" } },
      party = "supplier",
      permission = "cancel_order",
      look = "get_order",
      hints = {
        [404] = "no such URL, or no such order: check base_url, api and order_uuid",
        [422] = "no cancellation of this order waits for this supplier",
      },
      example = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" },
    },
    {
      name = "confirm_item_cancellation",
      route = "PATCH /orders/items/cancel/{order_item_uuid}/confirm/",
      generations = { "timp" },
      doc = "Confirms, as a supplier, that a line of an order is cancelled.",
      fields = { LINE },
      party = "supplier",
      permission = "cancel_order",
      look = "get_order",
      hints = {
        [404] = "no such URL, or no such line: check base_url, api and order_item_uuid",
        [422] = "no cancellation of this line waits for this supplier",
      },
      example = { order_item_uuid = "5f0f6c1e-6a0c-4a35-9d3f-0d8c5b0a7c11" },
    },
    {
      name = "reject_item_cancellation",
      route = "PATCH /orders/items/cancel/{order_item_uuid}/reject/",
      generations = { "timp" },
      doc = "Rejects, as a supplier, what a retailer asked for with cancel_order_item.",
      fields = { LINE },
      party = "supplier",
      permission = "cancel_order",
      look = "get_order",
      hints = {
        [404] = "no such URL, or no such line: check base_url, api and order_item_uuid",
        [422] = "no cancellation of this line waits for this supplier",
      },
      example = { order_item_uuid = "5f0f6c1e-6a0c-4a35-9d3f-0d8c5b0a7c11" },
    },
  },

  -- Of a client; a call takes them too. In the order in which errors are reported.
  client_options = {
    {
      "token", "token", environment = { "CRUX_TOKEN" }, secret = true,
      lua = "string|(fun(refused?: string): string?, string?)",
      doc = "a string, or a function called before each attempt that returns one or "
        .. "`nil, reason`. After a 401 it is called once more, with the refused token",
    },
    {
      "username", "text", environment = { "CRUX_USERNAME" }, lua_only = true,
      doc = "the user to log in as: the client does so by itself when it has no token, shortly "
        .. "before its token is two hours old, and after a 401",
    },
    {
      "password", "text", environment = { "CRUX_PASSWORD" }, lua_only = true, secret = true,
      with = "username", doc = "that user's password",
    },
    {
      "token_cache", "cache", lua_only = true, with = "username",
      doc = "an object with `get` and `set`, and perhaps `add`, such as an `ngx.shared` "
        .. "dictionary, through which clients and processes share the tokens of logins",
    },
    {
      "base_url", "url", environment = { "CRUX_BASE_URL" }, default_doc = "`crux.SANDBOX`",
      doc = "`https://…`, such as `crux.PRODUCTION`; `http://` only to this machine",
    },
    {
      "api", "choice", choices = { "v1", "timp" }, default = "v1",
      doc = "the API's generation: `\"v1\"` or `\"timp\"`, the later one",
    },
    {
      "timeout", "seconds", high = 86400, default = 30,
      doc = "seconds for the whole call, with all attempts and pauses; at most a day",
    },
    {
      "connect_timeout", "seconds", default = 10, with = "timeout",
      doc = "seconds for name look-up, connecting and TLS of one attempt",
    },
    {
      "retries", "whole", lua = "integer", low = 0, high = 10, default = 2, lua_only = true,
      doc = "further attempts, 0 to 10, while the budget that all retries of a client share lasts",
    },
    {
      "max_connections", "whole", lua = "integer", low = 1, high = 65535, default = 32,
      doc = "per client, 1 to 65535; calls beyond it are queued",
    },
    {
      "idle_timeout", "duration", default = 15,
      doc = "seconds that an unused connection is kept; 0: a new connection for every call",
    },
    {
      "connection_lifetime", "seconds", default = 300, with = "idle_timeout",
      doc = "seconds after which a connection is not used again, to follow changes in DNS",
    },
    {
      "ca_file", "file", environment = { "CRUX_CA_FILE" }, default_doc = "the system's",
      doc = "a file of trust anchors, PEM, used instead of the system's",
    },
    {
      "ca_path", "directory", with = "ca_file",
      doc = "a directory of trust anchors, used in the same way",
    },
    { "cert_file", "key", doc = "a client certificate, PEM" },
    {
      "key_file", "key", with = "cert_file",
      doc = "the private key of `cert_file`, PEM, not encrypted",
    },
    {
      "proxy", "proxy", secret = true,
      environment = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" },
      doc = "the URL of a proxy, or `\"\"` for none",
    },
    {
      "no_proxy", "string", with = "proxy", environment = { "no_proxy", "NO_PROXY" },
      doc = "hosts that are reached without it",
    },
    {
      "user_agent", "product",
      doc = "a product such as `\"shop/1.2\"`, put before crux's own",
    },
    {
      "headers", "headers", secret = true, with = "user_agent",
      lua = "table<string, string>|(fun(attempt: crux.attempt): table<string, string>)",
      doc = "further request headers, such as `traceparent`: a table, or a function called before "
        .. "each attempt with its `endpoint`, `order_uuid` and `attempt` that returns one. Those "
        .. "of a call are added to the client's; the same name wins",
    },
    {
      "max_body", "whole", lua = "integer", low = 1, high = 67108864, default = 1048576,
      default_doc = "1 MiB",
      doc = "bytes of a response body that are read, 1 to 64 MiB",
    },
    {
      "on_event", "function", lua_only = true, lua = "fun(event: crux.event)",
      doc = "called for each request, response, retry and login",
    },
  },

  batch_options = {
    {
      "concurrency", "whole", lua = "integer", low = 1, high = false, default = 8,
      doc = "how many calls are in flight at once, from 1",
    },
    { "rate", "rate", doc = "attempts per second, at most" },
    {
      "on_start", "function", lua = "fun(index: integer, item: table)",
      doc = "called with `index` and `item` before the first attempt of an item; an error in it "
        .. "keeps the item from being sent",
    },
    {
      "on_result", "function",
      lua = "fun(index: integer, item: table, result?: crux.result, err?: crux.err)",
      doc = "called with `index`, `item`, `result` and `err` of each item that was started",
    },
    {
      "on_progress", "function",
      lua = "fun(done: integer, total?: integer, counts: table<string, integer>)",
      doc = "called after each item with `done`, `total` (nil for an iterator) and `counts`",
    },
    {
      "stop_on", "stop_set", default_doc = "`{ auth = true, [403] = true, [409] = true }`",
      doc = "a set of kinds and statuses, or a function of `err`, after which no further item is "
        .. "started",
    },
    {
      "max_failures", "limit", default = 20,
      doc = "so many failures in a row that say nothing about the orders end the batch: "
        .. "`unknown`, `not_sent` but `invalid`, 429 and 5xx; `false`: never",
    },
    {
      "max_pause", "duration", default = 300,
      doc = "seconds; a longer pause asked for by the server ends the batch",
    },
    { "report", "table", doc = "a table that is filled as the batch goes, and returned" },
  },
}
