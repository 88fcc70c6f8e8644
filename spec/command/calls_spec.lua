-- What the single calls of the command send and print.
local command = require "spec.support.command"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local process = require "spec.support.process"

local ORDER, SUPPLIER = helper.ORDER, helper.SUPPLIER

describe("crux", function()
  local sandbox, place, used

  setup(function()
    sandbox = process.sandbox{ orders = 12, confirm = "manual" }
    used = 0
  end)
  teardown(function() sandbox:close() end)
  before_each(function() place = command.place(sandbox) end)
  after_each(function() place:remove() end)

  local function take()
    used = used + 1
    return sandbox.orders[used]
  end

  -- Runs it, and expects a code; with --json, `lines` are the objects.
  local function run(words, options, code)
    local ran = place:run(words, options)
    assert.equal(code or 0, ran.code, ran.out .. ran.err)
    if words:find("--json", 1, true) then ran.lines = command.objects(ran.out) end
    return ran
  end

  local function as(user) return { env = { CRUX_TOKEN = sandbox.tokens[user] } } end

  -- The body and URL that a command would send.
  local function sent(words, options)
    local ran = run(words .. " --dry-run --json", options)
    assert.equal("dry_run", ran.lines[1].type)
    return ran.lines[1].body, ran.lines[1].url, ran.lines[1].method
  end

  it("sends the SKUs of --sku with cancel, in the order of the command line", function()
    local words = ("cancel %s --sku %s --sku %s:000106 --sku %s:000107:2 --sku %s::3"):format(ORDER,
      SUPPLIER, SUPPLIER, SUPPLIER, SUPPLIER)
    local skus = ('{"supplier_uuid":"S"},{"supplier_uuid":"S","sku_id":"000106"},'
      .. '{"supplier_uuid":"S","sku_id":"000107","quantity":2},{"supplier_uuid":"S","quantity":3}')
      :gsub("S", SUPPLIER)
    assert.equal(('{"order_uuid":"%s","skus":[%s]}'):format(ORDER, skus), (sent(words)))
  end)

  it("uses the service's sandbox unless told otherwise, and flags before the environment",
    function()
    local function url(words, env)
      local _, found = sent("cancel " .. ORDER .. words, { env = env })
      return found:match("^(.-)/orders/")
    end
    assert.equal("https://api-sandbox.cruxconnect.com", url("", { CRUX_BASE_URL = "" }))
    assert.equal("https://api.cruxconnect.com", url(" --production", { CRUX_BASE_URL = "" }))
    assert.equal("https://api.cruxconnect.com", url(" --production"))
    assert.equal(sandbox.base_url, url(""))
    assert.equal("https://127.0.0.1:1/x", url(" --base-url https://127.0.0.1:1/x"))
    assert.equal(sandbox.base_url .. "/timp", url(" --api timp"))
  end)

  it("prints a curl command for each order of a file with --dry-run, and needs nobody logged in",
    function()
    local before = sandbox:record().requests
    local uuid = "0f0e0d0c-0b0a-4908-8706-050403020100"
    place:path("orders.jsonl", ('{"order_uuid":"%s"}\n{"order_uuid":"%s"}\n'):format(ORDER, uuid))
    local ran = run("cancel --file orders.jsonl --dry-run", { env = { CRUX_TOKEN = "" } })
    local _, count = ran.out:gsub("curl %-q [^\n]*%$CRUX_TOKEN[^\n]*\n", "")
    assert.equal(2, count, ran.out)
    assert.is_nil(io.open(place:path("orders.jsonl.journal")))
    assert.equal(before, sandbox:record().requests)
  end)

  it("has as many requests in flight as --concurrency says, beyond 32 as well", function()
    local many = process.sandbox{ orders = 60 }
    local there = command.place(many)
    finally(function()
      many:close()
      there:remove()
    end)
    there.env.CRUX_BASE_URL = many.base_url .. "/~delay=1500"
    there:path("orders.csv", "order_uuid\n" .. table.concat(many.orders, "\n") .. "\n")
    local ran = there:run("cancel --yes --json --concurrency 60 --timeout 60 --file orders.csv")
    assert.equal(0, ran.code, ran.out .. ran.err)
    assert.is_true(many:record().connections >= 60)
  end)

  it("reads orders from stdin with --file -", function()
    local uuids = { take(), take() }
    local ran = run("cancel --yes --json --file - --journal run.journal", {
      input = "order_uuid\n" .. table.concat(uuids, "\n") .. "\n",
    })
    assert.equal(3, #ran.lines)
    assert.equal("run.journal", ran.lines[3].journal)
    assert.equal(2, ran.lines[3].counts.accepted)
  end)

  it("tells duplicates of a file on stderr, and sends them once", function()
    local uuid = take()
    place:path("orders.csv", "order_uuid\n" .. uuid .. "\n" .. uuid:upper() .. "\n")
    local ran = run("cancel --yes --file orders.csv")
    assert.is_truthy(ran.err:find("orders.csv:3: the order is there already: it is sent once",
      1, true), ran.err)
    assert.is_truthy(ran.out:find("1 orders: 1 accepted", 1, true), ran.out)
    assert.equal(1, sandbox:record().cancels[uuid].received)
  end)

  it("refuses a line that is out of range before it sends the others", function()
    place:path("orders.csv", ("order_uuid,supplier_uuid,price\n%s,%s,1.999\n"):format(ORDER,
      SUPPLIER))
    local ran = run("cancel --yes --file orders.csv", nil, 2)
    assert.is_truthy(ran.err:find("orders.csv:2: price: expected", 1, true), ran.err)
  end)

  it("gets an order with its lines, and with --json as the service gives it", function()
    local uuid = take()
    local ran = run("get " .. uuid)
    assert.is_truthy(ran.out:find("order     " .. uuid, 1, true), ran.out)
    assert.is_truthy(ran.out:find("\n%x[%x-]+  000106 "), ran.out)
    ran = run("get --json " .. uuid)
    assert.equal(uuid, ran.lines[1].order.uuid)
    assert.equal(2, #ran.lines[1].order.line_items)
    assert.is_truthy(ran.out:find('"tracking_numbers":[]', 1, true), ran.out)
    assert.is_nil(ran.out:find("\\/", 1, true))
    assert.equal(1, ran.lines[2].read)
  end)

  it("lists orders once each, filtered by flags", function()
    local ran = run("list --json --page 3")
    local seen, count = {}, 0
    for _, line in ipairs(ran.lines) do
      if line.type == "order" then
        assert.is_nil(seen[line.order_uuid])
        seen[line.order_uuid], count = true, count + 1
      end
    end
    for _, uuid in ipairs(sandbox.orders) do assert.is_true(seen[uuid]) end
    assert.equal(count, ran.lines[#ran.lines].read)
    ran = run("list --json --term " .. sandbox.orders[4])
    assert.equal(2, #ran.lines)
    assert.equal(sandbox.orders[4], ran.lines[1].order_uuid)
    assert.equal(1, #run("list --json --line-item-designation HasTracking").lines - 1)
    local up, down = run("list --json --sort date:asc --max 1"),
      run("list --json --sort date:desc --max 1")
    assert.is_true(up.lines[1].order.created_date <= down.lines[1].order.created_date)
    assert.equal("", run("list --term nothing-like-it").out)
  end)

  it("cancels one line, and a supplier confirms or rejects it", function()
    local uuid = take()
    local lines = run("get --json " .. uuid).lines[1].order.line_items
    local item = lines[1].uuid
    assert.equal("accepted", run("cancel-item --json " .. item).lines[1].outcome)
    assert.equal("open", run("status --json " .. uuid, nil, 1).lines[1].state)
    local supplier = lines[1].supplier_uuid == SUPPLIER and "supplier" or "other_supplier"
    assert.equal("accepted", run("confirm --json --item " .. item, as(supplier)).lines[1].outcome)
    assert.is_truthy(run("status " .. uuid, nil, 1).out:find("1 of 2 lines cancelled", 1, true))
    run("cancel-item " .. lines[2].uuid)
    run("reject --item " .. lines[2].uuid,
      as(supplier == "supplier" and "other_supplier" or "supplier"))
    local ran = run("confirm " .. uuid, as "supplier", 1)
    assert.is_truthy(ran.out:find("no cancellation of this order waits for this supplier", 1, true),
      ran.out)
  end)

  it("confirms and rejects orders in timp", function()
    local uuid = take()
    run("cancel " .. uuid)
    run("confirm " .. uuid, as "supplier")
    run("confirm " .. uuid, as "other_supplier")
    assert.equal("cancelled", run("status --json " .. uuid).lines[1].state)
    uuid = take()
    run("cancel " .. uuid)
    run("reject " .. uuid, as "supplier")
    assert.equal("open", run("status --json " .. uuid, nil, 1).lines[1].state)
    local _, url, method = sent("reject " .. ORDER)
    assert.equal(sandbox.base_url .. "/timp/orders/cancel/" .. ORDER .. "/reject/", url)
    assert.equal("PATCH", method)
  end)

  it("waits with status --wait until the suppliers have decided, or its time is over", function()
    local soon = process.sandbox{ orders = 1, confirm = "1" }
    finally(function() soon:close() end)
    local there = command.place(soon)
    finally(function()
      soon:close()
      there:remove()
    end)
    assert.equal(0, there:run("cancel " .. soon.orders[1]).code)
    assert.equal(1, there:run("status " .. soon.orders[1]).code)
    local ran = there:run("status --wait --interval 0.1 --json " .. soon.orders[1])
    assert.equal(0, ran.code, ran.out .. ran.err)
    assert.equal("cancelled", command.objects(ran.out)[1].state)
    ran = run("status --wait --wait-timeout 0.3 --interval 0.1 --json " .. take(), nil, 1)
    assert.equal("open", ran.lines[1].state)
  end)

  it("sends every filter of list as the service names it", function()
    local server = fault.serve{ script = helper.ANSWER }
    server:set{ answer = helper.response(200, [[{"total_results":0,"orders":[]}]],
      { "Content-Type: application/json" }) }
    finally(function()
      server:close()
      fault.stop()
    end)
    local words = "list --sort status:desc --line-item-allocation-statuses Partial "
      .. "--line-item-allocation-statuses Allocated --line-item-designation Backordered "
      .. "--start-date 2018-08-03 --end-date '2018-08-04 06:00:00' "
      .. "--term t --org-uuids %s --po-number p --sent-to-supplier false --page 10"
    run(words:format(ORDER), { env = { CRUX_BASE_URL = server.base_url } })
    local body = helper.new_requests(server)[1]:match("\r\n\r\n(.*)$")
    assert.same({
      start = 0, limit = 9, sort = { key = "status", dir = "desc" }, term = "t", po_number = "p",
      line_item_allocation_statuses = { "Partial", "Allocated" },
      line_item_designation = "Backordered",
      start_date = "2018-08-03", end_date = "2018-08-04 06:00:00", org_uuids = { ORDER },
      sent_to_supplier = false,
    }, command.objects(body)[1])
  end)

  it("prints no control character of the service's", function()
    local body = [[{"uuid":"\u001b[2J","purchase_order_id":"a\u009bb\u0007","line_items":[]}]]
    local server = fault.serve{ script = helper.ANSWER }
    server:set{ answer = helper.response(200, body, { "Content-Type: application/json" }) }
    finally(function()
      server:close()
      fault.stop()
    end)
    local ran = run("get " .. ORDER, { env = { CRUX_BASE_URL = server.base_url } })
    assert.is_nil(ran.out:find("[%z\1-\9\11-\31\127]"), ran.out)
    assert.is_nil(ran.out:find("\194\155", 1, true))
    assert.is_truthy(ran.out:find("?[2J", 1, true), ran.out)
  end)

  it("starts a sandbox, whatever Lua runs the command", function()
    local ran = run("sandbox --machine --until-eof --plain --orders 2")
    assert.is_truthy(ran.out:find("^base_url=http://127%.0%.0%.1:%d+\n"), ran.out)
    assert.is_truthy(ran.out:match("\norders=[%x-]+,[%x-]+\n"), ran.out)
    ran = run("sandbox --plain --until-eof")
    assert.is_truthy(ran.out:find("\n  crux cancel %x+%-"), ran.out)
    run("sandbox --orders many", nil, 2)
  end)
end)
