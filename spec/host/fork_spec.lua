-- fork(), exit(), the end of a Lua state, and Lua states in several threads, all with a busy
-- worker.
local crux = require "crux"
local core = require "crux.core"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"
local libcurl = require "spec.support.libcurl"

local ANSWER = "while conn:request() do conn:sleep(0.002) conn:write('HTTP/1.1 204 No Content\\r\\n\\r\\n') end"
local HOLD = "conn:request() conn:hold()"

local object = forks.compile("fork.c")

teardown(function()
  os.remove(object)
  fault.stop()
end)

-- The start of a script in a new interpreter.
local PREAMBLE = [[
local crux, core, forks = require "crux", require "crux.core", package.loadlib(%q, "luaopen_fork")()
local count = %d
local seed = %d
local function random(n)
  seed = seed * 48271 %% 2147483647
  return seed %% n
end
local serial = 0
-- its UUID has the process id
local function order()
  serial = serial + 1
  return { order_uuid = ("54a31ec5-b0be-4a92-%%04x-%%08x%%04x"):format(math.floor(serial / 65536), forks.getpid(), serial %% 65536) }
end
local function connect(more)
  local options = { token = %q, base_url = %q, ca_file = %s, timeout = 20, retries = 0 }
  for name, value in pairs(more or {}) do options[name] = value end
  return assert(crux.new(options))
end
]]

local function preamble(server, count)
  return PREAMBLE:format(object, count or 0, math.floor(core.random() * 1e6), helper.TOKEN, server.base_url,
    fault.ca_file and ("%q"):format(fault.ca_file) or "nil")
end

-- A forked child abandons what was its parent's, memory too; LeakSanitizer must not report that.
local ABANDONS = { ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":detect_leaks=0" }

local function run(server, count, script)
  local before = core.now()
  return helper.child(preamble(server, count) .. script, ABANDONS), core.now() - before
end

