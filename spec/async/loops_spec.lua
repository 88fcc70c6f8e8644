-- The examples of non-blocking calls, run as a user would run them.
local process = require "spec.support.process"

local LUA = os.getenv "TEST_LUA" or "lua5.4"

local sandbox, environment

local function run(command)
  local pipe = assert(io.popen(("%s timeout 60 %s 2>&1; echo exit=$?"):format(environment, command)))
  local text = pipe:read("*a")
  pipe:close()
  return text, tonumber(text:match("exit=(%d+)%s*$"))
end

local function has(module) return select(2, run(("%s -e 'require \"%s\"'"):format(LUA, module))) == 0 end

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

describe("the example", function()
  local function open_sandbox()
    sandbox = process.sandbox{ orders = 12 }
    environment = ("CRUX_TOKEN=%s CRUX_BASE_URL=%s/~delay=100 CRUX_CA_FILE=%s"):format(
      sandbox.tokens.retailer, sandbox.base_url, sandbox.ca_file)
  end

  before_each(open_sandbox)
  after_each(function() sandbox:close() end)

  local function beating(name)
    local text, status = run(("%s examples/%s.lua %s %s"):format(LUA, name, table.concat(sandbox.orders, " ", 1, 5),
      sandbox.shipped_order))
    assert.equal(0, status, text)
    assert.equal(5, count(text, "\taccepted\t"), text)
    assert.equal(1, count(text, "\trejected\t"), text)
    assert.is_true(tonumber(text:match("beats%s+(%d+)")) >= 3, text)
  end

  for name, module in pairs{ cqueues = "cqueues", luv = "luv" } do
    it(name .. ".lua keeps its event loop running during calls", function()
      if not has(module) then return pending("no " .. module .. " for " .. LUA) end
      beating(name)
    end)
  end

  it("many.lua counts orders by outcome, and prints no progress to a pipe", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(table.concat(sandbox.orders, "\n", 1, 6), "\n\n", sandbox.shipped_order, "\nnonsense\n")
    file:close()
    local text, status = run(("%s examples/many.lua %s 3"):format(LUA, path))
    os.remove(path)
    assert.equal(1, status, text)
    assert.is_nil(text:find("\r", 1, true))
    assert.is_truthy(text:find("accepted%s+6\n"), text)
    assert.is_truthy(text:find("rejected%s+1\n"), text)
    assert.is_truthy(text:find("not_sent%s+1\n"), text)
    assert.is_truthy(text:find("unknown%s+0\n"), text)
    assert.equal(3, select(2, run(LUA .. " examples/many.lua /does/not/exist")))
  end)

  it("many.lua stops at Ctrl-C, and prints what is known", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(table.concat(sandbox.orders, "\n"), "\n")
    file:close()
    environment = environment:gsub("delay=100", "delay=1500")
    local text, status = run(("sh -c '%s examples/many.lua %s 2 & pid=$!; sleep 2; kill -INT $pid; wait $pid'"):format(LUA, path))
    os.remove(path)
    assert.equal(2, status, text)
    assert.is_truthy(text:find("unfinished%s+%d+, of which up to 2"), text)
  end)

  -- What other processes take of the machine is not counted; what they do to its caches is, so that
  -- one run of five has to do.
  it("game_host never misses a frame", function()
    if LUA ~= "lua5.4" then return pending("it embeds Lua 5.4") end
    local program = os.tmpname()
    finally(function() os.remove(program) end)
    local compile = "cc -O2 -include spec/support/unqueued_clock.h $(pkg-config --cflags lua5.4) -o %s "
      .. "examples/game_host/host.c $(pkg-config --libs lua5.4)"
    local output, compiled = run(compile:format(program))
    assert.equal(0, compiled, output)
    for run_number = 1, 5 do
      local orders = table.concat(sandbox.orders, " ")
      local text, status = run(("%s examples/game_host/plugin.lua %s"):format(program, orders))
      assert.equal(0, status, text)
      assert.equal(12, count(text, "\taccepted\t"), text)
      if tonumber(text:match("longest took ([%d.]+) ms")) < 8 then return end
      assert.is_true(run_number < 5, text)
      sandbox:close()
      open_sandbox()
    end
  end)
end)
