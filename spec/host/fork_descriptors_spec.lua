-- A forked child closes no file of the host, and sends nothing that its parent has submitted, even
-- if the host has reused the number of a descriptor of crux for a file.
local core = require "crux.core"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local object = forks.compile("fork.c")
local directory

setup(function()
  fault.start()
  local pipe = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-spec.XXXXXX"'))
  directory = pipe:read("*l")
  pipe:close()
end)

teardown(function()
  os.remove(object)
  os.execute("rm -r " .. helper.quoted(directory))
  fault.stop()
end)

local PREAMBLE = [[
local crux, core, forks = require "crux", require "crux.core", package.loadlib(%q, "luaopen_fork")()
local function client(more)
  local options = { token = "t", base_url = %q, retries = 0, timeout = 5 }
  for name, value in pairs(more or {}) do options[name] = value end
  return assert(crux.new(options))
end
local submits = %q == "submitted"
local function call(of)
  local arguments = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" }
  if not submits then return of:cancel_order(arguments) end
  return select(2, of:submit("cancel_order", arguments):wait())
end
local files = {}
local function open(count)
  for i = 1, count do
    files[i] = assert(io.open(%q .. i, "w"))
    files[i]:setvbuf "no"
  end
end
local function write(text) for _, file in ipairs(files) do file:write(text) end end
local function reap(pid) print(pid, forks.waitpid(pid, 20)) end
]]

local function run(server, way, script)
  local path = directory .. "/file"
  local said = helper.child(PREAMBLE:format(object, server.base_url, way, path) .. script, {
    ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":detect_leaks=0", -- what was the parent's
  })
  local held = {}
  for i = 1, 8 do
    local file = io.open(path .. i)
    if file then
      held[i] = file:read("*a")
      file:close()
      os.remove(path .. i)
    end
  end
  return said, held
end

local function lines(count, text)
  local made = {}
  for i = 1, count do made[i] = text end
  return made
end

local ANSWER = [[while conn:request() do conn:write("HTTP/1.1 204 No Content\r\n\r\n") end]]

for _, way in ipairs{ "blocking", "submitted" } do
  describe(("a forked child that makes a %s call #fork"):format(way), function()
    it("closes no file of the host with the number of a failed connection", function()
      local server, silent = fault.serve{ script = ANSWER }, fault.silent()
      local said, held = run(server, way, ([[
        local kept = client{ base_url = %q, connect_timeout = 0.2 }
        assert(not call(kept))
        open(6)
        write "parent\n"
        local pid = forks.fork()
        if pid == 0 then
          local result = call(client())
          write(result and result.outcome .. "\n" or "no result\n")
          forks._exit(0)
        end
        reap(pid)
      ]]):format(silent.base_url))
      assert.is_truthy(said:find("\t0$"), said)
      assert.same(lines(6, "parent\naccepted\n"), held)
      server:close()
      silent:close()
    end)

    for _, state in ipairs{ "idle", "connecting" } do
      it(("closes no file that it opened after closing all, the parent's connection %s"):format(
        state), function()
        local server, silent = fault.serve{ script = ANSWER }, fault.silent()
        local connecting = ([[
          local slow = client{ base_url = %q }
          local pending = slow:submit("cancel_order", { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" })
          core.sleep(0.1)
        ]]):format(silent.base_url)
        local said, held = run(server, way, (state == "connecting" and connecting or "") .. [[
          local one = client()
          assert(call(one))
          local pid = forks.fork()
          if pid == 0 then
            forks.closefrom(3)
            open(8)
            local result = call(one)
            write(result and result.outcome .. "\n" or "no result\n")
            forks._exit(0)
          end
          reap(pid)
        ]])
        assert.is_truthy(said:find("\t0$"), said)
        assert.same(lines(8, "accepted\n"), held)
        server:close()
        silent:close()
      end)
    end
  end)
end

describe("a fork #fork", function()
  it("closes no file that the host opened in the place of crux's descriptors", function()
    local server = fault.serve{ script = ANSWER }
    local said, held = run(server, "blocking", [[
      local one = client()
      assert(call(one))
      forks.closefrom(3)
      open(8)
      local pid = forks.fork()
      if pid == 0 then
        write "child\n"
        forks._exit(0)
      end
      print(pid, forks.waitpid(pid, 20))
      io.stdout:flush()
      forks._exit(0)
    ]])
    assert.is_truthy(said:find("\t0$"), said)
    assert.same(lines(8, "child\n"), held)
    server:close()
  end)
end)

describe("a call that waits for its retry during a fork #fork", function()
  it("goes on in the parent, and is aborted in the child", function()
    local server = fault.serve{ script = [[
      local number = 0
      while conn:request() do
        number = number + 1
        conn:write(number == 1 and "HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
          or "HTTP/1.1 204 No Content\r\n\r\n")
      end
    ]] }
    local said = run(server, "submitted", [[
      local one = client{ retries = 2 }
      local pending = one:submit("cancel_order", { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" })
      pending:wait(0.5)
      local pid = forks.fork()
      if pid == 0 then
        local _, _, err = pending:wait(5)
        forks._exit(err and err.kind == "aborted" and err.outcome == "unknown" and err.meta.sends == 1
          and tostring(err):find("before fork() by the parent process", 1, true) and 0 or 1)
      end
      reap(pid)
      print(select(2, pending:wait()).outcome)
    ]])
    assert.is_truthy(said:find("\t0\naccepted$"), said)
    assert.equal(2, server:record().requests)
    server:close()
  end)
end)

-- exit() runs handlers in reverse order: one that was registered before crux's runs after it.
describe("a call by a finalizer after exit() has begun", function()
  local SCRIPT = [[
    local forks = package.loadlib(%q, "luaopen_fork")()
    forks.close_at_exit(%q)
    os.exit(0)
  ]]
  local STATE = [[
    local crux = require "crux"
    local client = crux.new{ token = "t", base_url = %q, retries = 0, timeout = 20 }
    local arguments = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" }
    local way, uses = %q, %d
    for _ = 1, uses do assert(client:cancel_order(arguments)) end
    local function call()
      if way == "blocking" then return select(2, client:cancel_order(arguments)) end
      return select(3, client:submit("cancel_order", arguments):wait())
    end
    local object = newproxy and newproxy(true) or setmetatable({}, { __gc = true })
    getmetatable(object).__gc = function()
      local err = call()
      print(err and err.kind, err and err.outcome)
    end
    KEPT = object
  ]]

  for _, way in ipairs{ "blocking", "submitted" } do
    for uses = 0, 1 do
      it(("returns at once: %s, after %d calls #stock"):format(way, uses), function()
        local server = fault.serve{ script = [[
          conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n") conn:hold()
        ]] }
        local before = core.now()
        local said = helper.child(SCRIPT:format(object, STATE:format(server.base_url, way, uses)))
        assert.equal("aborted\tnot_sent", said)
        assert.is_true(core.now() - before < 15)
        assert.equal(uses, server:record().requests)
        server:close()
      end)
    end
  end
end)