-- ThreadSanitizer does not support threads in a forked child: `make tsan` excludes the tag #fork.
describe("fork under load, #fork", function()
  -- A forked child reports by its exit status alone.
  local FORKS = [[
    local client = connect{ max_connections = 8 }
    local calls, accepted = {}, 0

    local function child()
      local inherited = client:in_flight()
      local seen = 0
      while client:in_flight() > 0 do
        local call = client:step()
        if not call then return 10 end -- what the parent submitted will not be heard of: it is done at once
        local done, result, err = call:poll()
        if not done then return 11 end
        if err and not (err.kind == "aborted" and err.outcome == "unknown") then return 12 end
        seen = seen + 1
      end
      if seen < inherited then return 13 end
      local kind = random(4)
      if kind == 0 then
        local call = client:submit("cancel_order", order())
        local done, result = call:wait(10)
        if not (done and result) then return 20 end
        while true do
          local stepped = client:step()
          if stepped == call then break end
          if not stepped then return 21 end
        end
      elseif kind == 1 then
        if not client:cancel_order(order()) then return 22 end
      elseif kind == 2 then
        local own = connect()
        local call = own:submit("cancel_order", order())
        while not own:step() do if not forks.readable(own:pollfd(), 10) then return 23 end end
        if not select(2, call:poll()) then return 24 end
        own:close()
        client:close()
      end
      return 0
    end

    local children, failures = {}, {}
    local function reap(seconds)
      local pid = table.remove(children, 1)
      local code, signal = forks.waitpid(pid, seconds)
      if code ~= 0 then
        failures[#failures + 1] = code == false and "hangs" or tostring(code or "signal " .. signal)
        if code == false then forks.kill(pid, 9) forks.waitpid(pid, 5) end
      end
    end

    for i = 1, count do
      while client:in_flight() < 24 do
        local call = assert(client:submit("cancel_order", order()))
        calls[call] = true
      end
      core.sleep(random(1000) / 1e6)
      local pid = forks.fork()
      if pid == 0 then
        local ok, code = pcall(child)
        if not ok then io.stderr:write(tostring(code), "\n") code = 99 end
        if random(2) == 0 then forks._exit(code) end
        os.exit(code)
      end
      children[#children + 1] = pid
      if #children >= 4 then reap(20) end
      for _ = 1, 8 do
        local call = client:step()
        if not call then break end
        assert(calls[call], "returned twice, or never submitted")
        calls[call] = nil
        local _, result, err = call:poll()
        assert(result, err)
        accepted = accepted + 1
      end
    end
    while #children > 0 do reap(20) end
    while client:in_flight() > 0 do forks.readable(client:pollfd(), 1) client:step() end
    client:close()
    print(#failures == 0 and "ok" or table.concat(failures, ", "))
    os.exit(0)
  ]]

  -- Each connection has the requests of one process only.
  local function is_kept_apart(server)
    local record = server:record()
    for _, conn in ipairs(record.conns) do
      local owner
      for pid in conn.data:gmatch('"order_uuid":"%x+%-%x+%-%x+%-%x+%-(%x%x%x%x%x%x%x%x)') do
        assert.is_true(owner == nil or owner == pid, "two processes spoke on one connection")
        owner = pid
      end
    end
    assert.same({}, record.errors)
  end

  -- A sanitizer makes each fork many times slower.
  local times = helper.lua:find("/", 1, true) and 100 or 1000

  it(times .. " times at random moments leaves parent and child working #slow", function()
    local server = fault.serve{ script = ANSWER }
    local said, took = run(server, times, FORKS)
    assert.equal("ok", said)
    assert.is_true(took < 120, took .. " s")
    is_kept_apart(server)
    server:close()
  end)

  it("at random moments over TLS leaves parent and child working", function()
    local server = fault.serve{ tls = "good", script = ANSWER }
    assert.equal("ok", (run(server, times / 10, FORKS)))
    is_kept_apart(server)
    server:close()
  end)

  it("during a blocking call leaves the call to the parent", function()
    local server = fault.serve{ script = "while conn:request() do conn:sleep(0.7) conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') end" }
    assert.equal("accepted child 0", run(server, 0, [[
      local client, pid = connect()
      debug.sethook(function()
        if debug.getinfo(2, "S").source ~= "return" then return end -- crux lets hooks run
        debug.sethook()
        pid = forks.fork()
      end, "c")
      local ok, result, err = pcall(client.cancel_order, client, order())
      if pid == 0 then
        local again = select(2, pcall(client.cancel_order, client, order()))
        local inherited = ok and err.kind == "aborted" and err.outcome == "unknown" and err.meta.sends == 1
        forks._exit(inherited and again.outcome == "accepted" and 0 or 1)
      end
      print(result and result.outcome or tostring(err), "child", (forks.waitpid(pid, 10)))
    ]]):gsub("\t", " "))
    assert.equal(2, server:record().requests)
    server:close()
  end)

  it("gives the child another pollfd", function()
    local server = fault.serve{ script = HOLD }
    assert.equal("ok", (run(server, 0, [[
      local client = connect()
      local fd = client:pollfd()
      local call = client:submit("cancel_order", order())
      core.sleep(0.05)
      local pid = forks.fork()
      if pid == 0 then
        -- there is something to return: the call was aborted
        if not forks.readable(client:pollfd(), 0) then os.exit(1) end
        if client:step() ~= call then os.exit(2) end
        client:step()
        if forks.readable(client:pollfd(), 0) then os.exit(3) end
        local own = client:submit("cancel_order", order())
        own:abort()
        if not forks.readable(client:pollfd(), 0) then os.exit(4) end
        os.exit(0)
      end
      assert(forks.waitpid(pid, 10) == 0)
      assert(client:pollfd() == fd and not forks.readable(fd, 0))
      assert(not call:poll() and client:in_flight() == 1)
      client:close()
      print "ok"
    ]])))
    server:close()
  end)

  it("lets the child close its copies without a byte on the parent's connections", function()
    local server = fault.serve{ tls = "good", script = ANSWER }
    assert.equal("ok", (run(server, 0, [[
      local client = connect()
      assert(client:submit("cancel_order", order()):wait(5))
      local before = forks.descriptors()
      local pid = forks.fork()
      if pid == 0 then
        if not select(2, client:submit("cancel_order", order()):wait(5)) then os.exit(1) end
        -- as many as the parent has, and a pair of curl's own, but no inherited connection
        os.exit(forks.descriptors() <= before + 2 and 0 or 2)
      end
      local code = forks.waitpid(pid, 10)
      assert(code == 0, code)
      local _, result = client:submit("cancel_order", order()):wait(5)
      assert(result.meta.reused)
      print "ok"
    ]])))
    server:close()
  end)

  it("during a batch lets the parent go on, and ends it in the child", function()
    local server = fault.serve{ script = ANSWER }
    assert.equal("ok", (run(server, 0, [[
      local client = connect()
      local items, pid = {}, nil
      for i = 1, 200 do items[i] = order() end
      local report = client:cancel_orders(items, { concurrency = 8, on_progress = function(done)
        if done == 50 then pid = forks.fork() end
      end })
      if pid == 0 then
        local counts = report.counts
        os.exit(counts.accepted + counts.unknown == 200 and counts.unknown <= 8 and 0 or 1)
      end
      assert(report.counts.accepted == 200)
      local code = forks.waitpid(pid, 20)
      assert(code == 0, code)
      print "ok"
    ]])))
    server:close()
  end)
end)

describe("exit() with calls in flight", function()
  local paths = {}
  teardown(function() for _, path in ipairs(paths) do os.remove(path) end end)

  local ENDS = {
    "os.exit(7)", "os.exit(7, true)", "client:close() os.exit(7)", "client = nil collectgarbage() os.exit(7)",
    "client:close() client:close() os.exit(7, true)",
  }

  -- Run by timeout(1): status 124 if it hangs, 128 and more if it crashes.
  local function ends(server, times, script, environment)
    local path = os.tmpname()
    paths[#paths + 1] = path
    for i = 1, times do
      local file = assert(io.open(path, "w"))
      file:write(preamble(server, i), script, "\n", ENDS[i % #ENDS + 1], "\n")
      file:close()
      local before = core.now()
      local pipe = assert(io.popen(("env %s timeout 20 %s %s 2>&1; echo $?"):format(environment or "", helper.lua, path)))
      local said = pipe:read("*a")
      pipe:close()
      assert.equal("7\n", said, ENDS[i % #ENDS + 1])
      local took = core.now() - before
      assert.is_true(took < 12, ("took %.1f s: %s"):format(took, ENDS[i % #ENDS + 1]))
    end
  end

  it("succeeds at 100 random moments #slow", function()
    local server = fault.serve{ tls = "good", script = ANSWER }
    ends(server, 100, [[
      local client = connect{ max_connections = 16 }
      local calls = {}
      for i = 1, 40 do calls[i] = client:submit("cancel_order", order()) end
      core.sleep(random(30000) / 1e6)
    ]])
    server:close()
  end)

  it("does not wait for a server", function()
    local server = fault.serve{ script = HOLD }
    ends(server, 5, "local client = connect() local call = client:submit('cancel_order', order()) core.sleep(0.05)")
    server:close()
  end)

  it("does not wait for a name lookup", function()
    local why = libcurl.lacks "leave a look-up"
    if why then pending(why) end
    local resolver = forks.compile("slow_resolver.c")
    ends({ base_url = "https://slow.example" }, 5, [[
      local client = connect{ proxy = "" }
      local calls = {}
      for i = 1, 10 do calls[i] = client:submit("cancel_order", order()) end
      core.sleep(0.1)
    ]], ("LD_PRELOAD=%s SLOW_RESOLVER=15 ASAN_OPTIONS=verify_asan_link_order=0"):format(resolver))
    os.remove(resolver)
  end)

  it("succeeds in on_event of a blocking call", function()
    local server = fault.serve{ script = ANSWER }
    ends(server, 5, [[
      local client = connect()
      local call = client:submit("cancel_order", order())
      local options = order()
      options.on_event = function(e) if e.name == "response" then os.exit(7) end end
      client:cancel_order(options)
    ]])
    server:close()
  end)
end)

describe("a worker preempted before it signals a completed call", function()
  it("does not signal for a call that was taken meanwhile", function()
    local server = fault.serve{ script = ANSWER }
    local slow = forks.compile("slow_lock.c")
    finally(function() os.remove(slow) end)
    local said = helper.child(preamble(server) .. [[
      local client = connect()
      local fd = client:pollfd()
      for _ = 1, 3 do
        local call = client:submit("cancel_order", order())
        repeat core.sleep(0.001) until client:step() == call
        core.sleep(0.1)
        client:step() -- a ring that came late is ended by a step
        print(client:step(), forks.readable(fd, 0))
      end
      client:close()
    ]], { LD_PRELOAD = slow, ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0" })
    assert.equal(("nil\tfalse\n"):rep(3):sub(1, -2), said)
    server:close()
  end)
end)

describe("a worker preempted while it grows a queue #fork", function()
  it("leaves no half-grown queue to a forked child", function()
    local server = fault.serve{ script = HOLD }
    local slow = forks.compile("slow_heap.c")
    finally(function() os.remove(slow) end)
    -- freed memory is overwritten, so that a later use of it fails
    local said = helper.child(preamble(server) .. [[
      local client, calls = connect{ max_connections = 1 }, {}
      for i = 1, 100 do calls[i] = client:submit("cancel_order", order()) end
      local codes = {}
      for i = 1, 20 do
        local pid = forks.fork()
        if pid == 0 then
          connect():submit("cancel_order", order())
          os.exit(0)
        end
        codes[i] = tostring(forks.waitpid(pid, 5))
        core.sleep(0.02)
      end
      print(table.concat(codes, " "))
      client:close()
    ]], { LD_PRELOAD = slow, MALLOC_PERTURB_ = "165",
      ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0:detect_leaks=0" })
    assert.equal(("0 "):rep(20):sub(1, -2), said)
    server:close()
  end)
end)

describe("a Lua state with submitted calls", function()
  local server

  local function thread(script, count) return forks.thread(preamble(server, count) .. script) end

  after_each(function()
    if server then server:close() end
    server = nil
  end)

  it("leaks no memory or descriptor when it is closed", function()
    for _, tls in ipairs{ false, "good" } do
      server = fault.serve{ tls = tls or nil, script = "if n % 3 == 0 then conn:request() end conn:hold()" }
      -- a state that stays open keeps the worker
      local client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url, ca_file = fault.ca_file })
      local call = client:submit("cancel_order", { order_uuid = helper.ORDER })
      core.sleep(0.2)
      local before
      for i = 1, 30 do
        local why = thread([[
          local client = connect{ max_connections = 8 }
          kept = {} -- a global: nothing is collected before the end
          for i = 1, 20 do kept[i] = client:submit("cancel_order", order()) end
          kept.client = count % 2 == 0 and client or nil
          core.sleep(random(20000) / 1e6)
        ]], i):join()
        assert.is_nil(why)
        if i == 10 then before = forks.descriptors() end
      end
      local deadline = core.now() + 15
      repeat core.sleep(0.02) until forks.descriptors() <= before or core.now() > deadline
      assert.is_true(forks.descriptors() <= before)
      assert.is_false((call:poll()))
      client:close()
      server:close()
    end
  end)

  it("gets its own results only, with two states in two threads", function()
    server = fault.serve{ script = ANSWER }
    local WORK = [[
      local client = connect{ max_connections = 8 }
      for round = 1, 10 do
        local mine = {}
        for i = 1, 50 do mine[client:submit("cancel_order", order())] = true end
        while next(mine) do
          local call = client:step()
          if call then
            assert(mine[call], "another's")
            mine[call] = nil
            local _, result, err = call:poll()
            assert(result, err)
          else
            forks.readable(client:pollfd(), 1)
          end
        end
        if round % 3 == 0 then client:close() client = connect{ max_connections = 8 } end
        assert(client:cancel_order(order()))
      end
      local items = {}
      for i = 1, 50 do items[i] = order() end
      assert(client:cancel_orders(items).counts.accepted == 50)
    ]]
    local threads = {}
    for i = 1, 2 do threads[i] = thread(WORK) end
    for _, one in ipairs(threads) do assert.is_nil(one:join()) end
    assert.equal(2 * (500 + 10 + 50), server:record().requests)
  end)

  it("can be opened and closed while another thread forks #fork", function()
    -- AddressSanitizer's malloc may stay locked in a child that another thread has forked
    if helper.lua:find("/", 1, true) then return end
    server = fault.serve{ script = ANSWER }
    assert.equal("ok", (run(server, 0, ([[
      local other = forks.thread(%q)
      for i = 1, 50 do
        core.sleep(random(2000) / 1e6)
        local pid = forks.fork()
        if pid == 0 then
          local client = connect()
          local done, result, err = client:submit("cancel_order", order()):wait(10)
          if not result then io.stderr:write(done and tostring(err) or "not done", "\n") end
          forks._exit(result and 0 or 1)
        end
        local code, signal = forks.waitpid(pid, 20)
        assert(code == 0, code or signal)
      end
      assert(not other:join())
      print "ok"
    ]]):format(preamble(server) .. [[
      for round = 1, 30 do
        local client = connect()
        local calls = {}
        for i = 1, 10 do calls[i] = client:submit("cancel_order", order()) end
        if round % 2 == 0 then for _, call in ipairs(calls) do assert(select(2, call:wait())) end end
        client:close()
      end
    ]]))))
  end)
end)
