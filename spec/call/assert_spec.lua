-- crux.assert: an assert for errors that are tables.
local crux = require "crux"
local helper = require "spec.helper"

local function pack(...) return { n = select("#", ...), ... } end

describe("crux.assert", function()
  it("returns all its arguments, nil and false among them", function()
    local result = { outcome = "accepted" }
    local returned = pack(crux.assert(result, nil, false, 4, nil))
    assert.equal(5, returned.n)
    assert.is_true(returned[1] == result)
    assert.same({ nil, false, 4, nil }, { returned[2], returned[3], returned[4], returned[5] })
    assert.equal(1, pack(crux.assert(0)).n)
  end)

  it("raises the err of a call as a string, without a position", function()
    local _, err = helper.call(crux.cancel_order, {})
    local ok, raised = pcall(crux.assert, nil, err)
    assert.is_false(ok)
    assert.equal("string", type(raised))
    assert.equal(tostring(err), raised)
    assert.equal("not_sent (invalid): ", raised:sub(1, 20))
  end)

  it("raises the text of any other err", function()
    for _, row in ipairs{ { "why", "why" }, { false, "false" }, { 5, "5" } } do
      assert.same({ false, row[2] }, { pcall(crux.assert, nil, row[1]) })
      assert.same({ false, row[2] }, { pcall(crux.assert, false, row[1]) })
    end
  end)

  it("raises as assert does if there is no err", function()
    assert.same({ false, "assertion failed!" }, { pcall(crux.assert, nil) })
    assert.same({ false, "assertion failed!" }, { pcall(crux.assert, false, nil) })
    assert.same({ false, "assertion failed!" }, { pcall(crux.assert) })
  end)

  it("makes a script that does not catch it end with the err on one line", function()
    local printed = helper.child([[
      local crux = require "crux"
      crux.assert(crux.get_order{ order_uuid = 1, token = "assert-spec-token" })]])
    local line = printed:match("^[^\n]*")
    local expected = ": not_sent (invalid): order_uuid: expected a UUID"
    assert.is_truthy(line:find(expected, 1, true), printed)
    helper.clean(printed, "assert-spec-token")
  end)
end)
