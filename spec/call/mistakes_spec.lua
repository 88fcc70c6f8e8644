-- Deliberate mistakes: the whole message that a user sees for each, and the corrected call, which
-- the spec makes too.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

-- Of the calls, as messages list them.
local NAMES = "login, list_orders, get_order, cancel_order, cancel_order_item, "
  .. "confirm_order_cancellation, reject_order_cancellation, confirm_item_cancellation, "
  .. "reject_item_cancellation"

-- Values for the names in angle brackets below.
local WORDS = {
  OPTIONS = "token, username, password, token_cache, base_url, api, timeout, connect_timeout, "
    .. "retries, max_connections, idle_timeout, connection_lifetime, ca_file, ca_path, cert_file, key_file, proxy, no_proxy, "
    .. "user_agent, headers, max_body, on_event",
  SKU = "supplier_uuid, sku_id, quantity, price, expected_sku_cost",
  HTTP = "expected https, found http to another machine, where a token would be readable",
  INVALID = "not_sent (invalid):",
  UUID = "a UUID (8-4-4-4-12 hex digits)",
  TOKEN = "a string of printable ASCII without spaces, or a function",
  URL = "an https:// URL with no user, query or fragment",
  DECIMAL = "a number or string from 0 to 99999999.99 with at most two decimals",
  PROXY = "a proxy URL, or an empty string for none",
  AGENT = "a product token such as 'shop/1.2'",
  VERIFIED = "certificates are always verified; ca_file is for trust anchors of one's own",
}

