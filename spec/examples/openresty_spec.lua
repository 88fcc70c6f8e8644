-- examples/openresty: its configuration, handler and metrics in Debian's nginx, against the fault
-- server and the sandbox. `make openresty-demo` is run by spec/resty/calls_spec.lua.
local cjson = require("cjson").new()
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local nginx = require "spec.support.nginx"
local process = require "spec.support.process"
local program = require "spec.support.program"
local resty = require "spec.support.resty"

local missing = nginx.missing()

local ORDER = helper.ORDER
local PASSWORD = "a-password-that-nobody-sees"
local TOKEN = "a-token-that-nobody-sees"

-- examples/openresty/nginx.conf with the places of spec/support/nginx.lua.
local function config()
  local text = program.read("examples/openresty/nginx.conf")
  for _, change in ipairs{
    { "pid nginx.pid;", "pid %(dir)/pid;" },
    { "error_log stderr notice;", "error_log %(dir)/error.log info;" },
    { "worker_processes 2;", "worker_processes %(workers); %(user)" },
    { "$prefix/?.lua;$prefix/lua/?.lua", "%(root)/examples/openresty/?.lua;%(root)/lua/?.lua" },
    { "$prefix/lib/?.so", "%(module)/?.so" },
    { "127.0.0.1:8080", "127.0.0.1:%(port)" },
    { "location = /health", "location = /static" },
  } do
    local first, last = text:find(change[1], 1, true)
    assert(first, "expected in nginx.conf: " .. change[1])
    text = text:sub(1, first - 1) .. change[2] .. text:sub(last + 1)
  end
  return text
end

local server

local function start(base_url, more)
  local environment = {
    CRUX_BASE_URL = base_url, CRUX_USERNAME = "retailer", CRUX_PASSWORD = PASSWORD,
    CRUX_CA_FILE = fault.ca_file or "",
  }
  for name, value in pairs(more or {}) do environment[name] = value end
  server = nginx.start{ config = config(), workers = 2, environment = environment }
end

local function stop()
  local log, status = server:close()
  server = nil
  resty.check_log(log, status)
  for _, secret in ipairs{ PASSWORD, TOKEN } do assert.is_nil(log:find(secret, 1, true)) end
  return log
end

-- Sends a request, and returns the status, the headers (by their names in lower case) and the body.
local function request(method, path, body)
  local command = ("curl -qsSi -X %s --data-binary %s http://127.0.0.1:%d%s"):format(method,
    program.quoted(body or ""), server.port, path)
  local _, text = program.command({}, command)
  local head, rest = text:match("^(.-\r\n)\r\n(.*)$")
  local headers = {}
  for name, value in head:gmatch("([%w-]+): ([^\r]*)\r\n") do headers[name:lower()] = value end
  return tonumber(head:match("^HTTP/1%.1 (%d+)")), headers, rest
end

-- The service: a login succeeds unless `shared.login` is another answer; other requests get
-- `shared.answer`, or none if it is empty.
local SERVICE = [[
while true do
  local request = conn:request()
  if not request then break end
  local is_login = request.path:find("/user-login/", 1, true)
  local answer = is_login and shared.login or shared.answer
  conn:write(answer)
  if answer == "" then break end
end
conn:fin()
]]

local LOGIN = helper.response(200, ('{"auth_token":"%s"}'):format(TOKEN))

