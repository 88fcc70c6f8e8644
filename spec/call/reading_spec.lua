-- client:orders, crux.cancellation and client:wait_cancelled against the sandbox, in both
-- generations of the API.
local core = require "crux.core"
local crux = require "crux"
local helper = require "spec.helper"
local process = require "spec.support.process"

local SUPPLIER, OTHER = helper.SUPPLIER, "c3b1b2f6-5d0e-4a4b-9a52-6a3f2f0f5b7e"

local sandbox
local function open(options)
  options.plain = true
  sandbox = process.sandbox(options)
  return sandbox
end
after_each(function()
  if sandbox then sandbox:close() end
  sandbox = nil
end)

local function new(api, token)
  return assert(crux.new{ base_url = sandbox.base_url, token = token or sandbox.tokens.retailer, api = api })
end

local function collect(client, filter)
  local found, last_err = {}, nil
  for order, err in client:orders(filter) do
    if order then found[#found + 1] = order.uuid else last_err = err end
  end
  return found, last_err
end

for _, api in ipairs{ "v1", "timp" } do
  describe("in " .. api .. ", client:orders", function()
    for _, limit in ipairs{ "position", "size" } do
      it("gives each order once where limit is a " .. limit, function()
        open{ orders = 23, limit = limit }
        local client = new(api)
        for _, page in ipairs{ 3, 7, 22, 23, 24, 50 } do
          local found, err = collect(client, { page = page })
          assert.is_nil(err)
          assert.equal(24, #found) -- and the one that is shipped
          for i, uuid in ipairs(sandbox.orders) do assert.equal(uuid, found[i]) end
          assert.equal(sandbox.shipped_order, found[24])
        end
      end)
    end

    it("passes a filter on, and ends with the err of an invalid one", function()
      open{ orders = 5 }
      local client = new(api)
      local skus = { { supplier_uuid = SUPPLIER } }
      assert(client:cancel_order{ order_uuid = sandbox.orders[3], skus = skus })
      assert.same({ sandbox.orders[3] }, (collect(client, { line_item_designation = "Cancelled" })))
      assert.same({ sandbox.orders[2] }, (collect(client, { term = sandbox.orders[2] })))
      local found, err = collect(client, { line_item_designation = "Lost" })
      assert.same({ 0, "invalid", "line_item_designation" }, { #found, err.kind, err.field })
      found, err = collect(client, { start = 0 })
      assert.same({ 0, "invalid", "start" }, { #found, err.kind, err.field })
      found, err = collect(client, { token = sandbox.tokens.expired })
      assert.same({ 0, "auth", 401 }, { #found, err.kind, err.status })
    end)
  end)

  describe("in " .. api .. ", client:wait_cancelled", function()
    it("returns once the supplier has confirmed", function()
      open{ confirm = 1 }
      local client = new(api)
      local uuid = sandbox.orders[1]
      assert(client:cancel_order{ order_uuid = uuid })
      local before = crux.cancellation(assert(client:get_order{ order_uuid = uuid }).body)
      assert.equal("open", before.state)
      local shown = assert(client:wait_cancelled{ order_uuid = uuid, timeout = 20, interval = 0.05 })
      assert.equal("cancelled", shown.state)
      assert.same({ 2, 2, SUPPLIER }, { #shown.items, shown.items[1].rejected, shown.items[1].supplier_uuid })
    end)

    it("waits for the named lines alone", function()
      open{}
      local client = new(api)
      local uuid, skus = sandbox.orders[1], { { supplier_uuid = OTHER } }
      assert(client:cancel_order{ order_uuid = uuid, skus = skus })
      local shown = assert(client:wait_cancelled{ order_uuid = uuid, skus = skus })
      assert.same({ "cancelled", 1, "000107" }, { shown.state, #shown.items, shown.items[1].sku_id })
      local _, err = client:wait_cancelled{ order_uuid = uuid, timeout = 0.15, interval = 0.05 }
      assert.same({ "timeout", "open" }, { err.kind, err.cancellation.state })
      assert.is_true(err.meta.sends >= 2)
    end)

    it("returns at once for an order that cannot be cancelled any more", function()
      open{}
      local shown = assert(new(api):wait_cancelled{ order_uuid = sandbox.shipped_order })
      assert.equal("closed", shown.state)
    end)

    it("ends with an error that is not retryable", function()
      open{}
      local _, err = new(api, sandbox.tokens.expired):wait_cancelled{ order_uuid = sandbox.orders[1] }
      assert.same({ "auth", 401 }, { err.kind, err.status })
      _, err = new(api):wait_cancelled{ order_uuid = "x" }
      assert.same({ "invalid", "order_uuid" }, { err.kind, err.field })
    end)
  end)
end

describe("a supplier", function()
  it("confirms and rejects, by the order and by the line", function()
    open{ confirm = "manual" }
    local retailer, supplier = new "timp", new("timp", sandbox.tokens.supplier)
    local other = new("timp", sandbox.tokens.other_supplier)
    local function states(uuid)
      local found = {}
      for i, item in ipairs(crux.cancellation(assert(retailer:get_order{ order_uuid = uuid }).body).items) do
        found[i] = item.state
      end
      return found
    end
    local first, second = sandbox.orders[1], sandbox.orders[2]
    assert(retailer:cancel_order{ order_uuid = first })
    assert.same({ "open", "open" }, states(first))
    assert(supplier:confirm_order_cancellation{ order_uuid = first })
    assert.same({ "cancelled", "open" }, states(first))
    local _, err = supplier:confirm_order_cancellation{ order_uuid = first }
    assert.equal(422, err.status)
    assert(other:reject_order_cancellation{ order_uuid = first })
    assert.same({ "cancelled", "open" }, states(first))

    local lines = crux.cancellation(assert(retailer:get_order{ order_uuid = second }).body).items
    for _, line in ipairs(lines) do assert(retailer:cancel_order_item{ order_item_uuid = line.uuid }) end
    _, err = retailer:cancel_order_item{ order_item_uuid = lines[1].uuid }
    assert.equal(422, err.status)
    assert(supplier:reject_item_cancellation{ order_item_uuid = lines[1].uuid })
    assert(other:confirm_item_cancellation{ order_item_uuid = lines[2].uuid })
    assert.same({ "open", "cancelled" }, states(second))
    _, err = retailer:confirm_item_cancellation{ order_item_uuid = lines[1].uuid }
    assert.same({ 409, "the token belongs to an organization of the wrong kind: confirm_item_cancellation is for "
      .. "suppliers" }, { err.status, err.hint })
  end)
end)

describe("a login", function()
  it("gives a token that other calls take", function()
    open{}
    local said = assert(core.login{ base_url = sandbox.base_url, username = "retailer", password = "retailer" })
    assert.equal("RETAILER", said.body.org_type)
    assert(new("v1", said.body.auth_token):get_order{ order_uuid = sandbox.orders[1] })
    local _, err = core.login{ base_url = sandbox.base_url, username = "retailer", password = "wrong-one" }
    assert.same({ "rejected", 401, "the username or the password is wrong" }, { err.outcome, err.status, err.hint })
    helper.clean(err, "wrong-one")
  end)

  it("ends the earlier tokens of a service that revokes them", function()
    open{ revoke = true }
    local old = new "v1"
    assert(old:get_order{ order_uuid = sandbox.orders[1] })
    assert(old:login{ username = "retailer", password = "retailer" })
    local _, err = old:get_order{ order_uuid = sandbox.orders[1] }
    assert.equal("auth", err.kind)
  end)
end)

describe("misuse", function()
  it("of orders and wait_cancelled raises, and says what to write instead", function()
    local client = assert(crux.new{ token = "t" })
    assert.error_matches(function() client.orders{} end, "expected client:orders%(%.%.%.%), found client.orders")
    assert.error_matches(function() client:orders(5) end, "expected a table of fields, found number")
    assert.error_matches(function() client:wait_cancelled() end, "expected a table of arguments, found nothing")
    client:close()
    assert.error_matches(function() client:orders() end, "the client is closed")
    assert.error_matches(function() client:wait_cancelled{} end, "the client is closed")
  end)
end)
