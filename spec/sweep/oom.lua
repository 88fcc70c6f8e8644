-- The allocation-failure sweep: every allocation of Lua's, and every call of core.so that can fail
-- for want of something, fails once. Nothing may crash, leak (AddressSanitizer watches memory, and
-- descriptors are counted) or claim more than the server has seen, and afterwards all works as
-- before. `make oom`.
local host = require "host"

io.stdout:setvbuf("line")
local TOKEN = "oom-sweep-token-0123456789"

local passed, failed = 0, 0
local names = {} -- of the C calls that were made to fail

local function complain(name, n, ...)
  failed = failed + 1
  io.stderr:write(("oom: %s, failure %d: "):format(name, n), table.concat({ ... }, " "), "\n")
end

-- What happens once in a process needs a process for each failure, and comes before all else here.
-- A child is this script with a number.
local function load_once(n)
  local count, name, ok, core = host.fail(n, function() return require "crux.core" end)
  if not ok and not tostring(core):find("could not be initialized", 1, true) then error(core, 0) end
  if ok then core.cancel_order{ order_uuid = 1 } end
  print(count, name)
end

local function load_in_children()
  local n = 0
  repeat
    n = n + 1
    local child = assert(io.popen(("'%s' spec/sweep/oom.lua %d"):format(arg[-1], n)))
    local printed = child:read("a")
    if not child:close() then complain("the first load", n, "expected a child to end well") end
    local count, name = printed:match("^(%d+)\t(%S+)\n$")
    if not name then return complain("the first load", n, "expected a count, found", printed) end
    names[name] = true
    passed = passed + 1
  until tonumber(count) < n
  print(("%-50s %-7s %5d failures"):format("the first load", "fail", n))
end

if arg[1] then
  load_once(tonumber(arg[1]))
  os.exit(true, true)
end
load_in_children()

local core = require "crux.core"
local crux = require "crux"
local cqueues = require "cqueues.socket"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local mock = require "crux.mock"