-- The requests that a service has got since this was last asked, without the logins.
local function new_calls(service)
  local list = {}
  for _, text in ipairs(helper.new_requests(service)) do
    if not text:find("^POST /organizations/user%-login/") then list[#list + 1] = text end
  end
  return list
end

local OURS = "not carried out: this server cannot use the service, and its log says why"
local LATER = "not carried out: try again later"
local LOOK = "not known whether it was carried out: read the order before you retry"

local function detail(text) return ('{"detail":"%s"}'):format(text) end

-- What the service answers; the status and body of the response to our caller, and its Retry-After.
local CASES = {
  { "204", helper.response(204), 202, { outcome = "accepted" } },
  {
    "400 with errors of fields",
    helper.response(400, '{"skus":[{"non_field_errors":["Quantity is more than was ordered."]}]}'),
    400,
    {
      outcome = "rejected", fields = { ["skus[1]"] = { "Quantity is more than was ordered." } },
      reason = "HTTP 400 Bad Request: skus[1]: Quantity is more than was ordered.",
    },
  },
  {
    "422", helper.response(422, detail "This order is no longer pending."), 422,
    { outcome = "rejected", reason = "This order is no longer pending." },
  },
  { "401", helper.response(401, detail "Invalid token."), 502 },
  { "403", helper.response(403, detail "You may not."), 502 },
  { "404", helper.response(404, "<p>"), 502 },
  { "405", helper.response(405), 502 },
  { "409", helper.response(409, detail "This user belongs to a supplier."), 502 },
  { "413", helper.response(413), 502 },
  { "415", helper.response(415), 502 },
  { "301", helper.response(301, "", { "Location: /elsewhere/" }), 502 },
  {
    "429 with Retry-After", helper.response(429, "", { "Retry-After: 60" }), 503, "rejected", "60",
  },
  { "429 without one", helper.response(429), 503, "rejected", "1" },
  { "500", helper.response(500, detail "A server error occurred."), 504 },
  { "502", helper.response(502, "<html>"), 504 },
  { "503 with Retry-After", helper.response(503, "", { "Retry-After: 60" }), 504 },
  { "504", helper.response(504), 504 },
  { "302", helper.response(302, "", { "Location: /login" }), 504 },
  { "nothing, and closes the connection", "", 504 },
  { "something else than HTTP", "SSH-2.0-OpenSSH\r\n\r\n", 504 },
}

-- What our caller gets that is told nothing about the service.
local function plain(status, outcome)
  if status == 502 then return { outcome = outcome or "rejected", reason = OURS } end
  if status == 503 then return { outcome = outcome or "not_sent", reason = LATER } end
  return { outcome = "unknown", reason = LOOK }
end

-- Checks a response to our caller, and returns its request id.
local function check(expected, body, retry_after, status, headers, text)
  assert.same({ expected, body }, { status, cjson.decode(text) })
  assert.equal(retry_after, headers["retry-after"])
  assert.equal("application/json", headers["content-type"])
  for _, secret in ipairs{ PASSWORD, TOKEN } do assert.is_nil(text:find(secret, 1, true)) end
  assert.is_truthy(headers["x-request-id"]:find("^%x+$"))
  return headers["x-request-id"]
end

local function cancel(body) return request("POST", "/cancel/" .. ORDER, body) end

-- A service, and an nginx that uses it.
local function serve(answer, login, more)
  local shared = { login = login or LOGIN, answer = answer or helper.response(204) }
  local service = fault.serve{ script = SERVICE, shared = shared, tls = more and more.tls }
  start(service.base_url)
  return service
end

describe("examples/openresty #tree", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  after_each(function()
    if server then server:close("TERM") end
    server = nil
  end)
  teardown(fault.stop)

  for _, case in ipairs(CASES) do
    local what, answer, status, body, retry_after = case[1], case[2], case[3], case[4], case[5]
    it(("answers %d, after one request, if the service answers %s"):format(status, what), function()
      local service = serve(answer)
      if type(body) ~= "table" then body = plain(status, body) end
      local id = check(status, body, retry_after, cancel())
      assert.equal(1, #new_calls(service))
      local log = stop()
      local line = log:match("[^\n]*request " .. id .. ": [^\n]*")
      assert.equal(status ~= 202, line ~= nil)
      if line then assert.equal(status == 502, line:find("%[error%]") ~= nil, line) end
      service:close()
    end)
  end

  it("answers 503 if nobody listens, and 502 if the certificate is wrong", function()
    fault.start()
    local nobody = fault.refused()
    start(nobody.base_url)
    check(503, plain(503), "1", cancel())
    stop()
    nobody:close()
    local service = serve(nil, nil, { tls = "self_signed" })
    check(502, plain(502, "not_sent"), nil, cancel())
    assert.equal(0, service:record().requests)
    stop()
  end)

  for what, row in pairs{
    ["401"] = { helper.response(401, detail "Unable to log in."), 502 },
    ["403"] = { helper.response(403), 502 },
    ["404"] = { helper.response(404), 502 },
    ["429 with Retry-After"] = { helper.response(429, "", { "Retry-After: 60" }), 503, "60" },
    ["503"] = { helper.response(503), 503, "1" },
    ["nothing, and closes the connection"] = { "", 503, "1" },
  } do
    it(("answers %d, and sends nothing, if a login is answered %s"):format(row[2], what), function()
      local service = serve(nil, row[1])
      check(row[2], plain(row[2], "not_sent"), row[3], cancel())
      assert.same({}, new_calls(service))
      stop()
      service:close()
    end)
  end

  it("logs in once for all workers, and each order is cancelled once", function()
    local sandbox = process.sandbox{ orders = 40, plain = true }
    finally(function() sandbox:close() end)
    start(sandbox.base_url, { CRUX_PASSWORD = "retailer" })
    local requests = {}
    for i, uuid in ipairs(sandbox.orders) do
      requests[i] = { path = "/cancel/" .. uuid, body = "{}" }
    end
    for _, answer in ipairs(server:ask(requests, 16)) do
      assert.same({ 202, '{"outcome":"accepted"}\n' }, { answer.status, answer.body })
    end
    local record = sandbox:record()
    assert.equal(41, record.requests)
    for _, uuid in ipairs(sandbox.orders) do
      assert.same({ 1, 1 }, { record.cancels[uuid].received, record.cancels[uuid].executed })
    end
    stop()
  end)

  it("answers 400 or 405 to what is wrong in the caller's request, and sends nothing", function()
    local service = serve()
    local OBJECT = "expected a JSON object as the body"
    for _, row in ipairs{
      { "[]", OBJECT }, { "{", OBJECT }, { '"skus"', OBJECT }, { "skus=1", OBJECT },
      { '{"sku":[]}', "expected no field but 'skus' in the body" },
      { '{"token":"x","skus":[]}', "expected no field but 'skus' in the body" },
    } do
      check(400, { outcome = "not_sent", reason = row[2] }, nil, cancel(row[1]))
    end
    for body, field in pairs{
      ['{"skus":null}'] = "skus", ['{"skus":[]}'] = "skus", ['{"skus":"all"}'] = "skus",
      ['{"skus":[{}]}'] = "skus[1].supplier_uuid",
      ['{"skus":[{"supplier_uuid":"757ce28d-fbd6-4b9f-8051-f847482e169f","price":-1}]}'] =
        "skus[1].price",
    } do
      local status, _, text = cancel(body)
      assert.same({ 400, "not_sent", field },
        { status, cjson.decode(text).outcome, cjson.decode(text).field }, body)
    end
    for _, uuid in ipairs{ "", "123", ORDER .. "0" } do
      local status, _, text = request("POST", "/cancel/" .. uuid)
      assert.same({ 400, "order_uuid" }, { status, cjson.decode(text).field })
    end
    local status, headers = request("GET", "/cancel/" .. ORDER)
    assert.same({ 405, "POST" }, { status, headers.allow })
    assert.same({}, new_calls(service))
    stop()
  end)

  it("sends the SKUs, and the id that it tells its caller", function()
    local service = serve()
    local ids = {}
    local body = ('{"skus":[{"supplier_uuid":"%s"}]}'):format(helper.SUPPLIER)
    for i = 1, 3 do ids[i] = check(202, { outcome = "accepted" }, nil, cancel(body)) end
    for i, text in ipairs(new_calls(service)) do
      assert.equal(ids[i], text:match("\r\nX%-Request%-Id: (%x+)\r\n"))
      assert.same({ order_uuid = ORDER, skus = { { supplier_uuid = helper.SUPPLIER } } },
        cjson.decode(text:match("\r\n\r\n(.*)$")))
    end
    assert.is_true(ids[1] ~= ids[2] and ids[2] ~= ids[3])
    stop()
  end)

  it("counts what came of each call, for all workers, in Prometheus' text format", function()
    local service = serve()
    local calls = {
      { 202, helper.response(204) }, { 202, helper.response(204) },
      { 422, helper.response(422) }, { 504, helper.response(503) }, { 504, "" },
    }
    for _, call in ipairs(calls) do
      service:set{ answer = call[2] }
      assert.equal(call[1], (cancel()))
    end
    assert.equal(400, (request("POST", "/cancel/123")))
    assert.equal(405, (request("GET", "/cancel/" .. ORDER))) -- no call
    local status, headers, text = request("GET", "/metrics")
    assert.equal(200, status)
    assert.equal("text/plain; version=0.0.4", headers["content-type"])
    assert.equal([[
# HELP crux_calls_total Calls, by outcome, kind of error and HTTP status
# TYPE crux_calls_total counter
crux_calls_total{outcome="accepted",kind="",status="204"} 2
crux_calls_total{outcome="not_sent",kind="invalid",status=""} 1
crux_calls_total{outcome="rejected",kind="http",status="422"} 1
crux_calls_total{outcome="unknown",kind="http",status="503"} 1
crux_calls_total{outcome="unknown",kind="network",status=""} 1
# HELP crux_call_seconds_total Seconds that calls took, by outcome
# TYPE crux_call_seconds_total counter
crux_call_seconds_total{outcome="accepted"} S
crux_call_seconds_total{outcome="not_sent"} S
crux_call_seconds_total{outcome="rejected"} S
crux_call_seconds_total{outcome="unknown"} S
]], (text:gsub('(seconds_total{outcome="%l+_?%l*"}) [%d.e-]+\n', "%1 S\n")))
    stop()
  end)
end)
