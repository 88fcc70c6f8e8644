-- What became of orders that were cancelled from inside nginx, compared with the record of the
-- service: 2,000 at one that fails in every way meanwhile, and 500 where tokens end.
local cjson = require("cjson").new()
local core = require "crux.core"
local process = require "spec.support.process"
local resty = require "spec.support.resty"
local storm = require "spec.support.storm"

if resty.missing() then
  pending("crux.resty: " .. resty.missing())
  return
end

local weather, sandbox

after_each(function()
  resty.stop_failed()
  if sandbox then sandbox:close() end
  sandbox = nil
  if weather then weather:close() end
  weather = nil
end)

-- What is known of an answer.
local SHOWN = [[
  local function shown(answer)
    return {
      outcome = answer.outcome, status = answer.status, kind = answer.kind,
      sends = answer.meta.sends,
    }
  end
]]

-- A client, by how it gets its tokens.
local FUNCTION = [[
  local token
  local function tokens(refused)
    while not token or token == refused do
      local result = crux.login{
        username = "retailer", password = "retailer", base_url = given.login_url, timeout = 5,
      }
      if result then token = result.body.auth_token else ngx.sleep(0.02) end
    end
    return token
  end
  tokens() -- sixteen first calls would be sixteen logins
  local client = assert(crux.new{ base_url = given.base_url, token = tokens })
]]
local LOGINS = [[
  local client = assert(crux.new{
    base_url = given.base_url, username = "retailer", password = "retailer",
  })
]]

local BATCH = SHOWN .. [[
  local items, answers, twice = {}, {}, 0
  for i, uuid in ipairs(given.orders) do items[i] = { order_uuid = uuid } end
  local report = client:cancel_orders(items, { on_result = function(index, _, result, err)
    if answers[index] then twice = twice + 1 end
    answers[index] = shown(result or err)
  end })
  return { answers = answers, twice = twice, stopped = report.stopped, counts = report.counts }
]]

-- Light threads, each of which goes on with an order that was not sent. A token may expire, unused,
-- while the call that has logged in waits for the service: that is a 401 in the end.
local THREADS = SHOWN .. [[
  local answers, next_order, twice = {}, 0, 0
  local function run()
    while next_order < #given.orders do
      next_order = next_order + 1
      local i, sends, answer = next_order, 0, nil
      repeat
        if answer then ngx.sleep(0.05) end
        local result, err = client:cancel_order{ order_uuid = given.orders[i] }
        answer = shown(result or err)
        sends = sends + answer.sends
      until answer.outcome ~= "not_sent" and answer.status ~= 429 and answer.status ~= 401
      if answers[i] then twice = twice + 1 end
      answer.sends = sends
      answers[i] = answer
    end
  end
  local threads = {}
  for n = 1, given.threads do threads[n] = ngx.thread.spawn(run) end
  for n = 1, given.threads do assert(ngx.thread.wait(threads[n])) end
  return { answers = answers, twice = twice }
]]

describe("the record of a service that fails in every way agrees #slow", function()
  for name, chunk in pairs{
    ["a batch with a token function"] = FUNCTION .. BATCH,
    ["sixteen light threads with logins"] = LOGINS .. THREADS,
  } do
    it("with what became of 2,000 orders in nginx, by " .. name, function()
      weather = storm.start{ orders = 2000, plain = true }
      local server = resty.start()
      local given = resty.quote{
        orders = weather.orders, base_url = weather.base_url, login_url = weather.login_url,
        threads = 16,
      }
      local answer = server:begin{ { body = ("local given = %s\n%s"):format(given, chunk) } }
      for _ = 1, 1200 do -- a batch that ends too early never gets there
        if weather:pass(weather:executed()) then break end
        os.execute("sleep 0.05")
      end
      local result = answer()[1]
      assert.equal(200, result.status, result.body)
      local shown = cjson.decode(result.body)
      local counts, logins = weather:check(shown.answers)
      assert.equal(0, shown.twice)
      assert.same({ 0, 0 }, { counts.rejected, counts.not_sent })
      assert.equal(2000, counts.accepted + counts.unknown)
      -- of 16 in flight at most, five times; a killed process may take connections until the kernel
      -- has closed its sockets
      assert.is_true(counts.unknown <= 5 * 2 * 16, counts.unknown .. " are unknown")
      assert.is_true(logins > 1)
      assert.is_nil(shown.stopped)
      local reported = shown.counts or counts
      assert.same({ counts.accepted, counts.unknown }, { reported.accepted, reported.unknown })
      resty.stop()
    end)
  end
end)

describe("in nginx, where #slow", function()
  for name, case in pairs{
    ["tokens last two seconds"] = { delay = 40, options = { token_lifetime = 2 } },
    ["logins revoke the tokens before"] = { delay = 10, options = { revoke = true }, others = 4 },
  } do
    it(name .. ", 500 orders are accepted by eight light threads", function()
      local options = { orders = 500, plain = true }
      for option, value in pairs(case.options) do options[option] = value end
      sandbox = process.sandbox(options)
      local server, began = resty.start(), core.now()
      local given = resty.quote{
        orders = sandbox.orders, base_url = sandbox.base_url .. "/~delay=" .. case.delay, threads = 8,
      }
      local answer = server:begin{
        { body = ("local given = %s\n%s%s"):format(given, LOGINS, THREADS) },
      }
      for others = 1, case.others or 0 do -- somebody else logs in as the same user
        resty.wait_until(function() return sandbox:record().requests > others * 100 end, "requests")
        assert(core.login{
          base_url = sandbox.base_url, username = "retailer", password = "retailer",
        })
      end
      local result = answer()[1]
      assert.equal(200, result.status, result.body)
      local outcomes, seconds = {}, core.now() - began
      for _, one in ipairs(cjson.decode(result.body).answers) do
        outcomes[one.outcome] = (outcomes[one.outcome] or 0) + 1
      end
      assert.same({ accepted = 500 }, outcomes)
      local own = sandbox:record().logins - (case.others or 0)
      local ended = case.others or math.floor(seconds / 2)
      assert.is_true(own > 1 and own <= 1 + ended, ("%d logins, %d tokens ended"):format(own, ended))
      resty.stop()
    end)
  end
end)
