-- Runs nginx.conf, handler.lua and metrics.lua against a local sandbox that it starts: `make
-- openresty-demo`. Exit status 1 means that a response has another status than expected. Needs Lua
-- 5.4, like the sandbox.

local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local sandbox = require "crux.sandbox"

local here = arg[0]:match("^(.*/)[^/]*$") or "./"

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  assert(pipe:close())
  return (text:gsub("\n$", ""))
end

local function free_port()
  local probe = assert(socket.listen{ host = "127.0.0.1", port = 0 })
  assert(probe:listen())
  local _, _, port = probe:localname()
  probe:close()
  return port
end

-- A directory with the configuration, its Lua files, and links to crux's modules. The C module is
-- the one for LuaJIT, which make builds beside the one for this Lua.
local function make_prefix(port)
  local prefix = output('mktemp -d "${TMPDIR:-/tmp}/crux-openresty.XXXXXX"')
  local root = output("cd " .. quoted(here .. "../..") .. " && pwd")
  local builds = (";" .. package.cpath):match(";(/[^;]-)[^/;]*/%?%.so") or root .. "/build/"
  local file = assert(io.open(here .. "nginx.conf"))
  local config = file:read("a"):gsub("127%.0%.0%.1:8080", "127.0.0.1:" .. port)
  file:close()
  file = assert(io.open(prefix .. "/nginx.conf", "w"))
  file:write(config)
  file:close()
  for _, name in ipairs{ "handler.lua", "metrics.lua" } do
    output(("cp %s/examples/openresty/%s %s"):format(quoted(root), name, quoted(prefix)))
  end
  output(("ln -s %s/lua %s/lua; ln -s %s %s/lib"):format(quoted(root), quoted(prefix),
    quoted(builds .. "luajit"), quoted(prefix)))
  return prefix
end

local port = free_port()
local prefix = make_prefix(port)
local service = sandbox.new{ orders = 2 }
local wrong = 0

local HEAD = "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

-- `to`: the port, nginx's if left out. The sandbox's speaks TLS.
local function request(method, path, body, to)
  local con = socket.connect("127.0.0.1", to or port)
  con:onerror(function(_, _, why) return why end)
  con:setmode("b", "bf")
  if to then con:starttls() end
  con:write(HEAD:format(method, path, #(body or "")), body or "")
  con:flush()
  local status = (con:read("*l") or ""):match("^HTTP/1%.1 (%d+)")
  local rest = con:read("*a") or ""
  con:close()
  return tonumber(status), rest:match("\r\n%x+\r\n(.-)\n\r\n") or rest:match("\r\n\r\n(.*)$") or ""
end

-- Runs nginx with that base URL while the function runs. The shell ends nginx when this process
-- ends, even if it is killed.
local function with_nginx(base_url, fn)
  local words = {
    "env", "CRUX_USERNAME=retailer", "CRUX_PASSWORD=retailer", "CRUX_BASE_URL=" .. quoted(base_url),
    "CRUX_CA_FILE=" .. quoted(service.ca_file),
    "nginx", "-p", quoted(prefix), "-c", "nginx.conf", "-e", "stderr",
  }
  -- The workers read files that only root may read, if this is root.
  if output("id -u") == "0" then words[#words + 1] = "-g 'user root;'" end
  local command = "trap '' INT; %s </dev/null 2>%s & pid=$!; read -r _; "
    .. "kill -QUIT $pid 2>/dev/null; wait $pid"
  local keeper = assert(io.popen(command:format(table.concat(words, " "), quoted(prefix .. "/log")),
    "w"))
  local up
  for _ = 1, 100 do
    up = request("GET", "/health") == 200
    if up then break end
    cqueues.sleep(0.05)
  end
  local ok, why = pcall(assert, up, "nginx did not start")
  if ok then ok, why = pcall(fn) end
  keeper:close()
  if not ok then
    local file = io.open(prefix .. "/log")
    io.stderr:write("demo: ", tostring(why), "\n", file and file:read("a") or "")
    wrong = wrong + 1
  end
end

local function show(expected, method, path, body)
  local status, text = request(method, path, body)
  print(("%s %s%s\n  %s %s\n"):format(method, path, body and " " .. body or "", status, text))
  if status ~= expected then
    wrong = wrong + 1
    io.stderr:write(("demo: expected %d, found %s\n"):format(expected, status))
  end
end

local function run()
  local order, other = "/cancel/" .. service.orders[1], "/cancel/" .. service.orders[2]
  with_nginx(service.base_url, function()
    show(202, "POST", order)
    show(422, "POST", order)
    show(400, "POST", order, '{"skus":[{"sku_id":"000106"}]}')
    show(400, "POST", "/cancel/123")
    print("-- the connection to the service breaks after the order was cancelled\n")
    request("GET", "/~outage/drop=after/", nil, service.port)
    show(504, "POST", other)
    show(200, "GET", "/metrics")
  end)
  print("-- the service cannot be reached\n")
  with_nginx("https://127.0.0.1:1", function() show(503, "POST", other) end)
end

service:wrap(function()
  local ok, why = pcall(run)
  if not ok then
    wrong = wrong + 1
    io.stderr:write("demo: ", tostring(why), "\n")
  end
  service:stop()
end)
service:run()
service:close()
output("rm -rf " .. quoted(prefix))
print(wrong == 0 and "all as promised" or "not as promised")
os.exit(wrong == 0)
