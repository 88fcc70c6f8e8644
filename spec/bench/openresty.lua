-- `make bench-openresty`: cancelling from inside nginx, beside the same done by proxy_pass and by plain cosockets. All over
-- HTTPS with verified certificates and kept connections, one worker. Each round measures all of them, and what is told is
-- the median over the ROUNDS of what was measured and of how it compares with its own round's: a machine that has other
-- things to do is slow for all. Three nginx: the one measured, the upstream, and the one that makes the requests, so that on
-- few processors they get into each other's way alike.
package.path = "lua/?.lua;?.lua;" .. package.path
local certificate = require "crux.sandbox.certificate"
local nginx = require "spec.support.nginx"

local ROUNDS = tonumber(os.getenv "ROUNDS") or 5
local ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29"
local SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f"
local BODY = ('{"order_uuid":"%s","skus":[{"supplier_uuid":"%s"}]}'):format(ORDER, SUPPLIER)

local missing = nginx.missing()
if missing then error(missing, 0) end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  return (text:gsub("\n$", ""))
end

local dir = output('mktemp -d "${TMPDIR:-/tmp}/crux-bench.XXXXXX"')
local servers = {}

local function start(options)
  local server = nginx.start(options)
  servers[#servers + 1] = server
  return server
end

local function write(name, text)
  local file = assert(io.open(dir .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

local function free_port()
  return output([[lua5.4 -e 'local s = require "cqueues.socket".listen{ host = "127.0.0.1", port = 0 }; s:listen()
    print((select(3, s:localname())))']])
end

-- --- the three ---

local function start_upstream()
  local authority = certificate.authority()
  local identity = certificate.server{ names = { "localhost" }, authority = authority }
  write("ca.pem", authority.cert:toPEM("cert"))
  write("cert.pem", identity.cert:toPEM("cert"))
  write("key.pem", identity.key:toPEM("private"))
  local port = free_port()
  start{ http = ([[
    keepalive_timeout 600s;
    server {
      listen 127.0.0.1:%s ssl backlog=4096;
      ssl_certificate %s/cert.pem;
      ssl_certificate_key %s/key.pem;
      keepalive_requests 10000000;
      location ~ ^/d(?<delay>\d+)/ {
        content_by_lua_block {
          ngx.req.read_body()
          ngx.sleep(tonumber(ngx.var.delay) / 1000)
          local body = '{"ok":true}'
          ngx.header.content_type = "application/json"
          ngx.header.content_length = #body
          ngx.print(body)
        }
      }
    }]]):format(port, dir, dir) }
  return port
end

local function start_measured(upstream)
  local values = { port = upstream, dir = dir, order = ORDER, supplier = SUPPLIER, body = BODY }
  local function fill(text) return (text:gsub("%%%((%l+)%)", values)) end
  return start{
    init = fill[[
      package.loaded.bench = {}
      local bench = package.loaded.bench
      local clients = {}
      function bench.crux(delay)
        local client = clients[delay]
        if not client then
          client = assert(require("crux.resty").new{ token = "bench-token", ca_file = "%(dir)/ca.pem", max_connections = 600,
            base_url = "https://localhost:%(port)/d" .. delay })
          clients[delay] = client
        end
        local result, err = client:cancel_order{ order_uuid = "%(order)", skus = { { supplier_uuid = "%(supplier)" } } }
        if not result then ngx.log(ngx.ERR, tostring(err)) end
        ngx.status = result and 202 or 504
        ngx.header.content_length = 0
      end

      local cjson = require "cjson"
      function bench.cosocket(delay)
        local body = cjson.encode{ order_uuid = "%(order)", skus = { { supplier_uuid = "%(supplier)" } } }
        local sock = ngx.socket.tcp()
        sock:settimeout(30000)
        assert(sock:connect("127.0.0.1", %(port)))
        if sock:getreusedtimes() == 0 then assert(sock:sslhandshake(nil, "localhost", true)) end
        assert(sock:send("PATCH /d" .. delay .. "/orders/cancel/ HTTP/1.1\r\nHost: localhost:%(port)\r\n"
          .. "Accept: application/json\r\nAuthorization: Token bench-token\r\n"
          .. "Content-Type: application/json; charset=utf-8\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body))
        local status = assert(sock:receive()):match("^HTTP/1%.1 (%d+)")
        local length = 0
        while true do
          local line = assert(sock:receive())
          if line == "" then break end
          local name, value = line:match("^([^:]+):%s*(.*)$")
          if name:lower() == "content-length" then length = tonumber(value) end
        end
        local decoded = cjson.decode(assert(sock:receive(length)))
        sock:setkeepalive(60000, 600)
        ngx.status = status == "200" and decoded and 202 or 504
        ngx.header.content_length = 0
      end
    ]],
    http = fill[[
      lua_ssl_trusted_certificate %(dir)/ca.pem;
      lua_ssl_verify_depth 2;
      upstream service { server 127.0.0.1:%(port); keepalive 600; keepalive_requests 10000000; }
    ]],
    server = fill[[
      location ~ ^/(?<how>crux|cosocket)/(?<delay>\d+)$ { content_by_lua_block {
        require("bench")[ngx.var.how](ngx.var.delay)
      } }
      location ~ ^/proxy/(?<delay>\d+)$ {
        proxy_pass https://service/d$delay/orders/cancel/;
        proxy_method PATCH;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Accept application/json;
        proxy_set_header Authorization "Token bench-token";
        proxy_set_header Content-Type "application/json; charset=utf-8";
        proxy_set_body '%(body)';
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_ssl_server_name on;
        proxy_ssl_trusted_certificate %(dir)/ca.pem;
      }
    ]],
  }
end

-- Makes requests, the first of each of c connections spread over some seconds: /load?port=&path=&n=&c=&spread= → seconds
-- they took, and how many were not answered with 2xx.
local function start_load()
  return start{ server = [[
    location = /load { content_by_lua_block {
      local port, path = tonumber(ngx.var.arg_port), ngx.var.arg_path
      local left, failed = tonumber(ngx.var.arg_n), 0
      local request = "GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\n\r\n"
      local spread, c = tonumber(ngx.var.arg_spread), tonumber(ngx.var.arg_c)
      local function carry(i)
        if spread > 0 then ngx.sleep(spread * i / c) end
        local sock = ngx.socket.tcp()
        sock:settimeout(60000)
        assert(sock:connect("127.0.0.1", port))
        while left > 0 do
          left = left - 1
          assert(sock:send(request))
          if not assert(sock:receive()):find("^HTTP/1.1 2") then failed = failed + 1 end
          local length = 0
          while true do
            local line = assert(sock:receive())
            if line == "" then break end
            length = tonumber(line:match("^[Cc]ontent%-[Ll]ength: (%d+)")) or length
          end
          if length > 0 then assert(sock:receive(length)) end
        end
        sock:close()
      end
      ngx.update_time()
      local began, threads = ngx.now(), {}
      for i = 1, c do threads[i] = ngx.thread.spawn(carry, i) end
      for _, thread in ipairs(threads) do
        local ok = ngx.thread.wait(thread)
        if not ok then failed = failed + 1 end
      end
      ngx.update_time()
      ngx.print(ngx.now() - began, " ", failed)
    } }]] }
end

-- --- what is read ---

-- Seconds of processor time, all threads.
local function cpu(pid)
  local total = 0
  for nanoseconds in output(("cat /proc/%d/task/*/schedstat"):format(pid)):gmatch("(%d+) %d+ %d+") do
    total = total + nanoseconds / 1e9
  end
  return total
end

local function resident(pid) return tonumber(output(("cat /proc/%d/status"):format(pid)):match("VmRSS:%s*(%d+)")) end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function percentile(answers, part)
  local list = {}
  for i, answer in ipairs(answers) do list[i] = answer.seconds * 1000 end
  table.sort(list)
  return list[math.ceil(#list * part)]
end

-- Seconds of the clock on the wall.
local function clock() return tonumber(output("date +%s.%N")) end

local HOWS = { "crux", "cosocket", "proxy" }

-- In another order each round, since what comes first finds another machine than what comes last.
local function rotated(round)
  local list = {}
  for i = 1, #HOWS do list[i] = HOWS[(i + round) % #HOWS + 1] end
  return list
end

local function ratios(list, base)
  local found = {}
  for i, value in ipairs(list) do found[i] = value / base[i] end
  return found
end

local function run()
  local upstream = start_upstream()
  local measured, elsewhere, load_server = start_measured(upstream), start_measured(upstream), start_load()
  local pid = measured:workers()[1]

  local function begin(path, n, c, spread, at)
    local wait = load_server:begin{ { path = ("/load?port=%d&path=%s&n=%d&c=%d&spread=%s"):format((at or measured).port, path,
      n, c, spread or 0) } }
    return function()
      local seconds, failed = wait()[1].body:match("^(%S+) (%d+)$")
      assert(failed == "0", "calls failed, see: " .. measured:log():sub(-2000))
      return tonumber(seconds)
    end
  end

  -- memory first, before anything has grown
  print("500 calls that wait on kept connections")
  for _, how in ipairs(HOWS) do
    begin("/" .. how .. "/5", 20, 4)()
    local before = resident(pid)
    begin("/" .. how .. "/1500", 500, 500)()
    local wait = begin("/" .. how .. "/4000", 500, 500)
    os.execute("sleep 1.5")
    local memory, started = resident(pid) - before, cpu(pid)
    os.execute("sleep 2")
    local used = cpu(pid) - started
    wait()
    print(("  %-9s %6.1f KiB a call, its connection with TLS included; %.2f %% of a processor"):format(how, memory / 500,
      used / 2 * 100))
  end

  print("\na static location's p99 with 500 cancellations of 500 ms in flight")
  local static, quiet, busy = {}, {}, { elsewhere = {}, crux = {}, cosocket = {}, proxy = {} }
  for i = 1, 5000 do static[i] = { path = "/static" } end
  local function in_flight(path, at)
    begin(path .. "1500", 500, 500, 0, at)()
    local began = clock()
    local wait = begin(path .. "500", 4500, 500, 0.5, at)
    os.execute("sleep 0.7")
    local p99, ended = percentile(measured:ask(static), 0.99), clock()
    assert(wait() > ended - began, "the calls were over before the static location had been asked often enough")
    return p99
  end
  for round = 1, ROUNDS do
    quiet[round] = percentile(measured:ask(static), 0.99)
    -- what is due to sharing the processors, not the process
    busy.elsewhere[round] = in_flight("/proxy/", elsewhere)
    for _, how in ipairs(rotated(round)) do busy[how][round] = in_flight("/" .. how .. "/") end
  end
  print(("  none      %7.3f ms"):format(median{ table.unpack(quiet) }))
  for _, how in ipairs{ "elsewhere", "crux", "cosocket", "proxy" } do
    print(("  %-9s %7.3f ms, %.2f times"):format(how, median{ table.unpack(busy[how]) }, median(ratios(busy[how], quiet))))
  end
  print("  (elsewhere: proxied by another nginx, on the same processors)")

  print("\na service that takes 5 ms: calls/s, and the worker's processor time for each")
  for _, step in ipairs{ { 1, 200 }, { 32, 8000 }, { 256, 12000 } } do
    local c, n = step[1], step[2]
    local rate, cost = { crux = {}, cosocket = {}, proxy = {} }, { crux = {}, cosocket = {}, proxy = {} }
    for round = 1, ROUNDS do
      for _, how in ipairs(rotated(round)) do
        begin(("/%s/5"):format(how), c * 2, c)() -- connect
        local started = cpu(pid)
        local seconds = begin(("/%s/5"):format(how), n, c)()
        rate[how][round], cost[how][round] = n / seconds, (cpu(pid) - started) / n * 1e6
      end
    end
    for _, how in ipairs(HOWS) do
      local rates, costs = ratios(rate[how], rate.cosocket), ratios(cost[how], cost.cosocket)
      print(("  %3d at once  %-9s %7.0f/s  %6.1f us  of cosockets %.2f (%.2f to %.2f), in time %.2f"):format(c, how,
        median{ table.unpack(rate[how]) }, median{ table.unpack(cost[how]) }, median(rates), rates[1], rates[#rates],
        median(costs)))
    end
  end
  print("\n" .. output("nproc") .. " processors, shared by all three nginx")
end

local ok, why = xpcall(run, debug.traceback)
for _, server in ipairs(servers) do server:close("TERM") end
output("rm -rf '" .. dir .. "'")
if not ok then
  io.stderr:write("bench: ", tostring(why), "\n")
  os.exit(1)
end
