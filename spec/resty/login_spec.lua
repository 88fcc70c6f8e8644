-- Logins inside nginx: one for all light threads, one for all workers that share a dictionary, and
-- none of them blocks a worker.
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local logins = require "spec.support.logins"
local resty = require "spec.support.resty"

local missing = resty.missing()

after_each(resty.stop_failed)
after_each(logins.close)
teardown(fault.stop)

local function options(service, more)
  local values = {
    base_url = service.base_url, username = logins.USER, password = logins.PASSWORD, timeout = 20,
  }
  for name, value in pairs(more or {}) do values[name] = value end
  return resty.quote(values)
end

describe("crux.resty, logging in #stock", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  it("makes one login for all light threads, and suspends these alone", function()
    local service = logins.serve{ delay = 0.3 }
    local server = resty.start{}
    local found = server:run(([[
      local client, count, ticks = crux.assert(crux.new(%s)), 0, 0
      local threads = {}
      for i = 1, 30 do
        threads[i] = ngx.thread.spawn(function()
          crux.assert(client:cancel_order{ order_uuid = %q })
          count = count + 1
        end)
      end
      while count < 30 and ticks < 1000 do
        ngx.sleep(0.01)
        ticks = ticks + 1
      end
      return { count = count, has_ticked = ticks > 10 }
    ]]):format(options(service), helper.ORDER))
    assert.same({ count = 30, has_ticked = true }, found)
    assert.equal(1, #service:logins())
    resty.stop()
  end)

  it("makes one login for two workers that share a dictionary, and one after a 401", function()
    local service = logins.serve{ delay = 0.2 }
    local server = resty.start{
      workers = 2, http = "lua_shared_dict tokens 1m;",
      init = ("_G.shop = assert(require 'crux.resty'.new((function() local o = %s o.token_cache = ngx.shared.tokens "):format(
        options(service)) .. "return o end)()))",
      server = [[location = /cancel { content_by_lua_block {
        local result, err = shop:cancel_order{ order_uuid = "]] .. helper.ORDER .. [[" }
        ngx.say(result and result.outcome or tostring(err))
      } }]],
    }
    local function ask(count)
      for _, answer in ipairs(server:ask(resty.times(count, { path = "/cancel" }), 20)) do
        assert.equal("accepted\n", answer.body)
      end
    end
    ask(60)
    assert.equal(1, #service:logins())
    service:set{ valid_from = 2 }
    ask(60)
    assert.equal(2, #service:logins())
    resty.stop()
  end)

  it("goes on with a login whose light thread is killed", function()
    local service = logins.serve{ delay = 0.3 }
    local server = resty.start{}
    local found = server:run(([[
      local client = crux.assert(crux.new(%s))
      local function cancel() return client:cancel_order{ order_uuid = %q } end
      local first = ngx.thread.spawn(cancel)
      local second = ngx.thread.spawn(cancel)
      ngx.sleep(0.05)
      ngx.thread.kill(first)
      local _, result = ngx.thread.wait(second)
      return { result.outcome, cancel().outcome }
    ]]):format(options(service), helper.ORDER))
    assert.same({ "accepted", "accepted" }, found)
    assert.equal(1, #service:logins())
    resty.stop()
  end)

  it("ends a login for which nobody waits any more, for the sake of other workers", function()
    local service = logins.serve{ delay = 0.4 }
    local server = resty.start{ http = "lua_shared_dict tokens 1m;" }
    local found = server:run(([[
      local options, order = %s, { order_uuid = %q, timeout = 0.1 }
      options.token_cache = ngx.shared.tokens
      local one, other = crux.assert(crux.new(options)), crux.assert(crux.new(options))
      local _, err = one:cancel_order(order)
      order.timeout = 5
      local result, why = other:cancel_order(order)
      return { err.kind, result and result.outcome or tostring(why) }
    ]]):format(options(service), helper.ORDER))
    assert.same({ "timeout", "accepted" }, found)
    assert.equal(1, #service:logins())
    resty.stop()
  end)

  it("logs in for submitted calls and batches", function()
    local service = logins.serve{ delay = 0.1 }
    local server = resty.start{}
    local found = server:run(([[
      local client = crux.assert(crux.new(%s))
      local order = { order_uuid = %q }
      local pending = crux.assert(client:submit("cancel_order", order))
      local report = client:cancel_orders({ order, order, order, order }, { concurrency = 2 })
      local _, result = pending:wait()
      return { report.counts.accepted, result.outcome }
    ]]):format(options(service), helper.ORDER))
    assert.same({ 4, "accepted" }, found)
    assert.equal(1, #service:logins())
    resty.stop()
  end)

  it("makes the call not_sent if the login is refused", function()
    local service = logins.serve{ answers = { helper.response(401, '{"detail":"No."}') } }
    local server = resty.start{}
    local found = server:run(([[
      local client = crux.assert(crux.new(%s))
      local _, err = client:cancel_order{ order_uuid = %q }
      return tostring(err)
    ]]):format(options(service), helper.ORDER))
    assert.equal("not_sent (auth): login: HTTP 401 Unauthorized: No.", found)
    resty.stop()
  end)
end)
