-- Misuse that raises an error instead of returning one.
local arguments = require "spec.support.arguments"
local core = require "crux.core"
local crux = require "crux"
local helper = require "spec.helper"

local U = helper.ORDER

local client, server

setup(function() client, server = arguments.open() end)
teardown(arguments.close)

describe("an error is raised", function()
  local function raises(text, fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_truthy(tostring(message):find(text, 1, true), tostring(message))
  end

  it("for arguments that are no table", function()
    for _, value in ipairs{ "x", 1, true, print } do
      for _, call in ipairs{ core.cancel_order, core.get_order, crux.cancel_order, crux.get_order } do
        raises("table", call, value)
      end
      for _, name in ipairs{ "cancel_order", "get_order" } do
        raises("expected a table", client[name], client, value)
      end
      raises("expected a table", client.dry_run, client, "cancel_order", value)
      raises("expected a table", client.submit, client, "cancel_order", value)
      raises("expected a table", crux.new, value)
    end
    raises("table", core.cancel_order)
    raises("expected a table", crux.cancel_order)
    raises("expected a table", client.cancel_order, client)
  end)

  it("with the caller's line", function()
    local calls = {
      function() client:cancel_order(1) end,
      function() client:call("get_order", 1) end,
      function() client:dry_run("cancel_order", 1) end,
      function() client:submit("cancel_order", 1) end,
      function() crux.get_order(1) end,
      function() crux.new(1) end,
    }
    for _, call in ipairs(calls) do
      -- Lua 5.1 keeps no line for a tail call
      local line = _VERSION == "Lua 5.1" and "" or ":" .. debug.getinfo(call, "S").linedefined .. ": "
      raises(line .. "expected a table", call)
    end
    for _, call in ipairs{
      function() client.cancel_order({}) end, function() crux:get_order({}) end, function() client.submit("get_order", {}) end,
      function() client.close() end, function() crux:new() end,
    } do
      local line = _VERSION == "Lua 5.1" and "" or ":" .. debug.getinfo(call, "S").linedefined .. ": "
      raises(line .. "expected c", call)
    end
  end)

  it("for an unknown call, with the list of names", function()
    for _, method in ipairs{ "dry_run", "submit", "call" } do
      raises("expected the name of a call, found 'cancel'; there are cancel_order, get_order", client[method], client, "cancel",
        { order_uuid = U })
      raises("found another string; there are cancel_order, get_order", client[method], client, helper.TOKEN, {})
      raises("found a nil; there are", client[method], client, nil, {})
    end
    assert.is_nil(client.cancel)
  end)

  it("for a dot in place of a colon, and a colon in place of a dot", function()
    for _, name in ipairs{ "cancel_order", "get_order" } do
      local colon = ("expected client:%s{...}, found client.%s{...}: write a colon"):format(name, name)
      raises(colon, client[name], { order_uuid = U })
      raises(colon, client[name])
      raises(colon, client[name], "x")
      raises(colon, client[name], { order_uuid = U }, { timeout = 1 })
      raises(("expected crux.%s{...}, found crux:%s{...}: write a dot"):format(name, name), crux[name], crux, { order_uuid = U })
    end
    for _, name in ipairs{
      "call", "dry_run", "submit", "step", "in_flight", "pollfd", "events", "timeout", "cancel_orders", "close",
    } do
      local colon = ("expected client:%s(...), found client.%s(...): write a colon"):format(name, name)
      raises(colon, client[name])
      raises(colon, client[name], "cancel_order", { order_uuid = U })
      raises(colon, client[name], { { order_uuid = U } })
    end
    raises("expected crux.new{...}, found crux:new{...}: write a dot", crux.new, crux, { token = "t" })
    raises("expected crux.new{...}, found crux:new{...}: write a dot", crux.new, crux)
  end)

  it("for a value of another type in place of a userdata of crux.core", function()
    for _, value in ipairs{ {}, 1, io.stdout, core.inbox(), core.null } do
      raises("expected crux.request, found " .. type(value), core.perform, value, "t", 0)
      raises("expected crux.request, found " .. type(value), core.release, value)
    end
  end)

  it("for a userdata of another library that was given the metatable of one of crux.core", function()
    local file = assert(io.tmpfile())
    local own, inbox = debug.getmetatable(file), core.inbox()
    debug.setmetatable(file, debug.getmetatable(inbox))
    local ok, message = pcall(inbox.in_flight, file)
    debug.setmetatable(file, own)
    file:close()
    assert.is_false(ok)
    assert.is_truthy(message:find("expected crux.inbox, found userdata", 1, true), message)
  end)

  it("for a closed client", function()
    local closed = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
    closed:close()
    closed:close()
    raises("closed", closed.cancel_order, closed, { order_uuid = U })
    raises("closed", closed.get_order, closed, { order_uuid = U })
    raises("closed", closed.dry_run, closed, "cancel_order", { order_uuid = U })
    raises("closed", closed.submit, closed, "cancel_order", { order_uuid = U })
    assert.is_truthy(tostring(closed):find("closed", 1, true))
  end)
end)
