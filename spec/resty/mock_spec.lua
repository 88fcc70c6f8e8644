-- crux.mock inside nginx: it answers as in any Lua, in every phase, and neither suspends a light
-- thread nor starts another thread.
local helper = require "spec.helper"
local mock = require "crux.mock"
local resty = require "spec.support.resty"

local missing = resty.missing()

after_each(resty.stop_failed)

local ANSWERS = {
  '{ status = 200, body = { a = { 1, 2.5, "x" } } }', "{ status = 204 }",
  '{ status = 400, body = { order_uuid = { "No." } } }', "{ status = 401 }",
  '{ status = 429, headers = { ["Retry-After"] = "5" } }', "{ status = 503 }",
  '"dns"', '"connect"', '"proxy"', '"tls"', '"timeout"', '"network"', '"memory"', '"timeout_sent"',
  '"network_sent"', '"protocol_sent"', '"cut_body"',
}

describe("crux.mock inside nginx #stock", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  it("answers as elsewhere, to blocking, submitted and batched calls", function()
    local server = resty.start{}
    local source = ([[
      local answers, token, arguments = { %s }, %q, { order_uuid = %q }
      local found = {}
      local double = assert(mock.new{
        token = token, retries = 0, answers = { cancel_order = function() return answers[#found + 1] end },
      })
      local function keep(result, err)
        local answer = result or err
        found[#found + 1] = {
          outcome = answer.outcome, kind = answer.kind, status = answer.status, message = answer.message,
          hint = answer.hint, raw = answer.raw, headers = answer.headers, retryable = answer.retryable,
          fields = answer.fields, retry_after = answer.retry_after, attempts = answer.meta.attempts,
          bytes_sent = answer.meta.bytes_sent, body_error = answer.meta.body_error, total = answer.meta.time.total,
        }
      end
      local rounds = {}
      for _, way in ipairs{ "dot", "colon", "submit", "batch" } do
        found = {}
        for _ = 1, #answers do
          if way == "dot" then keep(double.cancel_order(arguments))
          elseif way == "colon" then keep(double:cancel_order(arguments))
          elseif way == "submit" then keep(select(2, double:submit("cancel_order", arguments):poll()))
          else
            double:cancel_orders({ arguments }, { on_result = function(_, _, ...) keep(...) end, stop_on = {} })
          end
        end
        rounds[way] = found
      end
      return rounds
    ]]):format(table.concat(ANSWERS, ", "), helper.TOKEN, helper.ORDER)
    local here = assert((loadstring or load)("local mock = ... " .. source))(mock)
    local there = server:run("local mock = require 'crux.mock' " .. source)
    assert.equal(#ANSWERS, #here.dot)
    for way, expected in pairs(here) do
      for i, answer in ipairs(expected) do assert.same(answer, there[way][i], way .. ", " .. ANSWERS[i]) end
    end
    resty.stop()
  end)

  it("lets no other light thread run, takes no time and starts no thread", function()
    local server = resty.start{}
    local found = server:run(([[
      local function threads()
        return tonumber(io.open("/proc/self/status"):read("*a"):match("Threads:%%s+(%%d+)"))
      end
      local order = { order_uuid = %q }
      local double = require("crux.mock").new{ answers = {
        get_order = function(call)
          return { status = 200, body = { line_items = { { status = call.args.api and "Pending" or "Cancelled" } } } }
        end,
        cancel_order = function() return "timeout_sent" end,
      } }
      local others = 0
      local thread = ngx.thread.spawn(function()
        ngx.sleep(0)
        others = others + 1
      end)
      local before, began = threads(), ngx.now()
      double:cancel_order(order)
      double:submit("cancel_order", order):wait()
      local report = double:cancel_orders({ order, order }, { rate = 0.01 })
      local shown = double:wait_cancelled(order)
      local _, err = double:wait_cancelled{ order_uuid = order.order_uuid, api = "timp", timeout = 100000, interval = 1000 }
      ngx.update_time()
      local found = {
        others = others, threads = threads() - before, is_quick = ngx.now() - began < 5,
        unknown = report.counts.unknown, state = shown.state, kind = err.kind, calls = #double.calls,
      }
      ngx.thread.wait(thread)
      return found
    ]]):format(helper.ORDER))
    assert.same({
      others = 0, threads = 0, is_quick = true, unknown = 2, state = "cancelled", kind = "timeout", calls = 105,
    }, found)
    resty.stop()
  end)

  it("makes calls in phases that cannot wait", function()
    local note = ([[
      local double = require("crux.mock").new{ answers = { get_order = { "connect", { status = 200 } } } }
      local result, err = double.get_order{ order_uuid = %q }
      require("ngx.errlog").raw_log(ngx.NOTICE, "%%s| " .. tostring(result and result.outcome or err))
    ]]):format(helper.ORDER)
    local server = resty.start{
      init = note:format("init"),
      http = "init_worker_by_lua_block { " .. note:format("init_worker") .. " }",
      server = ("location = /filters { return 200 'x'; header_filter_by_lua_block { %s } log_by_lua_block { %s } }"):format(
        note:format("header_filter"), note:format("log")),
    }
    server:ask{ { path = "/filters" } }
    local log = server:close()
    for _, phase in ipairs{ "init", "init_worker", "header_filter", "log" } do
      assert.equal("accepted", log:match("%f[%w_]" .. phase .. "| (%a+)"), phase)
    end
  end)
end)
