--- Calls from inside nginx for the specs in spec/resty: one nginx at a time, its log held to be
-- clean.
--
--     local resty = require "spec.support.resty"
--     after_each(resty.stop_failed)
--     local server = resty.start{ workers = 2 }
--     local answer = server:run(resty.chunk("get_order", arguments))
--     resty.stop()
-- @module spec.support.resty
local assert = require "luassert"
local helper = require "spec.helper"
local nginx = require "spec.support.nginx"

local resty = {
  --- How a worker of nginx can be woken.
  MODES = { "event", "socket", "poll" },
  --- Why there can be no nginx here, or nil.
  missing = nginx.missing,
}

local server

--- Starts an nginx. Options are those of `nginx.start`.
function resty.start(options)
  server = nginx.start(options)
  return server
end

--- Asserts that nginx exited with 0, and that its log has no alert, no Lua error and no crash. What
-- a reload or a client that went away leaves there is allowed.
function resty.check_log(log, status)
  assert.equal("0", status)
  for line in log:gmatch("[^\n]+") do
    assert.is_nil(line:find("%[alert%]") or line:find("%[crit%]") or line:find("%[emerg%]"), line)
    assert.is_nil(line:find("lua entry thread aborted", 1, true), line)
    assert.is_nil(line:find("exited on signal", 1, true) or line:find("open socket", 1, true), line)
  end
  helper.clean(log)
end

--- Ends the nginx that was started last, and checks its log.
function resty.stop() resty.check_log(server:close()) end

--- Ends it at once if it still runs: for `after_each`, after a spec that failed.
function resty.stop_failed()
  if server then server:close("TERM") end
  server = nil
end

--- A value as Lua source.
function resty.quote(value)
  if type(value) ~= "table" then return type(value) == "string" and ("%q"):format(value) or tostring(value) end
  local parts = {}
  for key, item in pairs(value) do parts[#parts + 1] = ("[%s]=%s"):format(resty.quote(key), resty.quote(item)) end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- What a handler runs to make a call. It answers with the result, the error, and the error as a
-- string.
function resty.chunk(name, arguments)
  return ([[
    local result, err = crux.%s(%s)
    return { result = result, err = err, text = err and tostring(err) }
  ]]):format(name, resty.quote(arguments))
end

--- A list that holds a request so many times.
function resty.times(count, request)
  local list = {}
  for i = 1, count do list[i] = request end
  return list
end

--- How many seconds the slowest of these answers took.
function resty.slowest(answers)
  local most = 0
  for _, answer in ipairs(answers) do most = math.max(most, answer.seconds) end
  return most
end

--- Arguments of a call to a sandbox.
-- @tparam table sandbox
-- @tparam string uuid of the order
-- @tparam[opt] string directive a fault directive, such as `"delay=100"`
-- @tparam[opt] table more further arguments
function resty.arguments(sandbox, uuid, directive, more)
  local made = {
    token = sandbox.tokens.retailer, order_uuid = uuid,
    base_url = sandbox.base_url .. (directive and "/~" .. directive or ""),
  }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

--- Waits until a condition holds; raises after 20 seconds.
-- @tparam function condition
-- @tparam string what it is, for the message
function resty.wait_until(condition, what)
  for _ = 1, 400 do
    if condition() then return end
    os.execute("sleep 0.05")
  end
  error("expected within 20 s: " .. what, 2)
end

--- Waits until every connection of a listener has been closed by its client.
function resty.wait_until_closed(listener)
  resty.wait_until(function()
    for _, conn in ipairs(listener:record().conns) do if not conn.eof then return false end end
    return true
  end, "every connection closed")
end

--- Starts requests as `server:begin` does, and waits until a sandbox has got that many requests.
function resty.begin(sandbox, requests)
  local before = sandbox:record().requests
  local answers = server:begin(requests, #requests)
  resty.wait_until(function() return sandbox:record().requests >= before + #requests end,
    #requests .. " requests at the sandbox")
  return answers
end

return resty
