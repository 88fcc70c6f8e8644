-- Differences between Lua 5.1 to 5.4 and LuaJIT: what works in each, and the message for a module
-- of another Lua.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local math_type = rawget(math, "type")
local LUA_5_1 = _VERSION == "Lua 5.1"
local PLAIN_5_1 = LUA_5_1 and not rawget(_G, "jit") -- LuaJIT says the same of itself, and can yield anywhere
local LUAS = { "lua5.1", "lua5.2", "lua5.3", "lua5.4", "luajit" }

local function output(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo ended $?"))
  local text = pipe:read("*a")
  pipe:close()
  return text:match("^(.-)\n?ended (%d+)\n$")
end

-- Has another interpreter load the module that runs here. That of 5.1 and that of LuaJIT are one
-- for the loader.
describe("crux.core loaded by another Lua #stock", function()
  local directory = (";" .. package.cpath):match(";(/[^;]*/)%?%.so")
  local others = {}
  for _, lua in ipairs(LUAS) do
    if lua ~= helper.lua and select(2, output("command -v " .. lua)) == "0" then others[#others + 1] = lua end
  end
  if #others == 0 then it("is refused", function() pending("needs another Lua: make deps-matrix") end) end

  for _, lua in ipairs(others) do
    local same = LUA_5_1 and (lua == "lua5.1" or lua == "luajit")
    local does = same and "works in " or "raises an error that names both Luas in "
    it(does .. lua, function()
      local clear = "env -u LUA_INIT -u LUA_INIT_5_2 -u LUA_INIT_5_3 -u LUA_INIT_5_4"
        .. " -u LUA_CPATH_5_2 -u LUA_CPATH_5_3 -u LUA_CPATH_5_4"
      local chunk = 'local ok, it = pcall(require, "crux.core") print(ok, ok and select(2, it.cancel_order{ token = "x" }) or it)'
      local text, status = output(("%s LUA_CPATH=%s %s -e %s"):format(clear,
        helper.quoted((directory or "expected to be run by make") .. "?.so;;"), lua, helper.quoted(chunk)))
      assert.equal("0", status, text)
      if same then
        assert.is_truthy(text:find("^true\tnot_sent %(invalid%): order_uuid: expected a UUID"), text)
      else
        assert.is_truthy(text:find("crux.core was built for " .. _VERSION .. ", and this is ", 1, true), text)
      end
    end)
  end
end)

describe("in every Lua version", function()
  local server, options

  setup(function()
    server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(200, '{"n":7,"x":[2.0,0.5]}') } }
    options = { token = helper.TOKEN, base_url = server.base_url }
  end)

  teardown(fault.stop)

  local function connect(more)
    local made = {}
    for name, value in pairs(options) do made[name] = value end
    for name, value in pairs(more or {}) do made[name] = value end
    return assert(crux.new(made))
  end

  it("a whole number is printed as one, and is an integer if there are integers", function()
    local client = connect()
    local result = helper.call(client.get_order, client, { order_uuid = helper.ORDER })
    local numbers = { result.status, result.body.n, result.body.x[1], result.meta.attempts, result.meta.bytes_sent }
    for i, text in ipairs{ "200", "7", "2", "1", tostring(numbers[5]):match("^%d+$") } do
      assert.equal(text, tostring(numbers[i]))
      if math_type then assert.equal("integer", math_type(numbers[i])) end
    end
    assert.equal(0.5, result.body.x[2])
  end)

  it("a whole quantity is sent without a fraction", function()
    helper.new_requests(server)
    for _, quantity in ipairs{ 2, 2.0, 4 / 2 } do
      local skus = { { supplier_uuid = helper.SUPPLIER, quantity = quantity } }
      helper.call(crux.cancel_order, helper.arguments(server, { skus = skus }))
      assert.is_truthy(helper.new_requests(server)[1]:find('"quantity":2[,}]'))
    end
  end)

  it("a client is closed by <close> where Lua has it, by close() and by the collector", function()
    local source = [[
      local client, fails = ...
      local kept <close> = client
      if fails then error("mine", 0) end
      return client:in_flight()
    ]]
    local block = (loadstring or load)(source)
    assert.equal(_VERSION >= "Lua 5.4", block ~= nil)
    local function is_closed(client)
      assert.error_matches(function() client:get_order{ order_uuid = helper.ORDER } end, "closed")
    end
    if block then
      local client = connect()
      assert.equal(0, block(client))
      is_closed(client)
      client = connect()
      assert.same({ false, "mine" }, { pcall(block, client, true) })
      is_closed(client)
    end
    local client = connect()
    client:close()
    client:close()
    is_closed(client)
    local dropped = setmetatable({ connect() }, { __mode = "v" })
    dropped[1]:pollfd()
    collectgarbage()
    collectgarbage()
    assert.is_nil(dropped[1])
  end)

  -- What crux is given to call may wait as its caller does; 5.1 cannot yield across the pcall that
  -- guards it.
  describe("a function that crux calls", function()
    local function yields(value)
      return function() return coroutine.yield(value) end
    end

    -- Resumes until the end: the error, if it raised one, and else what was yielded and what came
    -- of it.
    local function run(body, ...)
      local thread = coroutine.create(body)
      local seen = {}
      local ok, value = coroutine.resume(thread)
      while ok and coroutine.status(thread) ~= "dead" do
        seen[#seen + 1] = value
        ok, value = coroutine.resume(thread, ...)
      end
      return ok, value, seen
    end

    it("for a token can yield, except in plain 5.1", function()
      for _, blocking in ipairs{ true, false } do
        local ok, answer, seen = run(function()
          local client = connect{ token = yields "token, please" }
          if blocking then
            local result, err = client:get_order{ order_uuid = helper.ORDER }
            return result or err
          end
          local _, result, err = client:submit("get_order", { order_uuid = helper.ORDER }):wait()
          return result or err
        end, "from-outside")
        assert.is_true(ok, tostring(answer))
        if PLAIN_5_1 then
          assert.same({ "not_sent", "auth", 0 }, { answer.outcome, answer.kind, #seen })
        else
          assert.equal("accepted", answer.outcome)
          assert.same({ "token, please" }, seen)
        end
      end
    end)

    it("in a batch can yield, except in plain 5.1", function()
      local left = 3
      local ok, report, seen = run(function()
        local function items()
          coroutine.yield "item"
          left = left - 1
          return left > 0 and { order_uuid = helper.ORDER } or nil
        end
        return connect():cancel_orders(items, { on_result = yields "result", concurrency = 1 })
      end)
      if PLAIN_5_1 then
        assert.is_false(ok)
        assert.is_truthy(report:find("attempt to yield across", 1, true), report)
      else
        assert.is_true(ok, tostring(report))
        assert.equal(2, report.counts.accepted)
        assert.same({ "item", "result", "item", "result", "item" }, seen)
      end
    end)
  end)
end)