-- The mistake, the message, the corrected call.
local MISTAKES = {
  { [[client:cancel_order{ order_uid = U }]],
    [[<INVALID> order_uid: unknown field, did you mean 'order_uuid'?]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{ uuid = U }]],
    [[<INVALID> uuid: unknown field, expected one of order_uuid, skus, <OPTIONS>]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{ orderUUID = U }]],
    [[<INVALID> orderUUID: unknown field, did you mean 'order_uuid'?]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{ U }]],
    [[<INVALID> [1]: unknown field, expected one of order_uuid, skus, <OPTIONS>]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{}]],
    [[<INVALID> order_uuid: expected <UUID>, found nothing]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{ order_uuid = 17 }]],
    [[<INVALID> order_uuid: expected <UUID>, found a number]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{ order_uuid = "SO-17" }]],
    [[<INVALID> order_uuid: expected <UUID>, found a string of 5 bytes]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{ order_uuid = U .. "\n" }]],
    [[<INVALID> order_uuid: expected <UUID>, found a string of 37 bytes]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{ order_uuid = crux.null }]],
    [[<INVALID> order_uuid: expected <UUID>, found crux.null]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:get_order{ order_uuid = U, skus = {} }]],
    [[<INVALID> skus: unknown field, expected one of order_uuid, <OPTIONS>]],
    [[client:get_order{ order_uuid = U }]] },
  { [[client:cancel_order{ order_uuid = U, sku = {} }]],
    [[<INVALID> sku: unknown field, did you mean 'skus'?]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = {} }]],
    [[<INVALID> skus: expected a list of at least one table, found an empty one]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order{ order_uuid = U, skus = S }]],
    [[<INVALID> skus: expected a list of at least one table, found a string of 36 bytes]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { S } }]],
    [[<INVALID> skus[1]: expected a table, found a string of 36 bytes]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { supplier_uuid = S } }]],
    [[<INVALID> skus: expected a list, found a table with other keys than 1, 2, 3]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { sku_id = "1" } } }]],
    [[<INVALID> skus[1].supplier_uuid: expected <UUID>, found nothing]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, sku_id = "1" } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uid = S } } }]],
    [[<INVALID> skus[1].supplier_uid: unknown field, did you mean 'supplier_uuid'?]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, sku_id = 106 } } }]],
    [[<INVALID> skus[1].sku_id: expected a non-empty string of UTF-8, found 106]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, sku_id = "106" } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, skuid = "1" } } }]],
    [[<INVALID> skus[1].skuid: unknown field, did you mean 'sku_id'?]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, sku_id = "1" } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, qty = 1 } } }]],
    [[<INVALID> skus[1].qty: unknown field, expected one of <SKU>]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, quantity = 1 } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, quantity = 0 } } }]],
    [[<INVALID> skus[1].quantity: expected a whole number from 1 to 2147483647, found 0]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, quantity = 1 } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, quantity = 1.5 } } }]],
    [[<INVALID> skus[1].quantity: expected a whole number from 1 to 2147483647, found 1.5]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, quantity = 2 } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, price = 0.1 + 0.2 } } }]],
    [[<INVALID> skus[1].price: expected <DECIMAL>, found 0.30000000000000004]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, price = 0.3 } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, price = "1,50" } } }]],
    [[<INVALID> skus[1].price: expected <DECIMAL>, found '1,50']],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S, price = "1.50" } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S }, nil, {} } }]],
    [[<INVALID> skus[2]: expected a list without holes, found nothing]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S } } }]] },
  { [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S }, crux.null } }]],
    [[<INVALID> skus[2]: expected a table, found crux.null]],
    [[client:cancel_order{ order_uuid = U, skus = { { supplier_uuid = S } } }]] },
  { [[crux.new{ verify = false }]],
    [[<INVALID> verify: unknown field: <VERIFIED>]],
    [[crux.new{ ca_file = "README.md" }]] },
  { [[crux.new{ ssl_verify = false }]],
    [[<INVALID> ssl_verify: unknown field: <VERIFIED>]],
    [[crux.new{ ca_file = "README.md" }]] },
  { [[crux.new{ retry = 3 }]],
    [[<INVALID> retry: unknown field, did you mean 'retries'?]],
    [[crux.new{ retries = 3 }]] },
  { [[crux.new{ max_retries = 3 }]],
    [[<INVALID> max_retries: unknown field, did you mean 'retries'?]],
    [[crux.new{ retries = 3 }]] },
  { [[crux.new{ retries = true }]],
    [[<INVALID> retries: expected a whole number from 0 to 10, found true]],
    [[crux.new{ retries = 1 }]] },
  { [[crux.new{ retries = 100 }]],
    [[<INVALID> retries: expected a whole number from 0 to 10, found 100]],
    [[crux.new{ retries = 10 }]] },
  { [[crux.new{ url = "https://h" }]],
    [[<INVALID> url: unknown field, did you mean 'base_url'?]],
    [[crux.new{ base_url = "https://h" }]] },
  { [[crux.new{ baseURL = "https://h" }]],
    [[<INVALID> baseURL: unknown field, did you mean 'base_url'?]],
    [[crux.new{ base_url = "https://h" }]] },
  { [[crux.new{ base_url = "shop.example" }]],
    [[<INVALID> base_url: expected <URL>, found 'shop.example': write 'https://shop.example']],
    [[crux.new{ base_url = "https://shop.example" }]] },
  { [[crux.new{ base_url = "127.0.0.1:8080" }]],
    [[<INVALID> base_url: expected <URL>, found '127.0.0.1:8080': write 'http://127.0.0.1:8080']],
    [[crux.new{ base_url = "http://127.0.0.1:8080" }]] },
  { [[crux.new{ base_url = "http://shop.example" }]],
    [[<INVALID> base_url: <HTTP>]],
    [[crux.new{ base_url = "https://shop.example" }]] },
  { [[crux.new{ base_url = "https://h/?a=1" }]],
    [[<INVALID> base_url: expected <URL>, found a string of 14 bytes]],
    [[crux.new{ base_url = "https://h/" }]] },
  { [[crux.new{ api = "v2" }]],
    [[<INVALID> api: expected 'v1' or 'timp', found 'v2']],
    [[crux.new{ api = "v1" }]] },
  { [[crux.new{ version = "v1" }]],
    [[<INVALID> version: unknown field, did you mean 'api'?]],
    [[crux.new{ api = "v1" }]] },
  { [[crux.new{ api_key = "t" }]],
    [[<INVALID> api_key: unknown field, did you mean 'token'?]],
    [[crux.new{ token = "t" }]] },
  { [[crux.new{ auth = "t" }]],
    [[<INVALID> auth: unknown field, did you mean 'token'?]],
    [[crux.new{ token = "t" }]] },
  { [[crux.new{ token = "Token t" }]],
    [[<INVALID> token: expected <TOKEN>, found a string of 7 bytes]],
    [[crux.new{ token = "t" }]] },
  { [[crux.new{ token = "t\n" }]],
    [[<INVALID> token: expected <TOKEN>, found a string of 2 bytes that ends in a newline]],
    [[crux.new{ token = "t" }]] },
  { [[crux.new{ token = "" }]],
    [[<INVALID> token: expected <TOKEN>, found a string of 0 bytes]],
    [[crux.new{ token = "t" }]] },
  { [[crux.new{ timeout = "30" }]],
    [[<INVALID> timeout: expected a positive number of seconds, at most 86400, found '30']],
    [[crux.new{ timeout = 30 }]] },
  { [[crux.new{ timeout = 0 }]],
    [[<INVALID> timeout: expected a positive number of seconds, at most 86400, found 0]],
    [[crux.new{ timeout = 1 }]] },
  { [[crux.new{ timeout_ms = 3000 }]],
    [[<INVALID> timeout_ms: unknown field, did you mean 'timeout', in seconds?]],
    [[crux.new{ timeout = 3 }]] },
  { [[crux.new{ time_out = 3 }]],
    [[<INVALID> time_out: unknown field, did you mean 'timeout'?]],
    [[crux.new{ timeout = 3 }]] },
  { [[crux.new{ cert = "README.md" }]],
    [[<INVALID> cert: unknown field, did you mean 'cert_file'?]],
    [[crux.new{ cert_file = "README.md" }]] },
  { [[crux.new{ key_file = "README.md" }]],
    [[<INVALID> key_file: expected cert_file too, found none]],
    [[crux.new{ cert_file = "README.md", key_file = "README.md" }]] },
  { [[crux.new{ ca_file = "/no/ca.pem" }]],
    [[<INVALID> ca_file: expected a readable file, found '/no/ca.pem': No such file or directory]],
    [[crux.new{ ca_file = "README.md" }]] },
  { [[crux.new{ ca_path = "README.md" }]],
    [[<INVALID> ca_path: expected a readable directory, found 'README.md': Not a directory]],
    [[crux.new{ ca_path = "spec" }]] },
  { [[crux.new{ proxies = "http://h:1" }]],
    [[<INVALID> proxies: unknown field, did you mean 'proxy'?]],
    [[crux.new{ proxy = "http://h:1" }]] },
  { [[crux.new{ proxy = "ftp://h" }]],
    [[<INVALID> proxy: expected <PROXY>, found a string of 7 bytes]],
    [[crux.new{ proxy = "http://h" }]] },
  { [[crux.new{ user_agent = "my shop" }]],
    [[<INVALID> user_agent: expected <AGENT>, found a string of 7 bytes]],
    [[crux.new{ user_agent = "my-shop" }]] },
  { [[crux.new{ on_event = "print" }]],
    [[<INVALID> on_event: expected a function, found 'print']],
    [[crux.new{ on_event = print }]] },
  { [[crux.new{ pool_size = 8 }]],
    [[<INVALID> pool_size: unknown field, did you mean 'max_connections'?]],
    [[crux.new{ max_connections = 8 }]] },
  { [[crux.new{ max_connections = 0 }]],
    [[<INVALID> max_connections: expected a whole number from 1 to 65535, found 0]],
    [[crux.new{ max_connections = 1 }]] },
  { [[crux.new{ follow_redirects = true }]],
    [[<INVALID> follow_redirects: unknown field: redirects are never followed]],
    [[crux.new{}]] },
  { [[crux.cancel_order{ token = "t", order_uuid = U, base_url = SERVER, tokn = 1 }]],
    [[<INVALID> tokn: unknown field, did you mean 'token'?]],
    [[crux.cancel_order{ token = "t", order_uuid = U, base_url = SERVER }]] },
  { [[crux.cancel_order{ order_uuid = U, base_url = SERVER }]],
    [[not_sent (auth): expected a token, found none]],
    [[crux.cancel_order{ order_uuid = U, base_url = SERVER, token = "t" }]] },
  { [[client:cancel_orders({ { order_uuid = U } }, { concurency = 2 })]],
    [[<INVALID> concurency: unknown field, did you mean 'concurrency'?]],
    [[client:cancel_orders({ { order_uuid = U } }, { concurrency = 2 })]] },
  { [[client:cancel_orders({ { order_uuid = U } }, { stop_on = { "auth" } })]],
    [[<INVALID> stop_on: expected a set of kinds and statuses such as { auth = true, [403] = true }, or a function, found a table]],
    [[client:cancel_orders({ { order_uuid = U } }, { stop_on = { auth = true } })]] },
  { [[client.cancel_order{ order_uuid = U }]],
    [[expected client:cancel_order{...}, found client.cancel_order{...}: write a colon]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client.submit("cancel_order", { order_uuid = U })]],
    [[expected client:submit(...), found client.submit(...): write a colon]],
    [[client:submit("cancel_order", { order_uuid = U })]] },
  { [[client.cancel_orders{ { order_uuid = U } }]],
    [[expected client:cancel_orders(...), found client.cancel_orders(...): write a colon]],
    [[client:cancel_orders{ { order_uuid = U } }]] },
  { [[client.close()]],
    [[expected client:close(...), found client.close(...): write a colon]],
    [[crux.new():close() == nil]] },
  { [[crux:cancel_order{ order_uuid = U, token = "t", base_url = SERVER }]],
    [[expected crux.cancel_order{...}, found crux:cancel_order{...}: write a dot]],
    [[crux.cancel_order{ order_uuid = U, token = "t", base_url = SERVER }]] },
  { [[crux:new{ token = "t" }]],
    [[expected crux.new{...}, found crux:new{...}: write a dot]],
    [[crux.new{ token = "t" }]] },
  { [[client:cancel_order(U)]],
    [[expected a table of arguments, found string]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[client:cancel_order()]],
    [[expected a table of arguments, found nothing]],
    [[client:cancel_order{ order_uuid = U }]] },
  { [[crux.new("https://h")]],
    [[expected a table of options, found string]],
    [[crux.new{ base_url = "https://h" }]] },
  { [[client:submit("cancel", { order_uuid = U })]],
    [[expected the name of a call, found 'cancel'; there are ]] .. NAMES,
    [[client:submit("cancel_order", { order_uuid = U })]] },
  { [[client:submit{ order_uuid = U }]],
    [[expected a table of arguments, found nothing]],
    [[client:submit("cancel_order", { order_uuid = U })]] },
  { [[client:dry_run(client.cancel_order, { order_uuid = U })]],
    [[expected the name of a call, found a function; there are ]] .. NAMES,
    [[client:dry_run("cancel_order", { order_uuid = U })]] },
  { [[client:cancel_orders(U)]],
    [[cancel_orders: expected a list of orders or an iterator function, found string]],
    [[client:cancel_orders{ { order_uuid = U } }]] },
  { [[client:submit("cancel_order", { order_uuid = U }):wait("5")]],
    [[expected a number of seconds, found a string]],
    [[select(2, client:submit("cancel_order", { order_uuid = U }):wait(5))]] },
  { [[closed:cancel_order{ order_uuid = U }]],
    [[the client is closed]],
    [[client:cancel_order{ order_uuid = U }]] },
}

