-- Reading orders inside nginx: the pager and the wait suspend their own light thread, and no other.
local fault = require "spec.support.fault"
local process = require "spec.support.process"
local resty = require "spec.support.resty"

local missing = resty.missing()

after_each(resty.stop_failed)
teardown(fault.stop)

describe("crux.resty, reading orders #stock", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  local sandbox
  after_each(function()
    if sandbox then sandbox:close() end
    sandbox = nil
  end)

  it("suspends the light thread that waits for a cancellation, and no other", function()
    sandbox = process.sandbox{ plain = true, confirm = 0.8 }
    local server = resty.start{}
    local shown = server:run(([[
      local client, uuid = crux.assert(crux.new(%s)), %q
      crux.assert(client:cancel_order{ order_uuid = uuid })
      local before = crux.cancellation(crux.assert(client:get_order{ order_uuid = uuid }).body).state
      local count = 0
      ngx.thread.spawn(function()
        for _ = 1, 20 do
          crux.assert(client:get_order{ order_uuid = uuid })
          count = count + 1
        end
      end)
      local shown = crux.assert(client:wait_cancelled{ order_uuid = uuid, timeout = 20, interval = 1 })
      return { before = before, after = shown.state, count = count }
    ]]):format(resty.quote{ base_url = sandbox.base_url, token = sandbox.tokens.retailer, api = "timp" },
      sandbox.orders[1]))
    assert.same({ before = "open", after = "cancelled", count = 20 }, shown)
    resty.stop()
  end)

  it("gives each order once", function()
    sandbox = process.sandbox{ plain = true, orders = 11 }
    local server = resty.start{}
    local found = server:run(([[
      local client = crux.assert(crux.new(%s))
      local found = {}
      for order, err in client:orders{ page = 4 } do found[#found + 1] = crux.assert(order, err).uuid end
      return found
    ]]):format(resty.quote{ base_url = sandbox.base_url, token = sandbox.tokens.retailer }))
    local expected = {}
    for i, uuid in ipairs(sandbox.orders) do expected[i] = uuid end
    expected[#expected + 1] = sandbox.shipped_order
    assert.same(expected, found)
    resty.stop()
  end)

  it("raises in a phase that cannot wait, and names the phase", function()
    local server = resty.start{ server = [[location = /set {
      set_by_lua_block $x {
        local client = require("crux.resty").new{ token = "t" }
        local _, why = pcall(client.wait_cancelled, client, {})
        ngx.ctx.found = why
        return ""
      }
      content_by_lua_block { ngx.print(ngx.ctx.found) }
    }]] }
    local said = server:ask{ { path = "/set" } }[1].body
    assert.is_truthy(said:find("found 'set': call it in rewrite_by_lua", 1, true), said)
    assert.is_nil(said:find("wait.lua", 1, true), said) -- the line that is named is the user's
    resty.stop()
  end)
end)
