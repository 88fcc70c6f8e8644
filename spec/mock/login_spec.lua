-- A mock with a username and a password logs in through its answers, and its tokens age on its own
-- clock.
local helper = require "spec.helper"
local mock = require "crux.mock"
local mocks = require "spec.support.mocks"

local ORDER = { order_uuid = helper.ORDER }
local PASSWORD = "a-password-of-mine-0000"
helper.watch(PASSWORD)

local OK = { status = 200, body = "{}" }

local function service(answers)
  local logins = 0
  return assert(mock.new{
    username = "shop", password = PASSWORD, answers = {
      login = answers and answers.login or function()
        logins = logins + 1
        return { status = 200, body = { auth_token = ("login-token-%08d"):format(logins) } }
      end,
      get_order = answers and answers.get_order or function() return OK end,
      list_orders = function() return "timeout_sent" end,
    },
  })
end

-- Lets so many seconds pass: by another client with the same clock, which has a token.
local function pass(double, seconds)
  double.new{ timeout = seconds, retries = 0 }:list_orders{ start = 0, limit = 1 }
end

local function names(double)
  local list = {}
  for _, call in ipairs(double.calls) do
    if call.name ~= "list_orders" then list[#list + 1] = call.name end
  end
  return list
end

describe("a mock with a username and a password", function()
  it("may submit calls of other users while it logs in", function()
    local mocked, count, held = nil, 0, {}
    local function get(user)
      held[#held + 1] = assert(mocked:submit("get_order", { order_uuid = helper.ORDER, username = user }))
    end
    mocked = assert(mock.new{
      username = "shop", password = PASSWORD, on_event = function(event)
        if event.name ~= "login" or count >= 40 then return end
        count = count + 1
        get("one" .. count)
        get("two" .. count)
      end,
      answers = {
        login = function() return { status = 200, body = { auth_token = "login-token-0001" } } end,
        get_order = function() return OK end,
      },
    })
    for i = 1, 5 do get("first" .. i) end
    local done = 0
    while mocked:step() do done = done + 1 end
    assert.same({ 85, 0 }, { done, mocked:in_flight() })
  end)

  it("can log in after a Ctrl-C before the login was sent", function()
    if rawget(_G, "jit") then return pending("LuaJIT counts other instructions") end
    local left = 0
    for count = 300, 640 do
      local mocked = service()
      pcall(function()
        debug.sethook(function()
          debug.sethook()
          error("interrupted!", 0)
        end, "", count)
        mocked:get_order(ORDER)
        debug.sethook()
      end)
      debug.sethook()
      if not mocked:get_order(ORDER) then left = left + 1 end
    end
    assert.equal(0, left)
  end)

  it("counts no login in flight for which it has no answer", function()
    local mocked = assert(mock.new{ username = "shop", password = PASSWORD })
    assert.is_false((pcall(mocked.submit, mocked, "get_order", ORDER)))
    collectgarbage()
    collectgarbage()
    assert.equal(0, mocked:in_flight())
  end)

  for _, way in ipairs{ "blocking", "wait", "poll", "step", "batch" } do
    it("logs in once for several calls: " .. way, function()
      local double = service()
      for _ = 1, 3 do
        assert.equal(200, helper.check(mocks.WAYS[way](double, "get_order", ORDER)).status)
      end
      assert.same({ "login", "get_order", "get_order", "get_order" }, names(double))
      assert.same({ username = "shop", password = "[redacted]" }, double.calls[1].args)
      for _, call in ipairs(double.calls) do helper.clean(call) end
    end)

    it("logs in again once the token is two hours old: " .. way, function()
      local double = service()
      local function call() return helper.check(mocks.WAYS[way](double, "get_order", ORDER)) end
      call()
      pass(double, 7100)
      call()
      assert.same({ "login", "get_order", "get_order" }, names(double))
      pass(double, 100)
      call()
      assert.same({ "login", "get_order", "get_order", "login", "get_order" }, names(double))
    end)

    it("logs in again after a 401: " .. way, function()
      local refused = false
      local double = service{ get_order = function()
        if refused then
          refused = false
          return { status = 401 }
        end
        return OK
      end }
      local function call() return helper.check(mocks.WAYS[way](double, "get_order", ORDER)) end
      call()
      refused = true
      assert.equal(2, call().meta.attempts)
      assert.same({ "login", "get_order", "get_order", "login", "get_order" }, names(double))
    end)

    it("raises if the answers of login have run out: " .. way, function()
      local double = service{ login = {} }
      local ok, why = pcall(mocks.WAYS[way], double, "get_order", ORDER)
      assert.is_false(ok)
      assert.equal("crux.mock: answers.login has run out: expected an answer to request 1, found none", why)
    end)

    it("reports a login that failed: " .. way, function()
      local double = service{ login = { { status = 401, body = { detail = "No." } }, { status = 200, body = { auth_token = "token-00000000" } } } }
      local expected = { "not_sent", "auth", "login: HTTP 401 Unauthorized: No." }
      for _ = 1, 2 do -- it is remembered
        local _, err = helper.check(mocks.WAYS[way](double, "get_order", ORDER))
        assert.same(expected, { err.outcome, err.kind, err.message })
      end
      assert.same({ "login" }, names(double))
      pass(double, 61)
      assert.equal(200, helper.check(mocks.WAYS[way](double, "get_order", ORDER)).status)
      assert.same({ "login", "login", "get_order" }, names(double))
    end)

    it("reports a fault of a login: " .. way, function()
      local double = service{ login = function() return "timeout_sent" end }
      local _, err = helper.check(mocks.WAYS[way](double, "get_order", { order_uuid = helper.ORDER, timeout = 50 }))
      assert.equal("not_sent", err.outcome)
      assert.equal("timeout", err.kind)
      assert.equal(1, (err.message:find("login: ", 1, true)), err.message)
      assert.equal(0, double:in_flight())
    end)
  end

  it("shares a token through a cache, which ages by the mock's clock", function()
    local stored = {}
    local cache = {
      get = function(_, key) return stored[key] end,
      set = function(_, key, value) stored[key] = value end,
    }
    local double = service()
    local function call()
      -- a client of its own, which knows no token but that of the cache
      local client = double.new{ username = "shop", password = PASSWORD, token_cache = cache }
      assert.equal(200, helper.check(client:get_order(ORDER)).status)
    end
    call()
    pass(double, 7000)
    call()
    assert.same({ "login", "get_order", "get_order" }, names(double))
    pass(double, 200)
    call()
    assert.same({ "login", "get_order", "get_order", "login", "get_order" }, names(double))
  end)
end)
