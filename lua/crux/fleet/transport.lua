--- Sockets for Redis: luasocket and luasec in plain Lua, cosockets inside nginx. Each has `send`,
-- `receive` and `close`, and a timeout.
-- @module crux.fleet.transport
local rawget, require, pcall, type = rawget, require, pcall, type
local find, gsub, ipairs, lower = string.find, string.gsub, ipairs, string.lower
local _G = _G

local transport = {}

local CA_PATH = "/etc/ssl/certs"
local SAN = "2.5.29.17" -- subjectAltName, RFC 5280

-- Cosockets, in the phases that have them.
local function cosocket(ngx, target)
  local socket = ngx.socket.tcp()
  socket:settimeout(target.timeout * 1000)
  local ok, why = socket:connect(target.host, target.port)
  if ok and target.is_tls then ok, why = socket:sslhandshake(nil, target.host, true) end
  if not ok then return nil, why end
  return socket
end

local function load(name, package)
  local ok, module = pcall(require, name)
  if ok then return module end
  return nil, "expected the Lua module " .. name .. ", found none: install " .. package
end

-- Whether a name of a certificate is that of the host (RFC 6125: `*` for the whole first label).
local function names(pattern, host)
  pattern, host = lower(pattern), lower(host)
  if pattern == host then return true end
  return find(pattern, "^%*%.") and gsub(host, "^[^.]+%.", "*.", 1) == pattern or false
end

-- luasec compares the chain, and not the name.
local function is_for(certificate, host)
  local extensions = certificate and certificate:extensions()
  local san = extensions and extensions[SAN] or {}
  for _, kind in ipairs{ "dNSName", "iPAddress" } do
    for _, name in ipairs(san[kind] or {}) do
      if names(name, host) then return true end
    end
  end
  return false
end

local function with_tls(socket, target)
  local ssl, why = load("ssl", "lua-sec (Debian) or luasec (LuaRocks)")
  if not ssl then return nil, why end
  local wrapped
  wrapped, why = ssl.wrap(socket, {
    mode = "client", protocol = "any", options = { "all", "no_sslv2", "no_sslv3", "no_tlsv1",
      "no_tlsv1_1" },
    verify = { "peer", "fail_if_no_peer_cert" },
    cafile = target.ca_file, capath = not target.ca_file and CA_PATH or nil,
  })
  if not wrapped then return nil, why end
  wrapped:settimeout(target.timeout)
  if not find(target.host, "^[%x:.]+$") then wrapped:sni(target.host) end
  local ok
  ok, why = wrapped:dohandshake()
  if ok and not is_for(wrapped:getpeercertificate(), target.host) then
    ok, why = nil, "the certificate is for another host"
  end
  if ok then return wrapped end
  wrapped:close()
  return nil, why
end

--- Connects.
-- @tparam table target `host`, `port`, `timeout`, `is_tls`, `ca_file`
-- @treturn[1] table socket
-- @treturn[2] nil
-- @treturn[2] string message
function transport.connect(target)
  local ngx = rawget(_G, "ngx")
  if type(ngx) == "table" and ngx.socket then return cosocket(ngx, target) end
  local luasocket, why = load("socket", "lua-socket (Debian) or luasocket (LuaRocks)")
  if not luasocket then return nil, why end
  local socket = luasocket.tcp()
  socket:settimeout(target.timeout)
  local ok
  ok, why = socket:connect(target.host, target.port)
  if not ok then
    socket:close()
    return nil, why
  end
  socket:setoption("tcp-nodelay", true)
  if target.is_tls then return with_tls(socket, target) end
  return socket
end

return transport
