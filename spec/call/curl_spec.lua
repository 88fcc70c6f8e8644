-- The text of a dry run, run as it stands by a shell and curl, sends what the call sends (#tree).
local crux = require "crux"
local curl = require "crux.curl"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local U, S = helper.ORDER, helper.SUPPLIER
local TRICKY = [['"$HOME`id`\!%s{a,b}[1-9]@/etc/passwd ; # ]] .. "\n\r\t\195\169~"
local server, home

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  local made = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-curl.XXXXXX"'))
  home = made:read("*l")
  made:close()
  local rc = assert(io.open(home .. "/.curlrc", "w"))
  rc:write('header = "X-Curlrc: read"\nrequest = "TRACE"\n')
  rc:close()
end)
teardown(function()
  server:close()
  os.execute("rm -r '" .. home .. "'")
end)

-- Runs a command as a user's shell would, with CRUX_TOKEN set.
local function run(command)
  local script = home .. "/command.sh"
  local file = assert(io.open(script, "w"))
  file:write(command, "\n")
  file:close()
  local pipe = assert(io.popen(("env HOME='%s' CRUX_TOKEN='%s' sh '%s' 2>&1"):format(home, helper.TOKEN, script)))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- The request line, the header fields but User-Agent, and the body of the one request that came.
local function sent()
  local requests = helper.new_requests(server)
  assert.equal(1, #requests)
  local line, rest, body = requests[1]:match("^(.-)\r\n(.-\r\n)\r\n(.*)$")
  local headers = {}
  for name, value in rest:gmatch("([^:\r\n]+): ?([^\r]*)\r\n") do headers[name:lower()] = value end
  headers["user-agent"] = nil
  return line, headers, body
end

-- Both requests are the same but for User-Agent; JSON has no order of fields, so the body is curl's.
local function compare(client, name, arguments)
  local shown = assert(client:dry_run(name, arguments))
  local command = tostring(shown)
  assert.equal("curl -q ", command:sub(1, 8))
  helper.clean(command)
  helper.new_requests(server)
  run(command)
  local line, headers, body = sent()
  assert(client[name](client, arguments))
  local own_line, own_headers, own_body = sent()
  assert.equal(own_line, line)
  assert.same(own_headers, headers)
  assert.equal(shown.body or "", body)
  assert.equal(#own_body, #body)
end

describe("the text of a dry run #tree", function()
  for _, case in ipairs{
    { "an order", "cancel_order", { order_uuid = U } },
    { "a SKU of ordinary text", "cancel_order", { order_uuid = U, skus = { { supplier_uuid = S, sku_id = "000106" } } } },
    { "a SKU full of a shell's characters", "cancel_order",
      { order_uuid = U, skus = { { supplier_uuid = S, sku_id = TRICKY } } } },
    { "a body of 100 KB", "cancel_order",
      { order_uuid = U, skus = { { supplier_uuid = S, sku_id = ("x'"):rep(50000) } } } },
    { "a call without a body", "get_order", { order_uuid = U } },
    { "the other generation", "get_order", { order_uuid = U, api = "timp" } },
  } do
    it("is a curl command that sends the same request: " .. case[1], function()
      local client = assert(crux.new{ base_url = server.base_url .. "/a/../prefix", token = helper.TOKEN })
      compare(client, case[2], case[3])
      client:close()
    end)
  end

  local function by_hand(more)
    local dry = { method = "PATCH", url = server.base_url .. "/orders/", headers = {
      Host = "127.0.0.1:" .. server.port, Accept = "application/json", Authorization = "Token [redacted]" } }
    for name, value in pairs(more) do dry[name] = value end
    return setmetatable(dry, curl)
  end

  it("sends Content-Length: 0 for a PATCH without a body, and no Content-Type", function()
    local dry = by_hand{}
    dry.headers["Content-Length"] = "0"
    helper.new_requests(server)
    run(tostring(dry))
    local _, headers, body = sent()
    assert.equal("", body)
    assert.same({ host = dry.headers.Host, accept = "application/json", ["content-length"] = "0",
      authorization = "Token " .. helper.TOKEN }, headers)
  end)

  it("sends header fields with odd values as they are, an empty one too", function()
    local dry = by_hand{}
    dry.headers.traceparent, dry.headers["X-Odd"], dry.headers["X-Empty"] = "00-ab", "a'b\"$c`d", ""
    helper.new_requests(server)
    run(tostring(dry))
    local _, headers = sent()
    assert.equal("00-ab", headers.traceparent)
    assert.equal("a'b\"$c`d", headers["x-odd"])
    assert.equal("", headers["x-empty"])
  end)

  it("reads no ~/.curlrc", function()
    helper.new_requests(server)
    run(tostring(by_hand{}))
    local line, headers = sent()
    assert.equal("PATCH /orders/ HTTP/1.1", line)
    assert.is_nil(headers["x-curlrc"])
    run((tostring(by_hand{}):gsub("^curl %-q", "curl"))) -- the file is one that curl would read
    local _, read = sent()
    assert.equal("read", read["x-curlrc"])
  end)

  it("says that a login's cannot be run", function()
    local dry = by_hand{ method = "POST", body = '{"username":"u","password":"[redacted]"}' }
    dry.headers.Authorization = nil
    assert.truthy(tostring(dry):find(" # not runnable: the password is redacted$"))
    assert.is_nil(tostring(by_hand{ body = '{"a":"[redacted]"}' }):find("not runnable", 1, true))
  end)
end)
