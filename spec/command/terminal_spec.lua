-- What people see at a terminal: the bar, the question, the password that does not show, Ctrl-C.
local command = require "spec.support.command"
local files = require "spec.support.files"
local process = require "spec.support.process"

local SIGINT, SIGKILL, SIGTERM = 2, 9, 15

describe("crux at a terminal", function()
  local sandbox, place, terminal

  setup(function() sandbox = process.sandbox{ orders = 60 } end)
  teardown(function() sandbox:close() end)
  before_each(function() place, terminal = command.place(sandbox), nil end)
  after_each(function()
    if terminal then terminal:close() end
    place:remove()
  end)

  -- A file of orders; `from` and `to` are places among those of the sandbox.
  local function orders(from, to)
    local list = table.concat(sandbox.orders, "\n", from, to)
    return place:path("orders.csv", "order_uuid\n" .. list .. "\n")
  end

  local function open(words, options)
    terminal = place:terminal(words, options)
    return terminal
  end

  -- Answers come so slowly that a signal finds calls in flight.
  local function slowly(ms) return { CRUX_BASE_URL = sandbox.base_url .. "/~delay=" .. ms } end

  -- Waits until the sandbox has received so many requests.
  local function await_requests(count)
    for _ = 1, 1200 do
      if sandbox:record().requests >= count then return end
      os.execute("sleep 0.05")
    end
    error(("expected %d requests, found %d"):format(count, sandbox:record().requests), 2)
  end

  local function outcomes(journal)
    local counts = {}
    for _, line in ipairs(command.objects(place:run("report --json " .. journal).out)) do
      if line.type == "order" then counts[line.outcome] = (counts[line.outcome] or 0) + 1 end
    end
    return counts
  end

  -- The pictures of the bar, without the sequences around them.
  local function bars(shown)
    local list = {}
    for text in shown:gmatch("\r\27%[K([^\r\27]+)") do list[#list + 1] = text end
    return list
  end

  for place_of, columns in ipairs{ 40, 80, 200 } do
    it(("draws a bar that fits into %d columns"):format(columns), function()
      orders(place_of * 2 - 1, place_of * 2)
        open("cancel --yes --concurrency 1 --rate 20 --file orders.csv", { columns = columns })
      assert.equal(0, (terminal:finish()))
      local widest, with_bar = 0, false
      for _, text in ipairs(bars(terminal.shown)) do
        text = text:match("^[^\n]*")
        if text:find("/s", 1, true) then
          assert.is_true(#text < columns, text)
          widest, with_bar = math.max(widest, #text), with_bar or text:find("^%[[#-]+%]") ~= nil
        end
      end
      assert.is_true(widest > 0, terminal.shown)
      if columns >= 80 then assert.is_true(with_bar) end
    end)
  end

  it("removes the bar before it prints a result", function()
    orders(7, 8)
    open("cancel --yes --concurrency 1 --rate 20 --file orders.csv"):finish()
    for line in terminal.shown:gmatch("[^\n]+") do
      local at = line:find(sandbox.orders[8], 1, true)
      if at and line:find("accepted", 1, true) then
        assert.is_nil(line:sub(1, at):match("/s[^\r]*$"), line)
      end
    end
  end)

  it("draws no bar, and has no colors, if TERM is dumb", function()
    orders(9, 10)
    open("cancel --yes --file orders.csv", { env = { TERM = "dumb" } }):finish()
    assert.is_nil(terminal.shown:find("\27", 1, true), terminal.shown)
    assert.is_truthy(terminal.shown:find("2 orders: 2 accepted", 1, true))
  end)

  it("has colors, but not with NO_COLOR", function()
    orders(11, 11)
    open("status " .. sandbox.orders[1], {}):finish()
    assert.is_truthy(terminal.shown:find("\27[32mcancelled\27[0m", 1, true), terminal.shown)
    terminal:close()
    open("status " .. sandbox.orders[1], { env = { NO_COLOR = "1" } }):finish()
    assert.is_nil(terminal.shown:find("\27", 1, true), terminal.shown)
  end)

  it("is quiet with --quiet", function()
    orders(12, 12)
    open("cancel --yes --quiet --file orders.csv"):finish()
    assert.equal("1 orders: 1 accepted\r\n", terminal.shown)
  end)

  it("shows the service, the account, the count and the first orders, and asks", function()
    orders(13, 17)
    open("cancel --file orders.csv")
    local shown = terminal:expect("Cancel 5 orders? [y/N] ")
    for _, text in ipairs{
      sandbox.base_url, "not known: the token is from CRUX_TOKEN", "orders    5",
        sandbox.orders[13],
      sandbox.orders[15], "orders.csv.journal",
    } do
      assert.is_truthy(shown:find(text, 1, true), text)
    end
    terminal:type("n\n")
    assert.equal(2, (terminal:finish()))
    assert.is_truthy(terminal.shown:find("nothing was sent", 1, true))
    assert.is_nil(io.open(place:path("orders.csv.journal")))
    terminal:close()
    open("cancel --file orders.csv"):expect("[y/N] ")
    terminal:type("y\n")
    assert.equal(0, (terminal:finish()))
    assert.is_truthy(terminal.shown:find("5 orders: 5 accepted", 1, true))
  end)

  it("shows what it asks about with --quiet too", function()
    orders(18, 19)
    open("cancel --quiet --file orders.csv")
    local shown = terminal:expect("Cancel 2 orders? [y/N] ")
    assert.is_truthy(shown:find(sandbox.base_url, 1, true))
    assert.is_truthy(shown:find(sandbox.orders[18], 1, true))
    terminal:type("\n")
    assert.equal(2, (terminal:finish()))
  end)

  it("ends with 130 after Ctrl-C at the question, and sends nothing", function()
    orders(18, 19)
    open("cancel --file orders.csv"):expect("[y/N] ")
    terminal:type("\3")
    assert.equal(130, (terminal:finish()))
    assert.is_nil(io.open(place:path("orders.csv.journal")))
  end)

  it("does not show a password, and keeps the token for its owner alone", function()
    place.env.CRUX_TOKEN = nil
    open("login"):expect("Username: ")
    assert.is_true(terminal:echo())
    terminal:type("retailer\n")
    terminal:expect("Password: ")
    assert.is_false(terminal:echo())
    terminal:type("retailer\n")
    assert.equal(0, (terminal:finish()))
    assert.is_true(terminal:echo())
    assert.is_nil(terminal.shown:match("Password: [^\r\n]"), terminal.shown)
    local path = files.lines("ls " .. place:path("state/crux/") .. "*")[1]
    assert.equal("-rw-------", files.lines("ls -l " .. path)[1]:match("^%S+"))
    assert.is_truthy(place:run("status " .. sandbox.orders[1]).out:find(sandbox.orders[1], 1, true))
    assert(os.execute("chmod 640 " .. path))
    local ran = place:run("status " .. sandbox.orders[1])
    assert.equal(1, ran.code)
    assert.is_truthy(ran.err:find("chmod 600", 1, true), ran.err)
  end)

  for name, how in pairs{
    ["Ctrl-C"] = { "\3", nil, 130 }, SIGTERM = { nil, SIGTERM, 143 }, ["Ctrl-D"] = { "\4", nil, 1 },
  } do
    it("restores the echo after " .. name .. " at the password", function()
      place.env.CRUX_TOKEN = nil
      open("login --username retailer"):expect("Password: ")
      assert.is_false(terminal:echo())
      if how[1] then terminal:type(how[1]) else terminal:signal(how[2]) end
      local code, signal = terminal:finish()
      assert.equal(how[3], code or 128 + signal)
      assert.is_true(terminal:echo())
    end)
  end

  it("waits after one Ctrl-C for what is in flight, records it, and tells how to go on", function()
    orders(20, 40)
    open("cancel --yes --concurrency 2 --file orders.csv", { env = slowly(500) })
    terminal:expect("accepted")
    terminal:type("\3")
    terminal:expect("once more to end at once")
    assert.equal(130, (terminal:finish()))
    assert.is_truthy(terminal.shown:find("crux resume orders.csv.journal", 1, true), terminal.shown)
    local counts = outcomes("orders.csv.journal")
    assert.is_nil(counts.unknown)
    assert.equal(21, counts.accepted + counts.not_started)
    assert.equal(130, place:run("report orders.csv.journal").code)
    terminal:close()
    open("resume orders.csv.journal")
    assert.equal(0, (terminal:finish()))
    assert.same({ accepted = 21 }, outcomes("orders.csv.journal"))
  end)

  it("ends at once after two Ctrl-C, and what was in flight is unknown", function()
    orders(41, 50)
    local before = sandbox:record().requests
    open("cancel --yes --concurrency 2 --file orders.csv", { env = slowly(600000) })
    await_requests(before + 2)
    terminal:type("\3")
    terminal:expect("once more to end at once")
    terminal:type("\3")
    assert.equal(130, (terminal:finish()))
    local counts = outcomes("orders.csv.journal")
    assert.is_true(counts.unknown >= 1 and counts.unknown <= 2)
    assert.is_nil(counts.accepted)
  end)

  it("records what is in flight when the terminal hangs up", function()
    orders(51, 60)
    open("cancel --yes --concurrency 2 --file orders.csv", { env = slowly(500) })
    terminal:expect("accepted")
    terminal:hang_up()
    assert.equal(129, (terminal:finish()))
    local counts = outcomes("orders.csv.journal")
    assert.is_nil(counts.unknown)
    assert.equal(10, counts.accepted + counts.not_started)
  end)

  it("restores the terminal when it is killed at the question", function()
    orders(51, 60)
    open("cancel --file orders.csv"):expect("[y/N] ")
    terminal:signal(SIGKILL)
    terminal:finish()
    assert.is_true(terminal:echo())
  end)

  it("ends a call that is waited for with what is known about it", function()
    local before = sandbox:record().requests
    open("cancel " .. sandbox.orders[60], { env = slowly(600000) })
    await_requests(before + 1)
    terminal:signal(SIGINT)
    terminal:expect("once more to give up")
    terminal:signal(SIGINT)
    assert.equal(130, (terminal:finish()))
    assert.is_truthy(terminal.shown:find("unknown", 1, true), terminal.shown)
  end)
end)