local function serve(tls, status, body)
  return fault.serve{
    tls = tls and "good" or nil,
    script = "while conn:request() do conn:write(shared.answer) end",
    shared = {
      answer = ("HTTP/1.1 %s\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: %d\r\n\r\n%s"):format(
        status, #body, body),
    },
  }
end

local ACCEPTING = { "200 OK", '{"a":[1,{"b":2}]}' }
local REJECTING = {
  "422 Unprocessable Entity", '{"skus":[{},{"sku_id":["no"]}],"non_field_errors":["x"],"y":"z"}',
}

-- For any Lua state: a client, and one call of it in either way.
local CALLS = [[
  local crux = require "crux"
  local calls = {}

  calls.order = {
    order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29",
    skus = {
      {
        supplier_uuid = "757ce28d-fbd6-4b9f-8051-f847482e169f", sku_id = "000106", quantity = 2,
        price = 1.5,
      },
    },
  }

  function calls.client(token, base_url, ca_file, idle_timeout)
    return assert(crux.new{
      token = token, base_url = base_url, ca_file = ca_file, idle_timeout = idle_timeout,
      proxy = "", timeout = 10, retries = 0,
    })
  end

  function calls.blocking(client) return client:cancel_order(calls.order) end

  function calls.submitted(client)
    local pending, err = client:submit("cancel_order", calls.order)
    if not pending then return nil, err end
    local done, result, why = pending:wait(30)
    if not done then error("expected a call to end", 0) end
    return result, why
  end

  return calls
]]

-- In a Lua state of its own neither an engine nor a worker, nor a connection, is there before the
-- call. What comes back is flat: of the call that was made to suffer, and how the next went.
local FRESH = "local calls = (function() " .. CALLS .. " end)()" .. [[
  local host = require "host"
  local way, n, how, token, base_url, ca_file = ...
  local client = calls.client(token, base_url, ca_file)
  local function call() return calls[how](client) end
  local function flat(count, which, ok, result, err)
    local answer = ok and (result or err) or { meta = {} }
    local next_result, next_err = call()
    local after = next_result or next_err
    client:close()
    return count, which, ok, not ok and tostring(result) or nil, answer.outcome, answer.kind,
      answer.message, answer.meta.sends, answer.meta.reused, after.outcome, after.message
  end
  if way == "fail" then return flat(host.fail(n, call)) end
  local function starved(count, ...) return flat(count, nil, ...) end
  return starved(host.starve(n, call))
]]

local calls = assert(load(CALLS))()

-- What failed, or nil; what there was to fail; whether nothing was raised; and what came back.
local function suffer(way, n, run)
  if way == "fail" then return host.fail(n, run) end
  local function starved(count, ...) return count, nil, ... end
  return starved(host.starve(n, run))
end

-- --- what may be said ---

local function is_for_want(message)
  return message:find("memory", 1, true) or message:find("descriptor", 1, true)
end

-- `arrived`: how many requests have reached the server meanwhile, or nil where nobody counts.
local function check(scene, n, which, ok, result, err, arrived)
  local name = scene.name .. (which and ", " .. which or "")
  if not ok then
    if not is_for_want(tostring(result)) then
      complain(name, n, "expected 'not enough memory' to be raised, found", tostring(result))
    end
    if (arrived or 0) > 1 then complain(name, n, "found", arrived, "requests sent by one call") end
    return
  end
  local answer = result or err
  if type(answer) ~= "table" then return end
  if tostring(answer.message):find(TOKEN, 1, true) then
    complain(name, n, "found the token in a message")
  end
  local is_expected = scene.outcome == nil and result ~= nil or answer.outcome == scene.outcome
  if scene.kind and answer.kind ~= scene.kind then is_expected = false end
  -- what the user's own function raised
  local raised = "headers: the headers function raised an error: not enough memory"
  if answer.outcome == "not_sent" and answer.message == raised then is_expected = true end
  if not is_expected and answer.kind ~= "memory" and answer.outcome ~= "other" then
    complain(name, n, "expected", tostring(scene.outcome), scene.kind or "",
      "or a failure for want of memory, found", tostring(answer.outcome), tostring(answer.kind),
      tostring(answer.message))
  end
  -- one that was passed over might be the one that has the server verified
  local is_answered = answer.outcome == "accepted" or answer.outcome == "rejected"
  if which == "curl_easy_setopt" and is_answered then
    complain(name, n, "expected no answer on a connection that lacks an option")
  end
  if not arrived then return end
  local sends, is_unsent = answer.meta.sends, answer.outcome == "not_sent"
  if is_unsent and (sends ~= 0 or arrived ~= 0) or sends < arrived or arrived > 1 then
    complain(name, n, "found", answer.outcome, sends, "sends, and", arrived, "at the server")
  end
end

local function requests(server)
  if not server then return nil end
  local record, begun = server:record(), 0
  for _, conn in ipairs(record.conns) do begun = begun + conn.begun end
  if record.errors[1] then error(record.errors[1], 0) end
  return begun
end

-- --- scenes ---

local scenes = {}

--- `outcome` (and `kind`) is what it comes to when nothing fails; `prepare` is done before each
-- time; `verify` looks at more than the answer; `server` is asked what has arrived; `reused` is
-- whether a kept connection carries it; `spare` is how many connections more may be kept at the end
-- than at first.
local function scene(name, run, outcome, more)
  local made = more or {}
  made.name, made.run, made.outcome = name, run, outcome
  scenes[#scenes + 1] = made
end

local accepting = serve(false, table.unpack(ACCEPTING))
local rejecting = serve(false, table.unpack(REJECTING))

local function matrix(kind, how)
  local server = serve(kind == "TLS", table.unpack(ACCEPTING))
  local fresh = calls.client(TOKEN, server.base_url, fault.ca_file, 0)
  local kept = calls.client(TOKEN, server.base_url, fault.ca_file)
  scene(("a %s call, %s, on a fresh connection"):format(how, kind),
    function() return calls[how](fresh) end, "accepted", { server = server, reused = false })
  scene(("a %s call, %s, on a kept connection"):format(how, kind),
    function() return calls[how](kept) end, "accepted",
    { server = server, reused = true, prepare = function() return calls[how](kept) end })
end

-- --- the sweep ---

-- A worker may still be closing the last of its connections.
local function descriptors_settle(most)
  local deadline = core.now() + 5
  while forks.descriptors() > most and core.now() < deadline do core.sleep(0.005) end
  return forks.descriptors()
end

local function sweep(name, way, fail_nth)
  local n = 0
  repeat
    n = n + 1
    local count, which = fail_nth(n)
    if which then names[which] = true end
    passed = passed + 1
  until count < n or n == 5000
  print(("%-50s %-7s %5d failures"):format(name, way, n))
end

local function play(s)
  if s.prepare then s.prepare() end
  s.run() -- what is made once is made
  local before = forks.descriptors()
  for _, way in ipairs{ "starve", "fail" } do
    sweep(s.name, way, function(n)
      if s.prepare then s.prepare() end
      local seen = requests(s.server)
      local count, which, ok, result, err = suffer(way, n, s.run)
      collectgarbage()
      check(s, n, which, ok, result, err, seen and requests(s.server) - seen)
      if s.verify then s.verify(n) end
      if count < n and s.reused ~= nil and result.meta.reused ~= s.reused then
        complain(s.name, n, "expected", s.reused and "a kept" or "a fresh", "connection")
      end
      return count, which
    end)
    if s.prepare then s.prepare() end
    local ok, result, err = pcall(s.run)
    if not ok or (s.outcome and (result or err).outcome ~= s.outcome) then
      complain(s.name, 0, "expected all to be well afterwards, found",
        tostring(ok and err or result))
    end
  end
  collectgarbage()
  before = before + (s.spare or 0)
  local left = descriptors_settle(before) - before
  if left > 0 then complain(s.name, 0, "found", left, "more descriptors") end
end

-- The server has got the next call's request too, in any case.
local function play_fresh(kind, how)
  local server = serve(kind == "TLS", table.unpack(ACCEPTING))
  local s = { outcome = "accepted" }
  s.name = ("a %s call, %s, the first of a Lua state"):format(how, kind)
  local before
  for _, way in ipairs{ "starve", "fail" } do
    sweep(s.name, way, function(n)
      local seen = requests(server)
      local count, which, ok, raised, outcome, kind_of, message, sends, reused, after, why =
        host.state(FRESH, way, n, how, TOKEN, server.base_url, fault.ca_file)
      local answer = { outcome = outcome, kind = kind_of, message = message }
      answer.meta = { sends = sends }
      if after ~= "accepted" then
        complain(s.name, n, "expected the next call to work, found", after, why)
      end
      check(s, n, which, ok, ok and answer or raised, nil, requests(server) - seen - 1)
      if reused then complain(s.name, n, "expected a fresh connection") end
      before = before or descriptors_settle(forks.descriptors())
      return math.tointeger(count), which
    end)
  end
  local left = descriptors_settle(before) - before
  if left > 0 then complain(s.name, 0, "found", left, "more descriptors") end
  server:close()
end

-- These come first: the worker ends with the last Lua state that uses it.
for _, kind in ipairs{ "plain", "TLS" } do
  for _, how in ipairs{ "blocking", "submitted" } do play_fresh(kind, how) end
end

for _, kind in ipairs{ "plain", "TLS" } do
  for _, how in ipairs{ "blocking", "submitted" } do matrix(kind, how) end
end

local accepted_client = calls.client(TOKEN, accepting.base_url)
local rejected_client = calls.client(TOKEN, rejecting.base_url)
local order = calls.order

local function arguments(server)
  return {
    token = TOKEN, base_url = server.base_url, order_uuid = order.order_uuid, skus = order.skus,
    timeout = 10,
  }
end

scene("load", function()
  return package.loadlib(package.searchpath("crux.core", package.cpath), "luaopen_crux_core")()
end)
scene("one call", function() return core.cancel_order(arguments(accepting)) end, "accepted")
scene("one rejected call", function()
  return core.cancel_order(arguments(rejecting))
end, "rejected")
scene("one invalid call", function()
  return core.cancel_order{ order_uuid = 1, skuz = 2 }
end, "not_sent", { kind = "invalid" })
scene("a client", function()
  local client, err = crux.new{
    token = TOKEN, user_agent = "a/1", proxy = "http://u:p@localhost:1",
  }
  return client and tostring(client), err
end)
scene("a client with files", function()
  return crux.new{
    token = TOKEN, base_url = "https://127.0.0.1:1/a", proxy = "socks5h://localhost",
    no_proxy = "a", ca_file = fault.ca_file, ca_path = fault.ca_path, cert_file = fault.ca_file,
    key_file = fault.ca_file,
  }
end)
scene("a client's rejected call", function()
  return rejected_client:cancel_order(order)
end, "rejected")
local self_signed = fault.serve{ tls = "self_signed", script = "conn:request()" }
for kind, server in pairs{ connect = fault.refused(), tls = self_signed } do
  local client = calls.client(TOKEN, server.base_url, fault.ca_file)
  scene("a call that fails, " .. kind, function() return client:cancel_order(order) end, "not_sent",
    { kind = kind })
end
scene("a dry run", function()
  return accepted_client:dry_run("get_order", { order_uuid = order.order_uuid })
end)
scene("a submitted call of a client of its own", function()
  local own = calls.client(TOKEN, rejecting.base_url)
  local pending, err = own:submit("cancel_order", order)
  if not pending then return nil, err end
  own:pollfd()
  while not pending:poll() do own:step() end
  own:close()
  return select(2, pending:poll())
end, "rejected")
local with_headers = assert(crux.new{
  token = TOKEN, base_url = accepting.base_url, proxy = "", timeout = 10, retries = 0,
  headers = { ["X-Client"] = "1" },
})
for _, how in ipairs{ "blocking", "submitted" } do
  scene(("a %s call with a headers function"):format(how), function()
    local with_id = { headers = function(attempt) return { ["X-Id"] = attempt.endpoint } end }
    for name, value in pairs(order) do with_id[name] = value end
    if how == "blocking" then return with_headers:cancel_order(with_id) end
    local pending, err = with_headers:submit("cancel_order", with_id)
    if not pending then return nil, err end
    return select(2, pending:wait(30))
  end, "accepted", { server = accepting, spare = 1 })
end
local issuing = fault.serve{ script = [[
  local request = conn:request()
  while request do
    local body = request.path:find("user-login", 1, true) and '{"auth_token":"t-1"}' or "{}"
    conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
    request = conn:request()
  end
]] }
local function new_user()
  return crux.new{
    username = "u", password = "p", base_url = issuing.base_url, timeout = 10, retries = 0,
    token_cache = { get = function() end, set = function() end, add = function() return true end },
    on_event = function() end,
  }
end
scene("a call that logs in", function()
  local own, err = new_user()
  if not own then return nil, err end
  local result
  result, err = own:cancel_order(order)
  own:close()
  return result, err
end, "accepted")
scene("a submitted call that logs in", function()
  local own, err = new_user()
  if not own then return nil, err end
  local pending
  pending, err = own:submit("cancel_order", order)
  if not pending then return nil, err end
  local _, result, failure = pending:wait()
  own:close()
  return result, failure
end, "accepted")
scene("a dropped call", function()
  accepted_client:submit("cancel_order", order)
  return "dropped"
end, nil, { spare = 1 })
-- A batch that raises has said in its report what was sent.
local report, seen
scene("many calls", function()
  report = {}
  accepted_client:cancel_orders({ order, order, order }, { report = report })
  return { outcome = report.counts.accepted == 3 and "accepted" or "other" }
end, "accepted", {
  spare = 2,
  prepare = function() seen = requests(accepting) end,
  verify = function(n)
    local sent, counts = requests(accepting) - seen, report.counts
    local told = counts and counts.accepted + counts.unknown or 0
    local sum = counts and told + counts.not_sent + counts.rejected + counts.not_started
    if told < sent or sent > 0 and sum ~= 3 then
      complain("many calls", n, "found", sent, "requests, and in the report", told, "of",
        tostring(sum))
    end
  end,
})
local double = assert(mock.new{
  token = TOKEN, retries = 0, answers = {
    cancel_order = function() return { status = 200, headers = { ["X-A"] = 1 }, body = { a = { 1 } } } end,
    get_order = function() return "timeout_sent" end,
  },
})
local function submitted(name)
  local pending, err = double:submit(name, { order_uuid = order.order_uuid })
  if not pending then return nil, err end
  return select(2, pending:poll())
end
scene("a mock", function()
  local made, err = mock.new{ answers = { get_order = { { status = 200, body = "{}" }, "dns" } } }
  if not made then return nil, err end
  made:close()
  return tostring(made)
end)
scene("a mock's call", function() return double:cancel_order(order) end, "accepted")
scene("a mock's submitted call", function() return submitted("cancel_order") end, "accepted")
scene("a mock's submitted call that times out", function() return submitted("get_order") end, "unknown",
  { kind = "timeout" })
scene("a mock's many calls", function()
  local counts = double:cancel_orders{ order, order }.counts
  return { outcome = counts.accepted == 2 and "accepted" or "other" }
end, "accepted")
scene("a socket that wakes", function()
  local inbox = core.inbox()
  local path = inbox:open_socket()
  local sock = path and cqueues.connect{ path = path }
  if sock then sock:connect() end
  local is_met = inbox:accept_socket()
  inbox:close_socket()
  inbox:close()
  if sock then sock:close() end
  return { outcome = is_met and "accepted" or "other" }
end, "accepted")

for _, s in ipairs(scenes) do play(s) end

-- A name that core.so no longer calls, or that the linker has found elsewhere, would fail nothing.
for line in io.lines("spec/support/failing.c") do
  local name = line:match("^FAILS[A-Z_]*%(([a-z0-9_]+),")
  if name and not names[name] then complain(name, 0, "expected to be called, was not") end
end

accepted_client:close()
rejected_client:close()
fault.stop()
print(("%d failures survived, %d complaints"):format(passed, failed))
os.exit(failed == 0, true)
