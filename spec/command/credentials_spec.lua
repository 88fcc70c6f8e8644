-- Whose token the command uses: the environment's, a kept one, one of a second login, the
-- journal's.
local command = require "spec.support.command"
local files = require "spec.support.files"
local helper = require "spec.helper"
local process = require "spec.support.process"

describe("the credentials of crux", function()
  local sandbox, place, terminal, used

  setup(function() sandbox, used = process.sandbox{ orders = 60, revoke = true }, 0 end)
  teardown(function() sandbox:close() end)
  before_each(function()
    place, terminal = command.place(sandbox), nil
    place.env.CRUX_TOKEN = nil
  end)
  after_each(function()
    if terminal then terminal:close() end
    place:remove()
  end)

  local function write(count)
    local text = "order_uuid\n"
      .. table.concat(sandbox.orders, "\n", used + 1, used + count) .. "\n"
    used = used + count
    return place:path("orders.csv", text)
  end

  local function run(words, options, code)
    local ran = place:run(words, options)
    assert.equal(code or 0, ran.code, ran.out .. ran.err)
    return ran
  end

  local function login(user)
    return run("login --password-stdin --username " .. user, { input = user .. "\n" })
  end

  local function token_file()
    return files.lines("ls " .. place:path("state/crux") .. "/token-*")[1]
  end

  -- Has the kept token be older than it is.
  local function age(seconds)
    local text = files.read(token_file())
    local issued = tonumber(text:match('"issued":(%d+)'))
    files.write(token_file(), (text:gsub('"issued":%d+', ('"issued":%d'):format(issued - seconds))))
  end

  it("are kept for each service apart, without the password", function()
    local ran = login "retailer"
    assert.equal(1, #files.lines("ls " .. place:path("state/crux")))
    local text = files.read(token_file())
    assert.is_nil(text:find("password", 1, true))
    local token = text:match('"token":"(%w+)"')
    assert.is_nil((ran.out .. ran.err):find(token, 1, true))
    run("status " .. sandbox.orders[1], nil, 1)
    local other = { env = { CRUX_BASE_URL = sandbox.base_url .. "/other" } }
    ran = run("status " .. sandbox.orders[1], other, 1)
    assert.is_truthy(ran.err:find("nobody is logged in at " .. sandbox.base_url .. "/other",
      1, true), ran.err)
  end)

  it("are the environment's before the kept ones", function()
    login "retailer"
    local ran = run("cancel-item " .. sandbox.orders[1],
      { env = { CRUX_TOKEN = sandbox.tokens.expired } }, 4)
    assert.is_truthy(ran.out:find("401", 1, true))
    ran = run("login --password-stdin --username retailer", {
      input = "retailer\n", env = { CRUX_TOKEN = "t" },
    })
    assert.is_truthy(ran.err:find("CRUX_TOKEN is set, and is used before this token", 1, true),
      ran.err)
  end)

  it("may be a name and password of the environment", function()
    write(2)
    local ran = run("cancel --yes --file orders.csv", {
      env = { CRUX_USERNAME = "retailer", CRUX_PASSWORD = "retailer" },
    })
    assert.is_truthy(ran.err:find("account   retailer", 1, true), ran.err)
    assert.is_truthy(ran.out:find("2 orders: 2 accepted", 1, true), ran.out)
  end)

  it("take the name of CRUX_USERNAME for a login", function()
    run("login --password-stdin", { input = "retailer\r\n", env = { CRUX_USERNAME = "retailer" } })
    assert.equal("retailer", files.read(token_file()):match('"username":"(%w+)"'))
  end)

  it("are refused where others could read or have replaced them", function()
    login "retailer"
    for _, how in ipairs{ "chmod 604", "chmod 620", "chmod 601" } do
      assert(os.execute(how .. " " .. token_file()))
      local ran = run("cancel " .. sandbox.orders[1], nil, 4)
      assert.is_truthy(ran.out:find("chmod 600", 1, true), ran.out)
    end
    files.write(token_file(), "{}")
    assert(os.execute("chmod 600 " .. token_file()))
    assert.is_truthy(run("cancel " .. sandbox.orders[1], nil, 4).out:find("log in again", 1, true))
  end)

  it("end with a message where the directory cannot be made or written", function()
    local options = { input = "retailer\n", env = { XDG_STATE_HOME = place:path("stdin") } }
    local ran = run("login --password-stdin --username retailer", options, 1)
    assert.is_truthy(ran.err:find("expected to make a directory", 1, true), ran.err)
    options.env = { XDG_STATE_HOME = "", HOME = "" }
    run("login --password-stdin --username retailer", options, 2)
    options.env = { XDG_STATE_HOME = "relative", HOME = place:path("home") }
    assert(os.execute("mkdir " .. place:path("home")))
    run("login --password-stdin --username retailer", options)
    assert.equal(1, #files.lines("ls " .. place:path("home") .. "/.local/state/crux/"))
  end)

  it("want a password on stdin", function()
    local ran = run("login --username retailer --password-stdin", nil, 2)
    assert.is_truthy(ran.err:find("expected a password on stdin, found none", 1, true), ran.err)
  end)

  it("are read again after a 401, so that a second login continues a run", function()
    login "retailer"
    write(20)
    terminal = place:terminal("cancel --yes --concurrency 1 --rate 10 --file orders.csv")
    terminal:expect("accepted")
    login "retailer" -- which ends the first token
    assert.equal(0, (terminal:finish()), terminal.shown)
    assert.is_truthy(terminal.shown:find("20 orders: 20 accepted", 1, true), terminal.shown)
  end)

  it("are waited for while another process logs in, and not for long where that was killed",
    function()
    local program = place:path("program.lua", [[
      local credentials = require "crux.cli.credentials"
      local kept = credentials.read_newer("https://127.0.0.1", "old")
      print(kept and kept.token)]])
    local directory = place:path("state/crux")
    local function kept(token) return ('{"token":"%s","username":"u","issued":1}'):format(token) end
    assert(os.execute("mkdir -p " .. directory))
    local path = directory .. "/token-https_127.0.0.1.json"
    files.write(path, kept "old")
    files.write(path .. ".new", kept "new")
    assert(os.execute("chmod 600 " .. path .. "*"))
    local line = ("XDG_STATE_HOME=%s %s %s"):format(place:path("state"), helper.lua, program)
    assert.same({ "old" }, files.lines(line))
    assert.same({ "new" }, files.lines(("{ sleep 0.3; mv %s.new %s; } & %s"):format(path, path,
      line)))
    assert.same({ "new" }, files.lines(line))
  end)

  it("that a run may outlive are told first, with what to do", function()
    login "retailer"
    write(8)
    age(7100)
    -- nobody is there to answer the question: it is not sent
    local ran = run("cancel --rate 0.01 --file orders.csv", nil, 2)
    assert.is_truthy(ran.err:find("the token expires in 1 min, and the run may take 14 min",
      1, true), ran.err)
    assert.is_truthy(ran.err:find("crux login in another terminal", 1, true), ran.err)
    write(1)
    age(7200)
    ran = run("cancel --yes --file orders.csv")
    assert.is_truthy(ran.err:find("the token is more than two hours old: run crux login first",
      1, true), ran.err)
    login "retailer"
    os.remove(place:path("orders.csv.journal"))
    write(1)
    assert.is_nil(run("cancel --yes --file orders.csv").err:find("the token", 1, true))
  end)

  it("have to be those of the journal's account", function()
    login "retailer"
    write(2)
    run("cancel --yes --file orders.csv")
    local journal = files.read(place:path("orders.csv.journal"))
    assert.equal("retailer", journal:match('"account":"(%w+)"'))
    -- as if killed before the first was sent
    journal = journal:match('^.-"type":"count"[^\n]*\n')
    files.write(place:path("orders.csv.journal"), journal)
    login "clerk"
    for _, verb in ipairs{ "resume", "reconcile" } do
      local ran = run(verb .. " orders.csv.journal", nil, 4)
      assert.is_truthy(ran.err:find("crux login --username retailer", 1, true), ran.err)
    end
    run("report orders.csv.journal", nil, 5)
  end)
end)
