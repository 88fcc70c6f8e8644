-- A submitted call has the same outcome as a blocking one: same attempts, events, result and error.
local async = require "spec.support.async"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local ORDER, HOLD, ANSWERS = async.ORDER, async.HOLD, async.ANSWERS
local serve, refused, connect = async.serve, async.refused, async.connect
local until_true, is_done, drain = async.until_true, async.is_done, async.drain

after_each(async.close_all)
teardown(fault.stop)

-- The same cases as a blocking call, and with each way to complete a submitted call.
describe("a submitted call has the outcome of a blocking one:", function()
  local function by_wait(client, name, arguments) return select(2, assert(client:submit(name, arguments)):wait()) end

  local drivers = {
    { "submit and wait", by_wait },
    { "submit and poll", function(client, name, arguments)
      local call = assert(client:submit(name, arguments))
      until_true(function() return call:poll() end)
      return is_done(call)
    end },
    { "submit and step", function(client, name, arguments)
      local call = assert(client:submit(name, arguments))
      assert.same({ call }, drain(client))
      return is_done(call)
    end },
  }

  local too_many = helper.response(429, '{"detail":"slow down"}', { "Retry-After: 0" })
  local later = helper.response(429, "", { "Retry-After: 60" })
  local busy = helper.response(503, "<html>")
  local fine = helper.response(200, '{"a":[1,2]}')
  local nobody = helper.response(401, '{"detail":"Invalid token."}')

  local cases = {
    { "200", answers = { fine } },
    { "204 without a body", answers = { helper.response(204) } },
    { "422", answers = { helper.response(422, '{"skus":[{},{"quantity":["Too many."]}]}') } },
    { "503", answers = { busy } },
    { "503 twice, then 200, to get_order", call = "get_order", answers = { busy, busy, fine } },
    { "503 to every attempt of get_order", call = "get_order", answers = { busy, busy, busy, busy } },
    { "429 twice, then 200", answers = { too_many, too_many, fine } },
    { "429 to every attempt", answers = { too_many, too_many, too_many, too_many } },
    { "429 with retries = 0", answers = { too_many, fine }, options = { retries = 0 } },
    { "429 with a Retry-After past the deadline", answers = { later, fine } },
    { "a refused port", refused = true },
    { "a refused port with retries = 0", refused = true, options = { retries = 0 } },
    { "a response later than the timeout", script = HOLD, options = { timeout = 0.6 } },
    { "a response later than the timeout, to get_order", call = "get_order", script = HOLD, options = { timeout = 0.6 } },
    { "a reset after the request", script = "conn:request() conn:rst()" },
    { "a truncated response head", answers = { "HTTP/1.1 200 OK\r\nX: y" }, close = true },
    { "a truncated response body", answers = { "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}" }, close = true },
    { "401, then another token", answers = { nobody, fine }, token = { "first-token-00000", "second-token-11111" } },
    { "401 twice, with another token", answers = { nobody, nobody, fine }, token = { "first-token-00000", "second-token-11111" } },
    { "401, then the same token", answers = { nobody, fine }, token = { "first-token-00000", "first-token-00000" } },
    { "401 with retries = 0", answers = { nobody, fine }, token = { "first-token-00000", "second-token-11111" }, options = { retries = 0 } },
    { "401 with a string as token", answers = { nobody, fine } },
    { "a token function that returns nil", token = {}, answers = { fine } },
    { "a token function that returns nil for the second attempt", token = { "first-token-00000" }, answers = { too_many, fine } },
    { "a token function that raises an error", options = { token = function() error("secret") end }, answers = { fine } },
    { "a headers function", answers = { too_many, fine },
      options = { headers = function() return { ["X-Id"] = "1" } end } },
    { "a headers function that raises an error", answers = { fine },
      options = { headers = function() error("secret") end } },
    { "a headers function that returns none for the second attempt", answers = { too_many, fine },
      options = { headers = function(attempt) return attempt.attempt == 1 and {} or nil end } },
    { "an on_event that raises an error at the request", raises = "request", answers = { fine } },
    { "an on_event that raises an error at the response", raises = "response", answers = { fine } },
    { "an on_event that raises an error at the retry", raises = "retry", answers = { too_many, fine } },
  }

  -- The result of a case, without what differs from run to run.
  local function outcome_of(case, carry)
    local server
    if case.refused then server = refused()
    else
      server = serve(case.script or (case.close and "conn:request() conn:write(shared.answers[1]) conn:fin()" or ANSWERS),
        { answers = case.answers or {} })
    end
    local story = {}
    local options = {
      on_event = function(e)
        helper.clean(e)
        story[#story + 1] = table.concat({ e.name, e.attempt, e.method, e.outcome or "-", e.kind or "-", e.status or "-",
          e.pause and "pause" or "-" }, " ")
        if e.name == case.raises then error("raised at " .. e.name, 0) end
      end,
    }
    if case.token then
      local asked = 0
      options.token = function(again)
        asked = asked + 1
        story[#story + 1] = "token " .. tostring(again)
        if not case.token[asked] then return nil, "no more of them" end
        return case.token[asked]
      end
    end
    for name, value in pairs(case.options or {}) do options[name] = value end
    local client = connect(server, options)
    local name = case.call or "cancel_order"
    local ok, result, err = pcall(carry, client, name, name == "get_order" and { order_uuid = helper.ORDER } or ORDER)
    local answer = ok and (result or err) or {}
    if ok then helper.check(result, err) else story[#story + 1] = tostring(result) end
    local meta = answer.meta or {}
    return {
      story = story, outcome = answer.outcome, kind = answer.kind, status = answer.status, retryable = answer.retryable,
      message = answer.message, detail = answer.detail, fields = answer.fields, raw = answer.raw, hint = answer.hint,
      attempts = meta.attempts, sends = meta.sends, bytes_sent = meta.bytes_sent, body_error = meta.body_error,
      event_error = meta.event_error,
      requests = not case.refused and server:record().requests or 0,
      in_flight = client:in_flight(),
    }
  end

  -- makes random pauses short
  local random = core.random
  setup(function() core.random = function() return 0.05 end end)
  teardown(function() core.random = random end)

  for _, case in ipairs(cases) do
    it(case[1], function()
      local expected = outcome_of(case, function(client, name, arguments) return client[name](client, arguments) end)
      assert.is_true(#expected.story > 0 or expected.kind == "auth" or expected.kind == "invalid")
      -- times and ports in messages differ
      local function less(found)
        found.message = found.message and found.message:gsub("%d+ ms", "ms"):gsub(":%d+", ":port"):gsub("port %d+", "port")
        return found
      end
      less(expected)
      for _, driver in ipairs(drivers) do
        local found = less(outcome_of(case, driver[2]))
        assert.same(expected, found, driver[1])
      end
    end)
  end
end)
