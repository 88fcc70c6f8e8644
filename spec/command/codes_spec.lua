-- Every exit code of the command, and what it prints with it.
local command = require "spec.support.command"
local files = require "spec.support.files"
local helper = require "spec.helper"
local process = require "spec.support.process"

describe("the exit code of crux", function()
  local sandbox, place, used

  setup(function() sandbox, used = process.sandbox{ orders = 120 }, 0 end)
  teardown(function() sandbox:close() end)
  before_each(function() place = command.place(sandbox) end)
  after_each(function() place:remove() end)

  -- The next orders of the sandbox.
  local function take(count)
    local list = {}
    for i = 1, count do list[i] = sandbox.orders[used + i] end
    used = used + count
    return list
  end

  local function write(list)
    return place:path("orders.csv", "order_uuid\n" .. table.concat(list, "\n") .. "\n")
  end

  -- Runs it: no output has a token, and all of stdout is JSON with --json.
  local function run(words, options)
    local ran = place:run(words, options)
    for _, token in pairs(sandbox.tokens) do
      assert.is_nil((ran.out .. ran.err):find(token, 1, true), ran.out .. ran.err)
    end
    if words:find("--json", 1, true) and ran.out ~= "" then
      ran.lines = command.objects(ran.out)
      for line in ran.out:gmatch("[^\n]+") do assert.equal(1, (line:find('{"type":', 1, true))) end
      assert.equal("summary", ran.lines[#ran.lines].type)
    end
    return ran
  end

  local function fault(directive)
    return { env = { CRUX_BASE_URL = sandbox.base_url .. "/~" .. directive } }
  end

  -- Runs it, and expects a code and words on stderr.
  local function expect(code, words, options, said)
    local ran = run(words, options)
    assert.equal(code, ran.code, words .. "\n" .. ran.out .. ran.err)
    if said then assert.is_truthy((ran.out .. ran.err):find(said, 1, true), ran.out .. ran.err) end
    return ran
  end

  -- A run and its report have the same code and the same counts.
  local function expect_report(code, counts)
    local ran = expect(code, "report --json orders.csv.journal")
    local found = {}
    for name, count in pairs(ran.lines[#ran.lines].counts) do
      found[name] = count > 0 and count or nil
    end
    assert.same(counts, found)
    return ran
  end

  it("is 0 when all orders are accepted", function()
    write(take(3))
    local ran = expect(0, "cancel --yes --json --file orders.csv")
    assert.equal(4, #ran.lines)
    assert.equal("accepted", ran.lines[1].outcome)
    assert.equal(204, ran.lines[1].status)
    assert.equal(0, ran.lines[4].exit_code)
    expect_report(0, { accepted = 3 })
    expect(0, "reconcile orders.csv.journal")
    expect(0, "resume orders.csv.journal")
    expect(0, "resume orders.csv.journal", { env = { CRUX_TOKEN = "" } })
    expect(0, "cancel " .. take(1)[1], nil, "accepted")
    expect(0, "cancel --yes " .. table.concat(take(2), " "), nil, "2 orders: 2 accepted")
    assert.equal(1, #files.lines("ls " .. place:path("state/crux")))
  end)

  it("is 1 when an order is rejected", function()
    local list = take(2)
    list[3] = sandbox.shipped_order
    write(list)
    local ran = expect(1, "cancel --yes --file orders.csv", nil, "rejected")
    assert.is_truthy(ran.out:find("look at it with crux get", 1, true), ran.out)
    expect_report(1, { accepted = 2, rejected = 1 })
    expect(1, "cancel " .. sandbox.shipped_order, nil, "422")
    expect(1, "cancel " .. take(1)[1] .. " --retries 0",
      { env = { CRUX_BASE_URL = "http://127.0.0.1:1" } }, "not_sent")
  end)

  it("is 2 for wrong arguments, and names the help", function()
    for words, said in pairs{
      [""] = "a command is required", ["nothing"] = "unknown command 'nothing'",
      ["cancel"] = "expected either ORDER_UUID or --file, found neither",
      ["cancel --file a " .. helper.ORDER] = "found both",
      ["cancel stdin"] = "crux cancel --file stdin",
      ["cancel x"] = "ORDER_UUID: expected a UUID", ["cancel --bogus"] = "unknown option '--bogus'",
      ["cancel " .. helper.ORDER .. " --timeout 0"] = "--timeout: expected",
      ["cancel " .. helper.ORDER .. " --timeout x"] = "expected a number, found 'x'",
      ["cancel " .. helper.ORDER .. " --api v2"] = "must be one of 'v1', 'timp'",
      ["cancel --production --base-url https://127.0.0.1 " .. helper.ORDER] =
        "can not be used together",
      ["cancel " .. helper.ORDER .. " --base-url ftp://127.0.0.1"] = "--base-url: expected",
      ["cancel " .. helper.ORDER .. " --ca-file missing"] = "--ca-file",
      ["cancel " .. helper.ORDER .. " --sku x"] = "--sku: skus[1].supplier_uuid: expected a UUID",
      ["cancel --file a --sku x"] = "expected SKUs in the file",
      ["cancel --file missing.csv"] = "missing.csv",
      ["cancel --file -"] = "expected --journal PATH",
      ["cancel --file ."] = "crux: .: Is a directory",
      ["cancel --file . --max 0"] = "expected a whole number from 1, found '0'",
      ["status"] = "missing argument 'order_uuid'", ["get x"] = "ORDER_UUID: expected a UUID",
      ["cancel-item x"] = "ITEM_UUID: expected a UUID", ["confirm"] = "found neither",
      ["reject " .. helper.ORDER .. " --item " .. helper.ORDER] = "found both",
      ["confirm --api v1 " .. helper.ORDER] = "--api: expected 'timp'",
      ["list --sort colour"] = "--sort.key: expected",
      ["list --start-date soon"] = "--start-date: expected",
      ["list --sort a:b:c"] = "expected key[:dir], found 'a:b:c'",
      ["list --page 1"] = "--page: expected",
      ["list --sent-to-supplier 1"] = "expected true or false, found '1'",
      ["completion csh"] = "must be one of 'bash', 'zsh', 'fish'", ["resume missing"] = "missing",
      ["report missing"] = "missing", ["reconcile missing"] = "missing",
      ["login --password x"] = "unknown option",
      ["login"] = "expected a terminal to ask at, found none",
    } do
      local ran = expect(2, words, nil, said)
      assert.equal("", ran.out)
    end
    assert.is_truthy(run("cancel --bogus").err:find("run: crux cancel --help", 1, true))
  end)

  it("is 2 for bad input, and nothing is sent", function()
    local before = sandbox:record().requests
    local list = take(2)
    write{ list[1], "x", list[2], "y" }
    local ran = expect(2, "cancel --yes --file orders.csv", nil,
      "found 2 bad rows; nothing was sent")
    assert.is_truthy(ran.err:find("orders.csv:3: order_uuid: expected a UUID", 1, true), ran.err)
    assert.is_truthy(ran.err:find("orders.csv:5: ", 1, true), ran.err)
    write(list)
    expect(2, "cancel --yes --max 1 --file orders.csv", nil, "expected at most 1 orders, found 2")
    assert.is_nil(io.open(place:path("orders.csv.journal")))
    assert.equal(before, sandbox:record().requests)
  end)

  it("is 2 without a terminal and without --yes", function()
    local before = sandbox:record().requests
    write(take(2))
    expect(2, "cancel --file orders.csv", nil, "--yes goes on without a question")
    assert.is_nil(io.open(place:path("orders.csv.journal")))
    assert.equal(before, sandbox:record().requests)
  end)

  it("is 2 for a journal that exists, and the command to resume is printed", function()
    write(take(2))
    place:path("orders.csv.journal", "x")
    local before = sandbox:record().requests
    expect(2, "cancel --yes --file orders.csv", nil, "crux resume orders.csv.journal")
    place:path("a 'b'", "x")
    expect(2, "cancel --yes --file orders.csv --journal \"a 'b'\"", nil,
      "crux resume 'a '\\''b'\\'''")
    assert.equal(before, sandbox:record().requests)
    assert.equal("x", files.read(place:path("orders.csv.journal")))
  end)

  it("is 2 for a journal that is bad, locked or was cut off before its orders were whole",
    function()
    place:path("bad", '{"type":"journal"}\nx\n')
    for _, verb in ipairs{ "resume", "report", "reconcile" } do expect(2, verb .. " bad") end
    write(take(2))
    expect(0, "cancel --yes --file orders.csv")
    local text = files.read(place:path("orders.csv.journal"))
    place:path("cut", text:match("^[^\n]*\n[^\n]*\n"))
    expect(2, "resume cut", nil, "nothing was sent")
    for _, verb in ipairs{ "resume", "reconcile" } do
      expect(2, verb .. " orders.csv.journal", { before = "flock orders.csv.journal" },
        "another process uses the journal")
    end
    expect(0, "report orders.csv.journal", { before = "flock orders.csv.journal" })
  end)

  it("is 3 when an outcome is unknown, which is never sent again", function()
    local list = take(3)
    write(list)
    local ran = run("cancel --yes --concurrency 1 --timeout 1 --retries 0 --file orders.csv",
      fault("drop=after,times=1"))
    assert.equal(3, ran.code, ran.out .. ran.err)
    assert.is_truthy(ran.err:find("crux reconcile orders.csv.journal", 1, true), ran.err)
    expect_report(3, { accepted = 2, unknown = 1 })
    expect(3, "resume orders.csv.journal")
    local record = sandbox:record().cancels
    for _, uuid in ipairs(list) do assert.equal(1, record[uuid].received) end
    ran = expect(0, "reconcile --json orders.csv.journal")
    assert.equal("cancelled", ran.lines[1].looked)
    expect(0, "report orders.csv.journal", nil, "read: cancelled")
    for _, uuid in ipairs(list) do assert.equal(1, sandbox:record().cancels[uuid].received) end
  end)

  it("is 3 for one order whose outcome is unknown", function()
    local ran = run("cancel --json " .. take(1)[1], fault("drop=after"))
    assert.equal(3, ran.code)
    assert.equal("unknown", ran.lines[1].outcome)
    assert.equal("network", ran.lines[1].kind)
    assert.is_truthy(ran.lines[1].hint:find("crux get", 1, true), ran.lines[1].hint)
  end)

  it("is 4 when nobody is logged in, before anything is sent or written", function()
    write(take(2))
    local options = { env = { CRUX_TOKEN = "" } }
    expect(4, "cancel --yes --file orders.csv", options, "run crux login")
    assert.is_nil(io.open(place:path("orders.csv.journal")))
    expect(4, "cancel " .. take(1)[1], options, "run crux login")
  end)

  it("is 4 when the token is refused, and a login later the run goes on", function()
    write(take(5))
    local ran = expect(4, "cancel --yes --concurrency 1 --file orders.csv",
      { env = { CRUX_TOKEN = sandbox.tokens.expired } },
      "crux login")
    assert.is_truthy(ran.err:find("crux resume orders.csv.journal", 1, true), ran.err)
    expect_report(4, { rejected = 1, not_started = 4 })
    place.env.CRUX_TOKEN = nil
    expect(4, "resume orders.csv.journal", nil, "nobody is logged in")
    expect(0, "login --username retailer --password-stdin", { input = "retailer\n" })
    expect(0, "resume orders.csv.journal")
    expect_report(0, { accepted = 5 })
  end)

  it("is 4 for a login that is refused", function()
    expect(4, "login --username retailer --password-stdin", { input = "wrong-password\n" },
      "HTTP 401")
    assert.is_nil(files.lines("ls " .. place:path("state/crux/*"))[1]:match("token%-"))
  end)

  it("is 5 when a run has ended early, and can be resumed", function()
    write(take(6))
    local ran = expect(5,
      "cancel --yes --json --concurrency 1 --stop-after 2 --retries 0 --file orders.csv", {
      env = { CRUX_BASE_URL = "http://127.0.0.1:1" },
    })
    assert.equal("max_failures", ran.lines[#ran.lines].stopped)
    expect(5, "report orders.csv.journal", nil, "crux resume orders.csv.journal")
  end)

  it("is 70 for a fault of the program", function()
    local code = [[
      package.preload["crux.cli.parser"] = function() error("a fault") end
      os.exit(require "crux.cli"{ "list" })]]
    local path = place:path("program.lua", code)
    local lines = files.lines(("{ %s %s; echo code $?; }"):format(helper.lua, files.quoted(path)))
    assert.equal("code 70", lines[#lines])
    assert.is_truthy(table.concat(lines, "\n"):find("a fault of this program, please report it", 1,
      true))
  end)

  it("is 130 when stdout fails, and the run is recorded", function()
    write(take(20))
    local options = fault("delay=100")
    options.redirect = ">/dev/full"
    expect(130, "cancel --yes --concurrency 1 --file orders.csv", options)
    local ran = expect(130, "report --json orders.csv.journal")
    local counts = ran.lines[#ran.lines].counts
    assert.equal(0, counts.unknown)
    assert.is_true(counts.accepted >= 1 and counts.accepted < 20)
    expect(130, "list", { redirect = ">/dev/full" })
    expect(130, "completion bash", { redirect = ">/dev/full" })
  end)

  it("is 130 when stdout is closed or its reader has gone, and no file gets what is printed",
    function()
    write(take(10))
    local ran = run("cancel --yes --concurrency 1 --file orders.csv", {
      redirect = ">&-", env = fault("delay=50").env,
    })
    assert.equal(130, ran.code, ran.err)
    expect(130, "report --json orders.csv.journal")
    assert.is_nil(files.read(place:path("orders.csv.journal")):find("204\n", 1, true))
    assert.equal(130, run("list", { redirect = ">&-" }).code)
    local line = ("{ sh -c %s 2>/dev/null; echo $? >&2; } | true"):format(
      files.quoted(place:line("list --page 3")))
    assert.same({ "130" }, files.lines("{ " .. line .. "; }"))
  end)

  it("is 2 for a run at the production service that nobody is asked about", function()
    write(take(2))
    expect(5, "cancel --yes --retries 0 --file orders.csv",
      { env = { CRUX_BASE_URL = "http://127.0.0.1:1" } })
    local path = place:path("orders.csv.journal")
    files.write(path, (files.read(path):gsub("http:\\?/\\?/127%.0%.0%.1:1",
      "https://api.cruxconnect.com")))
    local ran = expect(2, "resume orders.csv.journal", nil, "expected a terminal to ask at")
    assert.is_truthy(ran.err:find("https://api.cruxconnect.com (production)", 1, true), ran.err)
  end)

  it("is 2 where the journal cannot be written, and nothing is sent", function()
    local before = sandbox:record().requests
    write(take(2))
    expect(2, "cancel --yes --file orders.csv --journal missing/j", nil, "nothing was sent")
    expect(2, "cancel --yes --file orders.csv --journal /dev/full", nil,
      "/dev/full: the journal exists")
    assert.equal(before, sandbox:record().requests)
  end)

  it("is 2 for a token that is none, which is not shown", function()
    local ran = expect(2, "status " .. helper.ORDER, { env = { CRUX_TOKEN = "not a token" } },
      "in CRUX_TOKEN")
    assert.is_nil(ran.err:find("not a token", 1, true))
  end)

  it("is 0 or 1 for get, list, status and a dry run", function()
    local uuid, other = take(1)[1], take(1)[1]
    expect(0, "cancel " .. uuid)
    expect(0, "status " .. uuid, nil, "cancelled")
    expect(1, "status " .. other, nil, "open")
    expect(1, "status " .. uuid .. " " .. other)
    expect(1, "status " .. helper.ORDER:gsub("5", "6"), nil, "HTTP 422")
    expect(1, "status " .. uuid, { env = { CRUX_TOKEN = "" } }, "run crux login")
    expect(0, "get " .. uuid)
    expect(1, "get " .. uuid .. " " .. helper.ORDER:gsub("5", "6"), nil, uuid)
    expect(0, "list --max 2")
    expect(1, "list", fault("status=500"), "HTTP 500")
    expect(0, "cancel --dry-run " .. uuid, nil, "curl -q")
    expect(2, "cancel --dry-run x")
  end)
end)
