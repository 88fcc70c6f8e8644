-- A login in flight at a fork belongs to the parent; the child logs in by itself.
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"
local logins = require "spec.support.logins"

local object = forks.compile("fork.c")

after_each(logins.close)
teardown(function()
  os.remove(object)
  fault.stop()
end)

-- A forked child abandons what was its parent's, memory too; LeakSanitizer must not report that.
local ABANDONS = { ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":detect_leaks=0" }

describe("a fork with a login in flight, #fork", function()
  it("leaves the waiting call to the parent, and lets the child log in", function()
    local service = logins.serve{ delay = 0.3 }
    local said = helper.child(([[
      local crux, forks = require "crux", package.loadlib(%q, "luaopen_fork")()
      local order = { order_uuid = %q }
      local client = assert(crux.new{ base_url = %q, username = "u", password = "p", timeout = 20 })
      local pending = assert(client:submit("cancel_order", order))
      local pid = forks.fork()
      if pid == 0 then
        local done, result, err = pending:poll()
        if not done or err.kind ~= "aborted" or err.outcome ~= "not_sent" then forks._exit(10) end
        result, err = client:cancel_order(order)
        if not result then forks._exit(11) end
        local own = assert(client:submit("cancel_order", order))
        done, result = own:wait(10)
        forks._exit(done and result and 0 or 12)
      end
      local _, result, err = pending:wait()
      print(result and result.outcome or tostring(err), (forks.waitpid(pid, 20)))
    ]]):format(object, helper.ORDER, service.base_url), ABANDONS)
    assert.equal("accepted\t0", said)
    assert.equal(2, #service:logins())
    assert.equal(3, #service:calls())
  end)

  it("leaves the lock in the cache to the parent", function()
    local service = logins.serve{ delay = 0.3 }
    local said = helper.child(([[
      local crux, forks = require "crux", package.loadlib(%q, "luaopen_fork")()
      local locks, values = {}, {}
      local cache = { get = function(_, name) return values[name] end }
      function cache.add(_, name, value) locks[name] = value; return true end
      function cache.set(_, name, value)
        if locks[name] then locks[name] = value else values[name] = value end
      end
      local client = assert(crux.new{ base_url = %q, username = "u", password = "p", timeout = 20, token_cache = cache })
      local pending = assert(client:submit("cancel_order", { order_uuid = %q }))
      local pid = forks.fork()
      if pid == 0 then
        pending:poll()
        for _ = 1, 10 do client:step() end
        local _, lock = next(locks)
        forks._exit(lock == "1" and 0 or 10)
      end
      local _, result, err = pending:wait()
      local _, lock = next(locks)
      print(result and result.outcome or tostring(err), (forks.waitpid(pid, 20)), lock)
    ]]):format(object, service.base_url, helper.ORDER), ABANDONS)
    assert.equal("accepted\t0\t0", said)
  end)
end)
