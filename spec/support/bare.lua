--- Plain sockets for the specs of servers, which use no crux. Loads only where lua-cqueues is.
-- @module spec.support.bare
local cjson = require("cjson").new()
local socket = require "cqueues.socket"

local bare = {}

--- Connects to a port of 127.0.0.1, over TLS with a context.
function bare.connect(port, tls)
  local con = socket.connect{ host = "127.0.0.1", port = tonumber(port), nodelay = true }
  con:setmode("b", "bn")
  con:settimeout(5)
  con:onerror(function(_, _, why) return why end)
  if tls then
    local ok, why = con:starttls(tls)
    if not ok then
      con:close()
      return nil, why
    end
  end
  return con
end

--- A context for TLS that trusts the authorities of a file.
function bare.trusting(ca_file)
  local context = require "openssl.ssl.context"
  local store = require("openssl.x509.store").new()
  store:add(ca_file)
  local tls = context.new("TLS", false)
  tls:setStore(store)
  tls:setVerify(context.VERIFY_PEER)
  return tls
end

--- Reads one response with a length from a connection that may carry more.
function bare.read_response(con)
  local head = con:xread("*L")
  if not head then return nil end
  local status = tonumber(head:match("^HTTP/1%.1 (%d+)"))
  local headers = {}
  for line in function() return con:xread("*L") end do
    if line == "\r\n" then break end
    local name, value = line:match("^([^:]+): (.-)\r\n$")
    headers[name:lower()] = value
  end
  local length = tonumber(headers["content-length"] or 0)
  local raw = length > 0 and con:xread(length) or ""
  local json = headers["content-type"] == "application/json"
  return { status = status, headers = headers, raw = raw, body = json and cjson.decode(raw) or nil }
end

--- The bytes of a request. `body`: text, or a table, which becomes JSON.
function bare.request_bytes(method, path, token, body, media)
  local text = type(body) == "table" and cjson.encode(body) or body or ""
  local lines = { method .. " " .. path .. " HTTP/1.1", "Host: 127.0.0.1" }
  if token then lines[#lines + 1] = "Authorization: Token " .. token end
  if text ~= "" then lines[#lines + 1] = "Content-Type: " .. (media or "application/json; charset=utf-8") end
  lines[#lines + 1] = "Content-Length: " .. #text
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. text
end

return bare
