-- What calls return and callbacks get, as data for docs/generate.lua: rows of { name, LuaLS type, doc }. A "?" after
-- the type: not always there.
return {
  outcomes = {
    { "accepted", "a whole response head with 2xx arrived; always a `result`, whatever became of the body" },
    { "rejected", "a whole head with 4xx, 301, 307 or 308 arrived: by its own word the server did not carry this out" },
    { "not_sent", "not one byte of the request, in any attempt, was handed to a connection" },
    { "unknown", "anything else: cut off, timed out, 5xx, other 3xx. It may have been carried out" },
  },

  kinds = {
    { "invalid", "the arguments or options" },
    { "auth", "401, or no token could be had" },
    { "dns", "the name of the server could not be looked up" },
    { "connect", "no connection could be made" },
    { "proxy", "no connection could be made through the proxy; the message gives the proxy and its status" },
    { "tls", "certificate or handshake, a connection cut during it included" },
    { "timeout", "a deadline passed" },
    { "network", "an established connection broke" },
    { "protocol", "not a whole HTTP head of at most 64 KiB" },
    { "http", "any other status; `status` tells which" },
    { "aborted", "aborted by the caller: `abort`, `close`" },
    { "memory", "out of memory, threads or descriptors in C" },
  },

  -- Of `crux.mock`.
  answers = {
    { "`{ status =, headers =, body = }`", "a response; a body that is a table becomes JSON" },
    { "`\"dns\"`, `\"connect\"`, `\"proxy\"`, `\"tls\"`, `\"network\"`, `\"memory\"`", "of that kind, `not_sent`" },
    { "`\"timeout\"`", "`not_sent`, after `connect_timeout` or the rest of the call's time" },
    { "`\"timeout_sent\"`", "`unknown`, after the rest of the call's time" },
    { "`\"network_sent\"`", "`unknown`: the connection is closed without an answer" },
    { "`\"protocol_sent\"`", "`unknown`: something other than HTTP is answered" },
    { "`\"cut_body\"`", "`accepted`: a 200 with a body that is cut off" },
  },

  classes = {
    {
      name = "crux.result", title = "A result",
      doc = "What an accepted call returns.",
      fields = {
        { "outcome", '"accepted"', "always `\"accepted\"`" },
        { "status", "integer", "the HTTP status, 200 to 299" },
        { "body", "any?", "the decoded JSON; nil if there is none, or it was cut off, too long or not JSON" },
        { "raw", "string", "the bytes of the body, as far as they arrived" },
        { "headers", "table<string, string>", "lower-case names; repeated ones are joined by `\", \"`" },
        { "meta", "crux.meta", "how the call went" },
      },
    },
    {
      name = "crux.err", title = "An error",
      doc = "What any other call returns behind nil. `tostring(err)` is one line of printable text.",
      fields = {
        { "outcome", "crux.outcome", "`\"rejected\"`, `\"not_sent\"` or `\"unknown\"`" },
        { "kind", "crux.kind", "what went wrong, see [kinds](#kinds)" },
        { "message", "string", "what went wrong, in words" },
        { "retryable", "boolean", "whether the same call may succeed later, and cannot do a thing twice" },
        { "hint", "string?", "what to do about it" },
        { "field", "string?", "the argument or option at fault, such as `skus[3].supplier_uuid`" },
        { "status", "integer?", "the HTTP status" },
        { "detail", "string?", "the server's own message" },
        { "fields", "table<string, string[]>?", "the server's messages on each field; paths as in `field`" },
        { "retry_after", "number?", "seconds that the server asks to wait" },
        { "headers", "table<string, string>?", "as in a result" },
        { "raw", "string?", "as in a result" },
        { "body", "any?", "as in a result" },
        { "meta", "crux.meta", "how the call went" },
      },
    },
    {
      name = "crux.meta", title = "`meta`",
      doc = "`attempts`, `sends` and `bytes_sent` count the whole call; the others are the last attempt's.",
      fields = {
        { "attempts", "integer", "attempts that were made" },
        { "sends", "integer", "attempts in which a byte of the request was handed to a connection" },
        { "bytes_sent", "integer", "bytes of head and body handed to connections, before TLS" },
        { "reused", "boolean", "whether the connection was there before" },
        { "http_version", "string", "of the response, or else of the request" },
        { "time", "crux.time", "how long it took" },
        { "body_error", "string?", "why `body` is nil though the server sent one" },
        { "event_error", "string?", "the text of the first error that `on_event` raised" },
      },
    },
    {
      name = "crux.time", title = "`meta.time`",
      doc = "Seconds; the first three are 0 on a connection that was there before.",
      fields = {
        { "dns", "number", "name look-up" },
        { "connect", "number", "connecting" },
        { "tls", "number", "the TLS handshake" },
        { "first_byte", "number", "from the start until the first byte of the response" },
        { "total", "number", "from the start until the end" },
      },
    },
    {
      name = "crux.dry_run", title = "A dry run",
      doc = "What `client:dry_run` returns.",
      fields = {
        { "method", "string", "the HTTP method" },
        { "url", "string", "the whole URL" },
        { "headers", "table<string, string>", "by their names on the wire; `Authorization` is redacted" },
        { "body", "string?", "the bytes of the body" },
      },
    },
    {
      name = "crux.token_cache", title = "A token cache",
      doc = "What `token_cache` may be: an `ngx.shared` dictionary is one. An error in it counts as an empty cache; "
        .. "it must not block.",
      fields = {
        { "get", "fun(self: table, key: string): string?", "returns what was set, or nil" },
        {
          "set", "fun(self: table, key: string, value: string, seconds: number)",
          "keeps a value for so many seconds",
        },
        {
          "add", "nil|fun(self: table, key: string, value: string, seconds: number): boolean?, string?",
          "the same, or false and `exists` if the key has a value: then only one process logs in at a time",
        },
      },
    },
    {
      name = "crux.event", title = "An event",
      doc = "What `on_event` is called with, in the caller's thread. An error in it does not end the call: the "
        .. "first one is in `meta.event_error`.",
      fields = {
        { "name", '"request"|"response"|"retry"|"login"', "what happened" },
        { "endpoint", "string", "the endpoint's name" },
        { "order_uuid", "string?", "the call's argument of that name" },
        { "order_item_uuid", "string?", "the call's argument of that name" },
        { "attempt", "integer", "which attempt, from 1" },
        { "method", "string", "the HTTP method" },
        { "url", "string", "the whole URL" },
        { "outcome", "crux.outcome?", "of the attempt, once it has ended" },
        { "kind", "crux.kind?", "of its error" },
        { "status", "integer?", "the HTTP status" },
        { "reason", "string?", "the message of its error" },
        { "elapsed", "number?", "seconds that the attempt took" },
        { "sends", "integer?", "1 if a byte of the attempt was handed to a connection, or 0" },
        { "reused", "boolean?", "whether its connection was there before" },
        { "pause", "number?", "of a retry: seconds until the next attempt" },
      },
    },
    {
      name = "crux.attempt", title = "An attempt",
      doc = "What a `headers` function is called with.",
      fields = {
        { "endpoint", "string", "the endpoint's name" },
        { "order_uuid", "string?", "the call's argument of that name" },
        { "order_item_uuid", "string?", "the call's argument of that name" },
        { "attempt", "integer", "which attempt, from 1" },
      },
    },
    {
      name = "crux.report", title = "A report",
      doc = "What a batch returns. For an iterator the lists are there only after an error, a Ctrl-C or `close`, and "
        .. "hold what was then in flight and the item whose function raised.",
      fields = {
        { "counts", "table<string, integer>", "items by outcome, and `not_started`" },
        { "rejected", "crux.report_item[]?", "items that came out `rejected`" },
        { "unknown", "crux.report_item[]?", "items that came out `unknown`" },
        { "not_sent", "crux.report_item[]?", "items that came out `not_sent`" },
        { "not_started", "crux.report_item[]?", "items left when the batch ended" },
        {
          "stopped", '"stop_on"|"max_failures"|"max_pause"|"error"|"interrupted"|"closed"|nil',
          "why the batch ended before its items did",
        },
        { "stopped_by", "crux.err|string|nil", "the error, or a text" },
      },
    },
    {
      name = "crux.report_item", title = "An item of a report",
      doc = "An item of these lists.",
      fields = {
        { "index", "integer", "its place in `items`" },
        { "item", "table", "the arguments" },
        { "err", "crux.err?", "what the call returned" },
      },
    },
  },
}
