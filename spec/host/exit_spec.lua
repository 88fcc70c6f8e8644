-- Ctrl-C and exit() in the middle of a call. Each case is a child process.
local core = require "crux.core"
local fault = require "spec.support.fault"

local LUA = os.getenv("TEST_LUA") or "lua5.4"
local TOKEN = "process-spec-token-0123456789abcdef"

-- The start of each child's script. `say` prints without buffering, `arguments` are those of a
-- call.
local PREAMBLE = [[
local crux, core = require "crux", require "crux.core"
local function say(...)
  print(...)
  io.stdout:flush()
end
local function arguments(more)
  local made = {
    token = %q, base_url = %q, ca_file = %s, timeout = 20, connect_timeout = 15,
    order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29",
  }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end
]]

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local Child = {}
Child.__index = Child
local running

-- The inner shell becomes the interpreter, so its pid is known; the outer one prints the exit
-- status, under any Lua.
local function start(server, source)
  local self = setmetatable({ script = os.tmpname(), errors = os.tmpname() }, Child)
  local file = assert(io.open(self.script, "w"))
  local ca_file = fault.ca_file and ("%q"):format(fault.ca_file) or "nil"
  file:write(PREAMBLE:format(TOKEN, server.base_url, ca_file), source)
  file:close()
  self.output = assert(io.popen(("sh -c 'echo $$; exec %s %s 2> %s'; echo ended $?"):format(LUA, self.script, self.errors)))
  self.pid = self.output:read("*l")
  running = self
  return self
end

function Child:line() return self.output:read("*l") end

function Child:interrupt()
  self.interrupted = core.now()
  os.execute("kill -INT " .. self.pid)
end

