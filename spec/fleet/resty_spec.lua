-- Workers of a fleet inside nginx, over cosockets: what they send, and that a reload loses nothing.
-- This does not depend on the Lua that runs the specs (#tree).
local Fleet = require "crux.fleet"
local core = require "crux.core"
local crux = require "crux"
local files = require "spec.support.files"
local fleet_nginx = require "spec.support.fleet_nginx"
local process = require "spec.support.process"
local redis = require "spec.support.redis"
local resty = require "spec.support.resty"

local missing = resty.missing()

after_each(resty.stop_failed)

describe("a fleet inside nginx #tree", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  local server, sandbox, client, fleet

  before_each(function()
    server = redis.start()
    sandbox = process.sandbox{ plain = true, orders = 300 }
    local base_url = sandbox.base_url .. "/~delay=20"
    client = assert(crux.new{ base_url = base_url, token = sandbox.tokens.retailer })
    fleet = assert(Fleet.new{ redis = server.url, client = client })
    local items = {}
    for i, uuid in ipairs(sandbox.orders) do items[i] = { order_uuid = uuid } end
    assert(fleet:enqueue(items))
  end)
  after_each(function()
    fleet:close()
    client:close()
    sandbox:close()
    server:close()
  end)

  local function start(workers)
    return resty.start{
      workers = workers, http = fleet_nginx{ redis = server.url, rate = 2000 },
      environment = { CRUX_BASE_URL = sandbox.base_url .. "/~delay=20", CRUX_TOKEN = sandbox.tokens.retailer },
    }
  end

  -- Waits until every order has its outcome.
  local function wait_for_end(between)
    local deadline = core.now() + 120
    while fleet:status().left > 0 do
      assert(core.now() < deadline, "expected the queue to become empty, found that it did not")
      between()
    end
  end

  local function check()
    assert.same({ 300, 0, 0 }, { fleet:status().states.accepted, fleet:status().states.unknown, fleet:status().left })
    for _, uuid in ipairs(sandbox.orders) do assert.equal(1, sandbox:record().cancels[uuid].received) end
  end

  it("sends each order once, and ends with the process", function()
    local nginx = start(2)
    wait_for_end(function() core.sleep(0.05) end)
    check()
    assert.is_nil(nginx:log():find("fleet worker ended", 1, true))
    local log, status = nginx:close()
    resty.check_log(log, status)
    local _, ended = log:gsub("fleet worker ended: stopped by the caller", "")
    assert.equal(2, ended, log)
  end)

  it("loses nothing in reloads, and sends nothing twice", function()
    local nginx = start(2)
    wait_for_end(function()
      core.sleep(0.3)
      nginx:signal("HUP")
    end)
    check()
    resty.stop()
    local raw = server:client()
    for _, consumer in ipairs(assert(raw:call("XINFO", "CONSUMERS", fleet.keys[2], "workers"))) do
      assert.equal("given-back", consumer[2]) -- no name of a worker
    end
    raw:close()
  end)

  it("has a configuration in examples/fleet that nginx accepts", function()
    local directory = files.lines("mktemp -d")[1]
    finally(function() os.execute("rm -r " .. files.quoted(directory)) end)
    files.write(directory .. "/nginx.conf", "load_module /usr/lib/nginx/modules/ndk_http_module.so;\n"
      .. "load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;\npid " .. directory .. "/pid;\n"
      .. files.read("examples/fleet/nginx.conf"))
    local lines = files.lines(("nginx -t -p %s -c nginx.conf -e stderr 2>&1; echo $?"):format(files.quoted(directory)))
    assert.equal("0", lines[#lines], table.concat(lines, "\n"))
  end)
end)