local scope = { crux = crux, U = helper.ORDER, S = helper.SUPPLIER, print = print, select = select }
local server

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  scope.SERVER = server.base_url
  scope.client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
  scope.closed = assert(crux.new())
  scope.closed:close()
end)

teardown(function()
  scope.client:close()
  server:close()
end)

-- Runs an expression as a user's program would, and returns its values, or the raised error as
-- `err`.
local function evaluate(expression)
  local source = "local first, second = " .. expression .. " return first, second"
  local chunk
  if setfenv then chunk = setfenv(assert(loadstring(source, "=user")), scope)
  else chunk = assert(load(source, "=user", "t", scope)) end
  local ok, first, second = pcall(chunk)
  if ok then return first, second end
  return nil, first
end

describe("the mistake", function()
  for _, row in ipairs(MISTAKES) do
    local wrong, line, right = row[1], row[2]:gsub("<(%u+)>", WORDS), row[3]
    it(wrong .. " gives a message with the correction", function()
      local result, err = evaluate(wrong)
      assert.is_nil(result)
      assert.equal(line, (tostring(err):gsub("^%S+:%d+: ", "")))
      helper.clean(tostring(err))
      result, err = evaluate(right)
      assert.is_nil(err and tostring(err))
      assert.is_truthy(result)
    end)
  end

  it("table has at least 60 rows with different calls", function()
    local seen = {}
    for _, row in ipairs(MISTAKES) do
      assert.is_nil(seen[row[1]], row[1])
      seen[row[1]] = true
    end
    assert.is_true(#MISTAKES >= 60)
  end)
end)
