-- The pager over list_orders: each order once, under both readings of `limit`, while orders come and go.
local core = require "crux.core"
local orders = require "crux.orders"

-- A service of its own with orders 1 to `count`, under one reading of `limit`. Its `before` is
-- called before each request, to change `list`.
local function service(count, reading, before)
  local made = { list = {}, requests = {} }
  for i = 1, count do made.list[i] = "order-" .. i end
  function made:list_orders(arguments)
    if before then before(self, #self.requests + 1) end
    self.requests[#self.requests + 1] = { start = arguments.start, limit = arguments.limit, term = arguments.term }
    local last = reading == "end" and arguments.limit or arguments.start + arguments.limit - 1
    local page = {}
    for i = arguments.start + 1, math.min(last + 1, #self.list) do
      page[#page + 1] = { uuid = self.list[i] }
    end
    if self.max and #page > self.max then
      return { status = 200, headers = {}, raw = "", meta = { body_error = "longer than max_body, 9 bytes" } }
    end
    return { status = 200, body = { orders = page, total_results = 12345 }, meta = {} }
  end
  return made
end

local function collect(client, filter)
  local list, times, failure = {}, {}, nil
  for order, err in orders(client, filter) do
    if not order then failure = err
    else
      list[#list + 1] = order.uuid
      times[order.uuid] = (times[order.uuid] or 0) + 1
    end
  end
  return list, times, failure
end

local READINGS = { ["end"] = "limit as the last position", size = "limit as a page's size" }

describe("orders", function()
  for reading, text in pairs(READINGS) do
    for _, case in ipairs{ { 0, 50 }, { 1, 50 }, { 49, 50 }, { 50, 50 }, { 51, 50 }, { 500, 50 },
      { 10, 3 }, { 11, 4 }, { 2, 3 }, { 3, 3 } } do
      it(("yields %d orders once and in order, page %d, with %s"):format(case[1], case[2], text), function()
        local client = service(case[1], reading)
        local list = collect(client, { page = case[2] })
        assert.same(client.list, list)
        assert.is_true(#client.requests <= case[1] / (case[2] - 1) + 4, #client.requests .. " requests")
      end)
    end

    it("yields all that stay while orders vanish, with " .. text, function()
      local gone = {}
      local client = service(300, reading, function(self, request)
        for _ = 1, request % 3 == 0 and 7 or 0 do
          gone[table.remove(self.list, 1)] = true
        end
      end)
      local list, times = collect(client, { page = 10 })
      for i = 1, 300 do
        local uuid = "order-" .. i
        if not gone[uuid] then assert.equal(1, times[uuid], uuid) end
      end
      assert.is_true(#list <= 300)
      for uuid, count in pairs(times) do assert.equal(1, count, uuid) end
    end)

    it("yields all that stay while orders arrive in front, with " .. text, function()
      local client = service(100, reading, function(self, request)
        if request > 1 then table.insert(self.list, 1, "new-" .. request) end
      end)
      local _, times = collect(client, { page = 10 })
      for i = 1, 100 do assert.equal(1, times["order-" .. i], i) end
      for uuid, count in pairs(times) do assert.equal(1, count, uuid) end
    end)

    it("goes back if more orders vanish than a page has, with " .. text, function()
      local client = service(100, reading, function(self, request)
        if request == 4 then
          for _ = 1, 60 do table.remove(self.list, 1) end
        end
      end)
      local _, times = collect(client, { page = 20 })
      for i = 61, 100 do assert.equal(1, times["order-" .. i], i) end
    end)

    it("halves the page when a body is over max_body, with " .. text, function()
      local client = service(100, reading)
      client.max = 13
      local list, _, failure = collect(client, { page = 50 })
      assert.is_nil(failure)
      assert.same(client.list, list)
    end)
  end

  it("asks first for positions 0 to page - 1, then for start + page - 1", function()
    local client = service(7, "end")
    collect(client, { page = 5 })
    assert.same({ start = 0, limit = 4 }, client.requests[1])
    assert.same({ start = 4, limit = 8 }, client.requests[2])
  end)

  it("takes limit for a size once a page brings more than was asked for", function()
    local client = service(30, "size")
    collect(client, { page = 5 })
    assert.same({ start = 0, limit = 4 }, client.requests[1])
    assert.same({ start = 3, limit = 7 }, client.requests[2])
    assert.same({ start = 9, limit = 5 }, client.requests[3])
  end)

  it("passes the filter's other fields on and leaves the filter as it was", function()
    local client, filter = service(3, "end"), { term = "4711", page = 10 }
    collect(client, filter)
    assert.equal("4711", client.requests[1].term)
    assert.same({ term = "4711", page = 10 }, filter)
  end)

  it("ends at an empty page", function()
    local client = service(0, "end")
    collect(client, {})
    assert.equal(1, #client.requests)
  end)

  it("ends after two pages in a row without a new order", function()
    local client = service(5, "end")
    function client:list_orders(arguments)
      self.requests[#self.requests + 1] = arguments.start
      return { status = 200, body = { orders = { { uuid = "a" }, { uuid = "b" } } }, meta = {} }
    end
    assert.same({ "a", "b" }, (collect(client, {})))
    assert.equal(3, #client.requests)
  end)

  for _, case in ipairs{
    { "start", { start = 5 }, "start" }, { "limit", { limit = 5 }, "limit" },
    { "a page of 2", { page = 2 }, "page" }, { "a page with a fraction", { page = 10.5 }, "page" },
    { "a page that is a string", { page = "10" }, "page" },
  } do
    it("gives false and an error of kind invalid for " .. case[1], function()
      local client = service(5, "end")
      local list, _, failure = collect(client, case[2])
      assert.same({}, list)
      assert.equal("invalid", failure.kind)
      assert.equal(case[3], failure.field)
      assert.equal(0, #client.requests)
    end)
  end

  it("gives false and the error in its last turn when a request fails", function()
    local broken = core.failure("connect", "could not connect")
    local client = service(30, "end")
    local answer = client.list_orders
    function client:list_orders(arguments)
      if #self.requests == 1 then return nil, broken end
      return answer(self, arguments)
    end
    local list, _, failure = collect(client, { page = 10 })
    assert.equal(10, #list)
    assert.equal(broken, failure)
  end)

  for _, case in ipairs{
    { "is no JSON", { status = 200, headers = {}, raw = "<html>", meta = { body_error = "not JSON: <" } } },
    { "has no orders", { status = 200, headers = {}, raw = "{}", body = {}, meta = {} } },
    { "has an order without a UUID",
      { status = 200, headers = {}, raw = "", body = { orders = { {} } }, meta = {} } },
    { "is over max_body at the smallest page",
      { status = 200, headers = {}, raw = "", meta = { body_error = "longer than max_body, 1 bytes" } } },
  } do
    it("gives false and an error of kind protocol when a response " .. case[1], function()
      local client = { list_orders = function() return case[2] end }
      local list, _, failure = collect(client, {})
      assert.same({}, list)
      assert.equal("protocol", failure.kind)
      assert.equal("unknown", failure.outcome)
      assert.equal(200, failure.status)
      assert.equal(case[2].meta, failure.meta)
      assert.truthy(tostring(failure):find("list_orders: ", 1, true))
    end)
  end
end)
