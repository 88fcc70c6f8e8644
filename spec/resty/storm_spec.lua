-- What became of 2,000 orders that were cancelled from inside nginx, compared with the record of a
-- service that fails in every way meanwhile.
local cjson = require("cjson").new()
local resty = require "spec.support.resty"
local storm = require "spec.support.storm"

if resty.missing() then
  pending("crux.resty: " .. resty.missing())
  return
end

local weather

after_each(function()
  resty.stop_failed()
  if weather then weather:close() end
  weather = nil
end)

-- A token function, and what is known of an answer.
local COMMON = [[
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
  local function shown(answer)
    return {
      outcome = answer.outcome, status = answer.status, kind = answer.kind,
      sends = answer.meta.sends,
    }
  end
  tokens() -- sixteen first calls would be sixteen logins
  local client = assert(crux.new{ base_url = given.base_url, token = tokens })
]]

local BATCH = COMMON .. [[
  local items, answers, twice = {}, {}, 0
  for i, uuid in ipairs(given.orders) do items[i] = { order_uuid = uuid } end
  local report = client:cancel_orders(items, { on_result = function(index, _, result, err)
    if answers[index] then twice = twice + 1 end
    answers[index] = shown(result or err)
  end })
  return { answers = answers, twice = twice, stopped = report.stopped, counts = report.counts }
]]

-- Sixteen light threads, each of which goes on with an order that was not sent.
local THREADS = COMMON .. [[
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
      until answer.outcome ~= "not_sent" and answer.status ~= 429
      if answers[i] then twice = twice + 1 end
      answer.sends = sends
      answers[i] = answer
    end
  end
  local threads = {}
  for n = 1, 16 do threads[n] = ngx.thread.spawn(run) end
  for n = 1, 16 do assert(ngx.thread.wait(threads[n])) end
  return { answers = answers, twice = twice }
]]

describe("the record of a service that fails in every way agrees #slow", function()
  for name, chunk in pairs{ ["a batch"] = BATCH, ["sixteen light threads"] = THREADS } do
    it("with what became of 2,000 orders in nginx, by " .. name, function()
      weather = storm.start{ orders = 2000, plain = true }
      local server = resty.start()
      local given = resty.quote{
        orders = weather.orders, base_url = weather.base_url, login_url = weather.login_url,
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
