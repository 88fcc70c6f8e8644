-- The token as an argument: what is refused, what is missing, and that no message shows it.
local arguments = require "spec.support.arguments"
local core = require "crux.core"
local crux = require "crux"
local helper = require "spec.helper"

local U, S = helper.ORDER, helper.SUPPLIER
local WAYS = arguments.WAYS
local found = arguments.found

local _, server

setup(function() _, server = arguments.open() end)
teardown(arguments.close)

describe("the option token", function()
  it("is refused if it cannot be in a header, and is not shown", function()
    for _, token in ipairs{ "", "with space", "tab\t", "line\r\nX-Evil: 1", "nul\0", "caf\195\169", "\127del", " lead",
      "trail\n", "trail\r\n", 5, true, {} } do
      for _, way in ipairs(WAYS) do
        local result, err = way[2]("cancel_order", { order_uuid = U, token = token })
        assert.is_nil(result)
        helper.check(result, err)
        if type(token) == "string" and #token > 0 then helper.clean(err, token) end
        assert.same({ "invalid", "token", "not_sent" }, { err.kind, err.field, err.outcome })
        local what = way.core and "a string of printable ASCII without spaces"
          or "a string of printable ASCII without spaces, or a function"
        local ending = type(token) == "string" and token:find("[\r\n]$") and " that ends in a newline" or ""
        assert.equal(("token: expected %s, found %s%s"):format(what, found(token, true), ending), err.message)
      end
    end
  end)

  it("must be a string for crux.core", function()
    local _, err = helper.call(core.cancel_order, { order_uuid = U, token = function() return helper.TOKEN end,
      base_url = server.base_url })
    assert.equal("token: expected a string of printable ASCII without spaces, found a function", err.message)
  end)

  it("left out gives kind auth", function()
    for _, call in ipairs{ core.cancel_order, crux.cancel_order } do
      local _, err = helper.call(call, { order_uuid = U, base_url = server.base_url })
      assert.same({ "auth", "not_sent", false }, { err.kind, err.outcome, err.retryable })
      assert.equal("expected a token, found none", err.message)
      assert.equal("give a token, or a username and a password, as options or in the environment", err.hint)
    end
  end)
end)

describe("a token in the place of another value", function()
  local short, own = "short-token", "own-token"
  local mine

  setup(function() mine = assert(crux.new{ token = short, base_url = server.base_url }) end)
  teardown(function() mine:close() end)

  local function hidden(token, given, field)
    local _, err = helper.call(mine.cancel_order, mine, given)
    helper.clean(err, token)
    assert.same({ "invalid", field }, { err.kind, err.field })
    assert.is_truthy(err.message:find(("a string of %d bytes"):format(#token), 1, true), err.message)
  end

  it("is not shown in the message", function()
    for token, given in pairs{ [short] = false, [own] = own } do
      local function hide(name, value, field)
        hidden(token, { order_uuid = U, token = given or nil, [name] = value }, field or name)
      end
      local name = ("[a string of %d bytes]"):format(#token)
      hide(token, true, name)
      for _, option in ipairs{ "api", "timeout", "retries", "max_body", "on_event", "skus" } do hide(option, token) end
      hide("skus", { token }, "skus[1]")
      hide("skus", { { supplier_uuid = S, [token] = 1 } }, "skus[1]" .. name)
      hide("skus", { { supplier_uuid = S, quantity = token } }, "skus[1].quantity")
      hide("skus", { { supplier_uuid = S, price = token } }, "skus[1].price")
    end
    for _, options in ipairs{ { token = own, [own] = 1 }, { token = own, api = own } } do
      local _, err = helper.call(crux.new, options)
      assert.equal("invalid", err.kind)
      helper.clean(err, own)
    end
  end)
end)
