-- docs/cli.md as a new user would follow it: log in, list, cancel a file of 500 orders, be killed,
-- resume, read the report.
local command = require "spec.support.command"
local files = require "spec.support.files"
local forks = require "spec.support.forks"
local process = require "spec.support.process"

local SIGKILL = 9

describe("a new user of crux", function()
  local sandbox, place, terminal

  setup(function() sandbox = process.sandbox{ orders = 520 } end)
  teardown(function() sandbox:close() end)
  before_each(function()
    place = command.place(sandbox)
    place.env.CRUX_TOKEN = nil
  end)
  after_each(function()
    if terminal then terminal:close() end
    place:remove()
  end)

  -- The command lines of the page, without comments.
  local function page()
    local block = files.read("docs/cli.md"):match("```sh\n(.-)\n```")
    local list = {}
    for line in block:gmatch("[^\n]+") do list[#list + 1] = line:gsub("%s*#.*",
      ""):match("^crux (.*)$") end
    return list
  end

  it("gets from the login to the report, is killed on the way, and sends no order twice", function()
    local lines = page()
    local login, list, cancel, report, status = lines[1], lines[2], lines[3], lines[4], lines[5]
    terminal = place:terminal(login)
    terminal:expect("Username: ")
    terminal:type("retailer\n")
    terminal:expect("Password: ")
    terminal:type("retailer\n")
    assert.equal(0, (terminal:finish()))
    terminal:close()

    local ran = place:run(list .. " --json --max 501")
    assert.equal(0, ran.code, ran.err)
    local rows, uuids = command.objects(ran.out), {}
    for i = 2, 501 do uuids[#uuids + 1] = rows[i].order_uuid end
    assert.equal(500, #uuids)
    place:path("orders.csv", "order_uuid\n" .. table.concat(uuids, "\n") .. "\n")

    terminal = place:terminal(cancel)
    terminal:expect("Cancel 500 orders? [y/N] ")
    terminal:type("y\n")
    for _ = 1, 20 do terminal:expect("accepted") end
    forks.kill(terminal.pid, SIGKILL)
    terminal:finish()

    ran = place:run(cancel .. " --yes")
    assert.equal(2, ran.code)
    local resume = ran.err:match("crux (resume [^\n]-)%s*#")
    assert.is_truthy(resume, ran.err)
    ran = place:run(resume)
    assert.is_true(ran.code == 0 or ran.code == 3, ran.err)
    if ran.code == 3 then
      -- what was in flight at the kill: it may be looked at only once the calls' time has passed
      local text = files.read(place:path("orders.csv.journal"))
      files.write(place:path("orders.csv.journal"), (text:gsub('"time":(%d+)', function(time)
        return ('"time":%d'):format(tonumber(time) - 3600)
      end)))
      local reconcile = ran.err:match("crux (reconcile [^\n]-)%s*#")
      local looked = place:run(reconcile)
      assert.is_true(looked.code == 0 or looked.code == 3, looked.out .. looked.err)
      local resend = looked.err:match("crux (resume %-%-resend%-open [^\n]-)%s*#")
      assert.equal(looked.code == 3, resend ~= nil)
      -- here the user may say so: this sandbox confirms at once what it receives
      if resend then assert.equal(0, place:run(resend).code) end
    end
    ran = place:run(report .. " --json")
    local counts = { accepted = 0, looked = 0 }
    for _, line in ipairs(command.objects(ran.out)) do
      if line.type == "order" then
        local name = line.looked == "cancelled" and "looked" or line.outcome
        counts[name] = counts[name] + 1
      end
    end
    assert.equal(500, counts.accepted + counts.looked)
    local cancels = sandbox:record().cancels
    for _, uuid in ipairs(uuids) do assert.equal(1, cancels[uuid].received) end

    ran = place:run((status:gsub("%S+$", uuids[1])))
    assert.equal(0, ran.code)
  end)
end)
