--- Certificates for local servers: a throw-away authority and what it signs. Elliptic-curve keys,
-- since making an RSA key takes a tenth of a second and an EC key none to speak of.
-- @module crux.sandbox.certificate

local altname = require "openssl.x509.altname"
local bignum = require "openssl.bignum"
local context = require "openssl.ssl.context"
local extension = require "openssl.x509.extension"
local pkey = require "openssl.pkey"
local rand = require "openssl.rand"
local x509 = require "openssl.x509"
local x509_name = require "openssl.x509.name"

local certificate = {}

local DAY = 24 * 60 * 60

local function common_name(text)
  local name = x509_name.new()
  name:add("O", "crux sandbox")
  name:add("CN", text)
  return name
end

local function blank(subject, key, from, to)
  local cert = x509.new()
  cert:setVersion(3)
  cert:setSerial(bignum.fromBinary(rand.bytes(15)))
  cert:setSubject(subject)
  cert:setPublicKey(key)
  cert:setLifetime(from, to)
  return cert
end

local function alternative_names(names)
  local alt = altname.new()
  for _, name in ipairs(names) do
    alt:add((name:find("^[%d.]+$") or name:find(":", 1, true)) and "IP" or "DNS", name)
  end
  return alt
end

--- Make a key and a self-signed authority.
-- @tparam[opt] string name
-- @treturn table `{ key, cert }`
function certificate.authority(name)
  local key = pkey.new{ type = "EC", curve = "prime256v1" }
  local subject = common_name(name or "crux sandbox authority")
  local now = os.time()
  local cert = blank(subject, key, now - DAY, now + 30 * DAY)
  cert:setIssuer(subject)
  cert:addExtension(extension.new("basicConstraints", "critical,CA:TRUE"))
  cert:addExtension(extension.new("keyUsage", "critical,keyCertSign,cRLSign"))
  cert:sign(key, "sha256")
  return { key = key, cert = cert }
end

--- Make a server's certificate, or a client's.
-- @tparam table options
--   `names`: a list of DNS names and IP addresses;
--   `authority`: who signs it, nobody else (self-signed) if left out;
--   `usage`: what it is for, `"serverAuth"` if left out;
--   `from`, `to`: seconds since 1970, a day ago and in 30 days if left out
-- @treturn table `{ key, cert }`
function certificate.server(options)
  local key = pkey.new{ type = "EC", curve = "prime256v1" }
  local subject = common_name(options.names[1])
  local now = os.time()
  local cert = blank(subject, key, options.from or now - DAY, options.to or now + 30 * DAY)
  cert:setSubjectAlt(alternative_names(options.names))
  cert:addExtension(extension.new("basicConstraints", "critical,CA:FALSE"))
  cert:addExtension(extension.new("extendedKeyUsage", options.usage or "serverAuth"))
  local signer = options.authority
  cert:setIssuer(signer and signer.cert:getSubject() or subject)
  cert:sign(signer and signer.key or key, "sha256")
  return { key = key, cert = cert }
end

--- A TLS context for accepting connections.
-- @tparam table identity what `server` returned
-- @tparam[opt] string version `"1.2"` to speak TLS 1.2 at most
-- @return an `openssl.ssl.context`
function certificate.context(identity, version)
  local ctx = context.new("TLS", true)
  ctx:setCertificate(identity.cert)
  ctx:setPrivateKey(identity.key)
  ctx:setVerify(context.VERIFY_NONE)
  if version == "1.2" then ctx:setOptions(context.OP_NO_TLSv1_3) end
  return ctx
end

--- Write certificates to a file, as PEM.
-- @tparam string path
-- @tparam table ... identities
function certificate.write(path, ...)
  local file = assert(io.open(path, "w"))
  for _, identity in ipairs{ ... } do file:write(identity.cert:toPEM("cert")) end
  file:close()
end

return certificate
