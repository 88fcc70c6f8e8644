-- The token cache: what is kept in it, how clients share it, and what becomes of errors in it. A
-- second client stands for another process.
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local logins = require "spec.support.logins"

local ORDER = { order_uuid = helper.ORDER }

after_each(logins.close)
teardown(fault.stop)

-- A cache like an ngx.shared dictionary. `without`: a method that it lacks.
local function new_cache(without)
  local values, ends = {}, {}
  local function live(key)
    if ends[key] and ends[key] <= core.now() then values[key] = nil end
    return values[key]
  end
  local cache = { values = values, seconds = {} }
  function cache.get(_, key) return live(key) end
  function cache:set(key, value, seconds)
    values[key], ends[key], self.seconds[key] = value, core.now() + seconds, seconds
    return true
  end
  function cache:add(key, value, seconds)
    if live(key) then return false, "exists" end
    return self:set(key, value, seconds)
  end
  if without then cache[without] = nil end
  return cache
end

local function key(service, user) return ("crux:%s v1 %s"):format(service.base_url, user or logins.USER) end

local function accepted(client)
  local result, err = helper.call(client.cancel_order, client, ORDER)
  assert.is_nil(err and tostring(err))
  return result
end

describe("a token cache", function()
  it("has the token of a login and the time of its issue, for less than two hours", function()
    local service, cache = logins.serve(), new_cache()
    accepted(logins.client(service, { token_cache = cache }))
    local issued, token = cache.values[key(service)]:match("^(%d+) (%S+)$")
    assert.equal("tok-1", token)
    assert.is_true(math.abs(core.time() - tonumber(issued)) <= 2)
    local seconds = cache.seconds[key(service)]
    assert.is_true(seconds > 7000 and seconds < 7200)
  end)

  it("gives its token to another client, which does not log in", function()
    local service, cache = logins.serve(), new_cache()
    accepted(logins.client(service, { token_cache = cache }))
    accepted(logins.client(service, { token_cache = cache }))
    assert.equal(1, #service:logins())
    assert.same({ "tok-1", "tok-1" }, service:tokens())
  end)

  it("is read after a 401, before a login", function()
    local service, cache = logins.serve(), new_cache()
    local one, two = logins.client(service, { token_cache = cache }), logins.client(service, { token_cache = cache })
    accepted(one)
    accepted(two)
    service:set{ valid_from = 2 }
    accepted(one)
    assert.equal(2, accepted(two).meta.attempts)
    assert.equal(2, #service:logins())
    assert.same({ "tok-1", "tok-1", "tok-1", "tok-2", "tok-1", "tok-2" }, service:tokens())
  end)

  it("with add lets one of two clients log in, and the other wait for its token", function()
    local service, cache = logins.serve{ delay = 0.2 }, new_cache()
    local one, two = logins.client(service, { token_cache = cache }), logins.client(service, { token_cache = cache })
    local pending = assert(one:submit("cancel_order", ORDER))
    local other = assert(two:submit("cancel_order", ORDER))
    assert.is_false(other:poll())
    assert.equal("accepted", select(2, pending:wait()).outcome)
    assert.equal("accepted", select(2, other:wait()).outcome)
    assert.equal(1, #service:logins())
  end)

  it("with add lets a blocking call wait for the login of another process", function()
    local service, cache = logins.serve{ delay = 0.2 }, new_cache()
    local pending = assert(logins.client(service, { token_cache = cache }):submit("cancel_order", ORDER))
    -- the other client's login goes on while this one looks at the cache
    local function get(self, name)
      pending:poll()
      return self.values[name]
    end
    cache.get = get
    accepted(logins.client(service, { token_cache = cache }))
    assert.equal(1, #service:logins())
  end)

  it("with add lets a call that was refused wait for the login of another process", function()
    local service, cache = logins.serve{ delay = 0.2, issued = 1, valid_from = 2 }, new_cache()
    local pending = assert(logins.client(service, { token_cache = cache }):submit("cancel_order", ORDER))
    cache:set(key(service), ("%d tok-1"):format(core.time()), 100)
    -- as above
    function cache.get(self, name)
      pending:poll()
      return self.values[name]
    end
    assert.equal(2, accepted(logins.client(service, { token_cache = cache })).meta.attempts)
    assert.equal(1, #service:logins())
  end)

  it("of a call is collected with it", function()
    local client, collected = logins.client(logins.serve()), setmetatable({}, { __mode = "k" })
    for _ = 1, 100 do
      local cache = new_cache()
      collected[cache] = true
      assert.is_table((client:cancel_order{ order_uuid = helper.ORDER, token_cache = cache }))
    end
    for _ = 1, 4 do collectgarbage() end
    local left = 0
    for _ in pairs(collected) do left = left + 1 end
    assert.is_true(left <= 64, left .. " caches are left")
  end)

  it("whose lock nobody releases delays a login until the lock expires", function()
    local service, cache = logins.serve(), new_cache()
    cache:add("crux-login:" .. key(service):sub(6), "1", 0.2)
    local before = core.now()
    accepted(logins.client(service, { token_cache = cache }))
    assert.is_true(core.now() - before > 0.15)
    assert.equal(1, #service:logins())
  end)

  it("whose lock outlasts the client's timeout makes the call not_sent", function()
    local service, cache = logins.serve(), new_cache()
    cache:add("crux-login:" .. key(service):sub(6), "1", 60)
    local client = logins.client(service, { token_cache = cache, timeout = 0.2 })
    local _, err = helper.check(client:cancel_order{ order_uuid = helper.ORDER, timeout = 5 })
    assert.same({ "timeout", "not_sent", "login: another process did not end its login in time" },
      { err.kind, err.outcome, err.message })
  end)

  it("is released by a failed login", function()
    local service, cache = logins.serve{ answers = { helper.response(500) } }, new_cache()
    local one = logins.client(service, { token_cache = cache, retries = 0 })
    assert.is_nil(one:cancel_order(ORDER))
    accepted(logins.client(service, { token_cache = cache, timeout = 2 }))
  end)

  it("without add is used too", function()
    local service, cache = logins.serve(), new_cache("add")
    accepted(logins.client(service, { token_cache = cache }))
    accepted(logins.client(service, { token_cache = cache }))
    assert.equal(1, #service:logins())
  end)

  it("that raises or holds rubbish counts as empty", function()
    for _, cache in ipairs{
      { get = function() error("down") end, set = function() error("down") end },
      { get = function() error("down") end, set = function() error("down") end, add = function() error("down") end },
      { get = function() return "rubbish" end, set = print, add = function() return nil, "no memory" end },
      { get = function() return {} end, set = function() end },
      { get = function() return "1 a\nb" end, set = function() end },
      setmetatable({ get = function() end, set = function() end }, { __index = function() error("no") end }),
    } do
      if cache.set == print then cache.set = function() end end
      local service = logins.serve()
      local client = logins.client(service, { token_cache = cache })
      accepted(client)
      accepted(client)
      assert.equal(1, #service:logins())
    end
  end)

  it("whose token is too old or was refused is not used", function()
    local service, cache = logins.serve{ extra = "cached" }, new_cache()
    cache:set(key(service), ("%d cached"):format(core.time() - 7190), 60)
    accepted(logins.client(service, { token_cache = cache }))
    assert.same({ "tok-1" }, service:tokens())
    service = logins.serve()
    cache:set(key(service), ("%d refused"):format(core.time()), 60)
    accepted(logins.client(service, { token_cache = cache }))
    assert.same({ "refused", "tok-1" }, service:tokens())
  end)

  it("keeps users apart, and may be another one for a call", function()
    local service, cache, other = logins.serve(), new_cache(), new_cache()
    local client = logins.client(service, { token_cache = cache })
    accepted(client)
    assert.is_truthy(client:cancel_order{ order_uuid = helper.ORDER, username = "bob", password = "pw" })
    assert.is_truthy(client:cancel_order{ order_uuid = helper.ORDER, token_cache = other })
    assert.is_truthy(cache.values[key(service)] and cache.values[key(service, "bob")] and other.values[key(service)])
    assert.equal(3, #service:logins())
  end)

  it("raises Ctrl-C again", function()
    local service = logins.serve()
    local client = assert(crux.new{ base_url = service.base_url, username = "u", password = "p", token_cache = {
      get = function() error("x.lua:1: interrupted!", 0) end, set = function() end,
    } })
    assert.error_matches(function() client:cancel_order(ORDER) end, "interrupted!$")
    client:close()
  end)

  it("may not be used to make a call that needs the login", function()
    local service, client, why = logins.serve(), nil, nil
    client = logins.client(service, { token_cache = {
      get = function() why = select(2, pcall(client.cancel_order, client, ORDER)) end, set = function() end,
    } })
    accepted(client)
    assert.equal("a call was made inside a function that the client's login called", why)
  end)
end)

describe("a token", function()
  it("is replaced shortly before it is two hours old", function()
    local Client = require "crux.client"
    local offset = 0
    local new = Client.constructor{
      now = function() return core.now() + offset end, time = function() return core.time() + offset end,
      send = function(request, token, deadline) return core.perform(request, token, deadline - offset) end,
      sleep = core.sleep, await = function(what, seconds) what:wait(seconds) end,
    }
    local service, cache = logins.serve(), new_cache()
    local client = logins.client(service, { new = new, token_cache = cache })
    accepted(client)
    offset = 7000
    accepted(client)
    assert.equal(1, #service:logins())
    offset = 7180
    accepted(client)
    accepted(client)
    assert.equal(2, #service:logins())
    assert.same({ "tok-1", "tok-1", "tok-2", "tok-2" }, service:tokens())
  end)
end)