-- Waits for the end: `{ status, lines, errors }`, none of which has a token in it.
function Child:finish()
  local ended = { lines = {} }
  for line in self.output:lines() do
    ended.status = tonumber(line:match("^ended (%d+)$"))
    if not ended.status then ended.lines[#ended.lines + 1] = line end
  end
  ended.errors = read(self.errors)
  self:forget()
  assert.is_nil((table.concat(ended.lines, "\n") .. ended.errors):find(TOKEN, 1, true))
  return ended
end

function Child:forget()
  running = nil
  self.output:close()
  os.remove(self.script)
  os.remove(self.errors)
end

-- Ends the child of a case that failed.
after_each(function()
  if not running then return end
  os.execute("kill -KILL " .. running.pid)
  running:forget()
end)

local function until_true(condition)
  local deadline = core.now() + 15
  repeat
    if condition() then return end
    os.execute("sleep 0.02")
  until core.now() > deadline
  error("expected the child to come so far within 15 s")
end

local function has_requests(server, count)
  return function() return server:record().requests >= count end
end

teardown(fault.stop)

describe("Ctrl-C", function()
  -- Half a second is promised; the rest is for starting `kill` and for a sanitizer. A busy machine
  -- may be late, but not in every round.
  local PROMPT, ROUNDS = 1.5, 5

  -- A spec whose body returns how many seconds after the signal the call has ended.
  local function prompt(name, body)
    it(name, function()
      local took
      for _ = 1, ROUNDS do
        took = body()
        if took < PROMPT then return end
      end
      error(("expected less than %g s, found %.3f s"):format(PROMPT, took))
    end)
  end

  -- Interrupts a child, checks how it ends, and returns how many seconds that took.
  local function interrupt(child)
    child:interrupt()
    local ended = child:finish()
    assert.is_truthy(ended.errors:find("interrupted!", 1, true), ended.errors)
    assert.equal(1, ended.status, ended.errors)
    local at = tonumber(ended.lines[#ended.lines])
    return at - child.interrupted
  end

  -- The clock is the same in both processes.
  local TIMED = [[
local ok, why = pcall(function() %s end)
say(("%%.6f"):format(core.now()))
if not ok then error(why, 0) end
]]

  for _, name in ipairs{ "cancel_order", "get_order" } do
    prompt("ends a " .. name .. " that waits for a response", function()
      local server = fault.serve{ script = "conn:request() conn:hold()" }
      local child = start(server, TIMED:format("crux." .. name .. "(arguments())"))
      until_true(has_requests(server, 1))
      local took = interrupt(child)
      server:close()
      return took
    end)
  end

  prompt("ends an uncaught call with the interpreter's usual message", function()
    local server = fault.serve{ script = "conn:request() conn:hold()" }
    local child = start(server, "crux.cancel_order(arguments())\nsay 'not reached'")
    until_true(has_requests(server, 1))
    child:interrupt()
    local ended = child:finish()
    local took = core.now() - child.interrupted
    assert.same({}, ended.lines)
    assert.is_truthy(ended.errors:find("interrupted!", 1, true), ended.errors)
    assert.equal(1, ended.status, ended.errors)
    server:close()
    return took
  end)

  -- So fast that the signal finds the call busy as often as waiting; hence several rounds.
  prompt("ends a call whose response is slow", function()
    local most = 0
    for _ = 1, 6 do
      local server = fault.serve{ script = [[
        conn:request()
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n")
        local piece = ("x"):rep(2000)
        while not conn.closed and conn:write(piece) do conn:sleep(0.0005) end
      ]] }
      local child = start(server, TIMED:format("crux.cancel_order(arguments{ max_body = 64 * 1024 * 1024 })"))
      until_true(has_requests(server, 1))
      most = math.max(most, interrupt(child))
      server:close()
    end
    return most
  end)

  prompt("ends a call whose handshake is never finished", function()
    local server = fault.serve{ tls = "good", script = "conn:raw() conn:hold()" }
    local child = start(server, TIMED:format("crux.cancel_order(arguments())"))
    until_true(function() return server:record().raw > 0 end)
    local took = interrupt(child)
    server:close()
    return took
  end)

  prompt("ends a call that waits for a connection", function()
    local server = fault.silent()
    local child = start(server, TIMED:format("crux.cancel_order(arguments{ on_event = function(e) say(e.name) end })"))
    assert.equal("request", child:line())
    os.execute("sleep 0.3")
    local took = interrupt(child)
    server:close()
    return took
  end)

  prompt("ends the pause before a retry", function()
    local server = fault.serve{ script = [[
      conn:request()
      conn:write("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 15\r\nContent-Length: 0\r\n\r\n")
    ]] }
    local child = start(server, TIMED:format(
      "crux.cancel_order(arguments{ on_event = function(e) if e.name == 'retry' then say(e.pause) end end })"))
    assert.equal(15, tonumber(child:line()))
    os.execute("sleep 0.3")
    local took = interrupt(child)
    assert.equal(1, server:record().requests)
    server:close()
    return took
  end)

  prompt("ends pending:wait", function()
    local server = fault.serve{ script = "conn:request() conn:hold()" }
    local child = start(server, [[
      local options = arguments()
      local order = options.order_uuid
      options.order_uuid = nil
      local client = crux.new(options)
      local pending = client:submit("cancel_order", { order_uuid = order })
    ]] .. TIMED:format("pending:wait()"))
    until_true(has_requests(server, 1))
    local took = interrupt(child)
    server:close()
    return took
  end)

  -- The callback never returns by itself. It calls into C: LuaJIT runs no hook in a compiled loop
  -- without that, and ThreadSanitizer delivers a signal only at a call of the system's library.
  for _, option in ipairs{ "on_event", "token" } do
    prompt("ends a blocking call in its function " .. option, function()
      local server = fault.serve{ script = "conn:request() conn:hold()" }
      local child = start(server, TIMED:format(([[
        crux.cancel_order(arguments{ %s = function()
          say "inside"
          while true do core.now() end
        end })
      ]]):format(option)))
      assert.equal("inside", child:line())
      local took = interrupt(child)
      assert.equal(0, server:record().requests)
      server:close()
      return took
    end)
  end

  prompt("ends a submitted call in on_event, which is then done with what was known", function()
    local server = fault.serve{ script = [[
      conn:request()
      conn:write("HTTP/1.1 204 No Content\r\n\r\n")
      conn:eof()
    ]] }
    local child = start(server, [[
      local options = arguments{ on_event = function(e)
        if e.name ~= "response" then return end
        say "inside"
        while true do core.now() end
      end }
      local order = options.order_uuid
      options.order_uuid = nil
      local client = crux.new(options)
      local pending = client:submit("cancel_order", { order_uuid = order })
      local ok, why = pcall(pending.wait, pending)
      local done, result = pending:poll()
      say(tostring(done) .. " " .. result.outcome)
      say(("%.6f"):format(core.now()))
      error(why, 0)
    ]])
    assert.equal("inside", child:line())
    child:interrupt()
    local ended = child:finish()
    assert.is_truthy(ended.errors:find("interrupted!", 1, true), ended.errors)
    assert.equal("true accepted", ended.lines[1])
    server:close()
    return tonumber(ended.lines[2]) - child.interrupted
  end)

  prompt("ends a batch, whose report holds what was in flight and what waits", function()
    local server = fault.serve{ script = [[
      conn:request()
      if n <= 2 then
        local busy = "HTTP/1.1 429 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        conn:write(n == 1 and "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" or busy)
        return
      end
      conn:hold()
    ]] }
    local child = start(server, [[
      local options = arguments()
      local order, given, report = { order_uuid = options.order_uuid }, 0, {}
      options.order_uuid = nil
      local client = crux.new(options)
      local ok, why = pcall(client.batch, client, "cancel_order", function()
        given = given + 1
        return order
      end, { concurrency = 3, report = report })
      local counts = report.counts
      say(report.stopped, counts.accepted, given == counts.accepted + counts.unknown + counts.rejected + counts.not_sent,
        counts.accepted + #report.unknown + #report.rejected + #report.not_sent == given)
      for _, row in ipairs(report.unknown) do assert(row.err.kind == "aborted") end
      say(("%.6f"):format(core.now()))
      error(why, 0)
    ]])
    until_true(has_requests(server, 4))
    child:interrupt()
    local ended = child:finish()
    assert.is_truthy(ended.errors:find("interrupted!", 1, true), ended.errors)
    assert.equal("interrupted\t1\ttrue\ttrue", ended.lines[1])
    server:close()
    return tonumber(ended.lines[2]) - child.interrupted
  end)

  it("leaves the client usable, without the connection", function()
    local server = fault.serve{ script = [[
      conn:request()
      if n == 1 then conn:hold() end
      conn:write("HTTP/1.1 204 No Content\r\n\r\n")
      conn:eof()
    ]] }
    local child = start(server, [[
      say(pcall(crux.cancel_order, arguments()))
      local result, err = crux.cancel_order(arguments())
      say(err or result.outcome)
    ]])
    until_true(has_requests(server, 1))
    child:interrupt()
    local ended = child:finish()
    assert.is_truthy(ended.lines[1]:find("^false.*interrupted!"), ended.lines[1])
    assert.equal("accepted", ended.lines[2])
    assert.equal("", ended.errors)
    assert.equal(0, ended.status)
    local record = server:record()
    assert.equal(2, record.requests)
    assert.equal(2, record.connections)
    server:close()
  end)
end)

describe("the process ends normally", function()
  local ENDS = {
    { "os.exit(3)", "os.exit(3)", 3 },
    -- in Lua 5.1 the same as the one above
    { "os.exit(3, true)", "os.exit(3, true)", 3 },
    { "an error", "error('the end', 0)", 1 },
  }

  local function ends_well(server, source, how)
    local child = start(server, source)
    local before = core.now()
    local ended = child:finish()
    assert.same({ "so far" }, ended.lines, ended.errors)
    if how[1] == "an error" then assert.is_truthy(ended.errors:find("the end", 1, true), ended.errors)
    else assert.equal("", ended.errors) end
    assert.equal(how[3], ended.status, ended.errors)
    assert.is_true(core.now() - before < 15)
  end

  for _, how in ipairs(ENDS) do
    it("by " .. how[1] .. " after a call", function()
      local server = fault.serve{ tls = "good", script = [[
        conn:request()
        conn:write("HTTP/1.1 204 No Content\r\n\r\n")
        conn:eof()
      ]] }
      ends_well(server, "local result, err = crux.cancel_order(arguments())\nassert(result, err)\nsay 'so far'\n" .. how[2], how)
      server:close()
    end)

    for _, event in ipairs{ "request", "response", "retry" } do
      it(("by %s in the middle of a call, from on_event (%s)"):format(how[1], event), function()
        -- an error there is told in meta.event_error, and does not end the process
        if how[1] == "an error" then return end
        local server = fault.serve{ script = [[
          conn:request()
          conn:write("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")
          conn:hold()
        ]] }
        ends_well(server, ([[
          crux.cancel_order(arguments{ on_event = function(e)
            if e.name == %q then
              say 'so far'
              %s
            end
          end })
        ]]):format(event, how[2]), how)
        server:close()
      end)
    end

    it("by " .. how[1] .. " in the middle of a call, from the token function", function()
      -- an error there becomes the call's error, and does not end the process
      if how[1] == "an error" then return end
      local server = fault.refused()
      ends_well(server, "crux.cancel_order(arguments{ token = function() say 'so far' " .. how[2] .. " end })", how)
      server:close()
    end)

    for tls, identity in pairs{ TCP = false, TLS = "good" } do
      it(("by %s with submitted calls in flight over %s"):format(how[1], tls), function()
        local server = fault.serve{ tls = identity or nil, script = "conn:request() conn:hold()" }
        ends_well(server, ([[
          local options = arguments()
          local order = options.order_uuid
          options.order_uuid = nil
          local client = crux.new(options)
          for _ = 1, 20 do assert(client:submit("cancel_order", { order_uuid = order })) end
          core.sleep(0.05)
          say 'so far'
          %s
        ]]):format(how[2]), how)
        server:close()
      end)
    end
  end

  -- The worker may be anywhere: not yet awake, in the middle of connecting, or done.
  for _, how in ipairs{ { "the end of the script", "", 0 }, ENDS[1], ENDS[2] } do
    it(("by %s right after submitting, 30 times"):format(how[1]), function()
      local silent, refused = fault.silent(), fault.refused()
      for i = 1, 30 do
        ends_well(i % 2 == 0 and silent or refused, ([[
          local options = arguments()
          local order = options.order_uuid
          options.order_uuid = nil
          local client = crux.new(options)
          for _ = 1, %d do assert(client:submit("cancel_order", { order_uuid = order })) end
          say 'so far'
          %s
        ]]):format(i, how[2]), how)
      end
      silent:close()
      refused:close()
    end)
  end
end)
