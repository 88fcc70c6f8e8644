--- Proxies for specs: scripts for the fault server, one for each kind of proxy.
--
--     local proxy = fault.serve{ script = proxies.HTTP }
--     core.cancel_order{ proxy = "http://127.0.0.1:" .. proxy.port, … }
--     proxy:record().conns[1].target            -- "localhost:8443", as it was asked for
--
-- A record's `target` is the requested host and port, `kind` how a SOCKS client gave the host
-- ("name" or "address"), `user` the user name. Everything is forwarded to that port of 127.0.0.1,
-- whatever the host.
-- @module spec.support.proxies

local proxies = {}

-- Forwards to the target, until either side closes.
local CARRY = [[
  local port = math.tointeger(tonumber(target:match(":(%d+)$")))
  conn:tell("target", target)
  if not conn:connect(port) then return false end
]]

--- CONNECT. The n-th connection gets `shared.answers[n]` or `shared.answer` in place of the usual
-- 200, and is closed if that is no 2xx; `shared.stray` is written right after the 200.
proxies.HTTP = [[
local function reach(target) ]] .. CARRY .. [[ return true end
local asked = conn:request()
if not asked then return end
conn:tell("method", asked.method)
conn:tell("credentials", asked.headers["proxy-authorization"])
local answer = shared.answers and shared.answers[n] or shared.answer
  or "HTTP/1.1 200 Connection established\r\n\r\n"
local well = answer:find("^HTTP/1%.%d 2")
if well and not reach(asked.path) then
  answer, well = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", false
end
conn:write(answer .. (well and shared.stray or ""))
if well then conn:carry() end
]]

--- SOCKS 4 and 4a. `shared.refuse`: the code to refuse with, 91 for example.
proxies.SOCKS4 = [[
local function reach(target) ]] .. CARRY .. [[ return true end
local function text()
  local bytes = {}
  while true do
    local byte = conn:read(1)
    if not byte or byte == "\0" then return table.concat(bytes) end
    bytes[#bytes + 1] = byte
  end
end
local head = conn:read(8)
if not head then return end
local version, command, port, a, b, c, d = (">BBI2BBBB"):unpack(head)
assert(version == 4 and command == 1, "expected a CONNECT of SOCKS 4")
conn:tell("user", text())
local by_name = a == 0 and b == 0 and c == 0 and d ~= 0
conn:tell("kind", by_name and "name" or "address")
local host = by_name and text() or ("%d.%d.%d.%d"):format(a, b, c, d)
local code = shared.refuse or reach(host .. ":" .. port) and 90 or 91
conn:write(("\0%c\0\0\0\0\0\0"):format(code))
if code == 90 then conn:carry() end
]]

--- SOCKS 5 and 5h. `shared.refuse`: the code to refuse with, 2 (not allowed) or 5 (refused) for
-- example; `shared.password`: what a client must know.
proxies.SOCKS5 = [[
local function reach(target) ]] .. CARRY .. [[ return true end
local version, count = (conn:read(2) or "\0\0"):byte(1, 2)
if version ~= 5 then return end
local methods = conn:read(count)
if shared.password then
  if not methods:find("\2", 1, true) then return conn:write("\5\255") end
  conn:write("\5\2")
  local user = conn:read(conn:read(2):byte(2))
  local password = conn:read(conn:read(1):byte())
  conn:tell("user", user)
  local right = password == shared.password
  conn:write(right and "\1\0" or "\1\1")
  if not right then return end
else
  conn:write("\5\0")
end
local _, command, _, kind = conn:read(4):byte(1, 4)
assert(command == 1, "expected a CONNECT of SOCKS 5")
conn:tell("kind", kind == 3 and "name" or "address")
local host
if kind == 3 then host = conn:read(conn:read(1):byte())
elseif kind == 1 then host = ("%d.%d.%d.%d"):format(conn:read(4):byte(1, 4))
else conn:read(16) host = "[::]" end
local port = (">I2"):unpack(conn:read(2))
local code = shared.refuse or reach(host .. ":" .. port) and 0 or 5
conn:write(("\5%c\0\1\0\0\0\0\0\0"):format(code))
if code == 0 then conn:carry() end
]]

--- Forwards everything to `shared.port`; after `shared.cut` bytes from there it does `shared.how`
-- ("fin" or "rst").
proxies.BETWEEN = [[
if not conn:connect(shared.port) then return conn:rst() end
if conn:carry(shared.cut) then conn[shared.how or "fin"](conn) end
]]

return proxies
