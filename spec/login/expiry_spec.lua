-- 500 orders, eight at once, at a sandbox whose tokens last two seconds, and at one whose logins
-- revoke the user's earlier tokens: all are accepted, with one login for each token that has ended.
local core = require "crux.core"
local crux = require "crux"
local process = require "spec.support.process"

local ORDERS, CONCURRENCY, LIFETIME = 500, 8, 2

local sandbox, client

after_each(function()
  if client then client:close() end
  if sandbox then sandbox:close() end
  client, sandbox = nil, nil
end)

-- Somebody else logs in as the same user.
local function log_in_elsewhere()
  assert(core.login{
    username = "retailer", password = "retailer", base_url = sandbox.base_url,
  })
end

-- `delay`: how long the service takes, in milliseconds. `others`: after how many orders somebody
-- else logs in.
local SERVICES = {
  ["tokens last two seconds"] = { options = { token_lifetime = LIFETIME }, delay = 40 },
  ["logins revoke the tokens before"] = { options = { revoke = true }, delay = 3, others = 100 },
}

-- How the orders are cancelled; `on_done(answer)` is to be called with each.
local HOSTS = {
  ["a batch"] = function(items, on_done)
    client:cancel_orders(items, {
      concurrency = CONCURRENCY, on_result = function(_, _, result, err) on_done(result or err) end,
    })
  end,
  ["submit"] = function(items, on_done)
    local started, done, pendings = 0, 0, {}
    while done < #items do
      while started < #items and client:in_flight() < CONCURRENCY do
        started = started + 1
        pendings[assert(client:submit("cancel_order", items[started]))] = true
      end
      local pending = client:step()
      if pending then
        assert.is_true(pendings[pending])
        pendings[pending], done = nil, done + 1
        local _, result, err = pending:poll()
        on_done(result or err)
      else core.sleep(0.001) end
    end
  end,
  ["blocking calls"] = function(items, on_done)
    for i = 1, #items do
      local result, err = client:cancel_order(items[i])
      on_done(result or err)
    end
  end,
}

describe("where #slow", function()
  for service, case in pairs(SERVICES) do
    for host, cancel in pairs(HOSTS) do
      it(service .. ", 500 orders are accepted by " .. host, function()
        local options = { orders = ORDERS, plain = true }
        for name, value in pairs(case.options) do options[name] = value end
        sandbox = process.sandbox(options)
        local delay = host == "blocking calls" and math.ceil(case.delay / CONCURRENCY) or case.delay
        client = assert(crux.new{
          username = "retailer", password = "retailer",
          base_url = sandbox.base_url .. "/~delay=" .. delay,
        })
        local items, done, others, answers = {}, 0, 0, {}
        for i, uuid in ipairs(sandbox.orders) do items[i] = { order_uuid = uuid } end
        local began = core.now()
        cancel(items, function(answer)
          done = done + 1
          answers[answer.outcome] = (answers[answer.outcome] or 0) + 1
          if case.others and done % case.others == 0 and done < ORDERS then
            others = others + 1
            log_in_elsewhere()
          end
        end)
        local seconds = core.now() - began
        assert.same({ accepted = ORDERS }, answers)
        local record = sandbox:record()
        local executed = 0
        for _, entry in pairs(record.cancels) do executed = executed + entry.executed end
        assert.equal(ORDERS, executed)
        local own = record.logins - others
        local ended = case.others and others or math.floor(seconds / LIFETIME)
        assert.is_true(ended > 0)
        assert.is_true(own > 1 and own <= 1 + ended, ("%d logins, %d tokens ended"):format(own, ended))
      end)
    end
  end
end)
