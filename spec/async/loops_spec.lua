-- The examples of calls that do not block, run as a user would run them.
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

describe("examples", function()
  before_each(function()
    sandbox = process.sandbox{ orders = 12 }
    environment = ("CRUX_TOKEN=%s CRUX_BASE_URL=%s/~delay=100 CRUX_CA_FILE=%s"):format(sandbox.tokens.retailer,
      sandbox.base_url, sandbox.ca_file)
  end)
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
    it(name .. ".lua keeps the beat of its loop", function()
      if not has(module) then return pending("no " .. module .. " for " .. LUA) end
      beating(name)
    end)
  end

  it("many.lua reports by outcome, and draws no progress into a pipe", function()
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

  it("many.lua stops at a Ctrl-C, and says what is known", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(table.concat(sandbox.orders, "\n"), "\n")
    file:close()
    environment = environment:gsub("delay=100", "delay=700")
    local text, status = run(("sh -c '%s examples/many.lua %s 2 & pid=$!; sleep 1; kill -INT $pid; wait $pid'"):format(LUA, path))
    os.remove(path)
    assert.equal(2, status, text)
    assert.is_truthy(text:find("unfinished%s+%d+, of which up to 2"), text)
  end)

  -- What other processes take of the machine is not counted.
  it("game_host never makes a frame late", function()
    if LUA ~= "lua5.4" then return pending("it embeds Lua 5.4") end
    local program = os.tmpname()
    local compile = "cc -O2 -include spec/support/unqueued_clock.h $(pkg-config --cflags lua5.4) -o %s "
      .. "examples/game_host/host.c $(pkg-config --libs lua5.4)"
    local said, compiled = run(compile:format(program))
    assert.equal(0, compiled, said)
    local text, status = run(("%s examples/game_host/plugin.lua %s"):format(program, table.concat(sandbox.orders, " ")))
    os.remove(program)
    assert.equal(0, status, text)
    assert.equal(12, count(text, "\taccepted\t"), text)
    assert.is_true(tonumber(text:match("longest took ([%d.]+) ms")) < 8, text)
  end)
end)
