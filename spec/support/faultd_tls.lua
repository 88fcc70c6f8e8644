-- The fault server's TLS: the options of listeners, the record of each handshake, and the messages
-- that a server may send after one. Used by faultd.lua alone; spec/support/fault.lua documents it.

local cqueues = require "cqueues"
local context = require "openssl.ssl.context"
local store = require "openssl.x509.store"
local certificate = require "crux.sandbox.certificate"

local tls = {}

local VERSIONS = { ["1.1"] = 0x0302, ["1.2"] = 0x0303, ["1.3"] = 0x0304 }
local ASKED = context.VERIFY_PEER
local REQUIRED = context.VERIFY_PEER + context.VERIFY_FAIL_IF_NO_PEER_CERT
local PASSWORD = "pass phrase of a key"

local library, libssl, authority

local function write_key(path, key)
  local file = assert(io.open(path, "w"))
  file:write(key:toPEM("private"))
  file:close()
end

-- The files of a client's certificate, named after it.
local function write_client(name, file, signer)
  local identity = certificate.server{ names = { name }, authority = signer, usage = "clientAuth" }
  local paths = {
    subject = name, password = PASSWORD,
    cert_file = file(name .. ".crt"), key_file = file(name .. ".key"),
    both_file = file(name .. ".pem"), encrypted_file = file(name .. ".encrypted"),
    old_encrypted_file = file(name .. ".old-encrypted"),
  }
  certificate.write(paths.cert_file, identity)
  write_key(paths.key_file, identity.key)
  local both = assert(io.open(paths.both_file, "w"))
  both:write(identity.cert:toPEM("cert"), identity.key:toPEM("private"))
  both:close()
  assert(library.write_encrypted(libssl, identity.key, paths.encrypted_file, PASSWORD, false))
  assert(library.write_encrypted(libssl, identity.key, paths.old_encrypted_file, PASSWORD, true))
  return paths
end

local function write_authority(name, file, dir, hash)
  -- with another name: else OpenSSL takes it for the right one, and does not search further
  local made = certificate.authority("another authority")
  certificate.write(file(name .. ".pem"), made)
  file(name .. "_path")
  assert(os.execute(("mkdir '%s/%s_path'"):format(dir, name)))
  certificate.write(file(("%s_path/%08x.0"):format(name, hash(made.cert))), made)
  return made, dir .. "/" .. name .. ".pem", dir .. "/" .. name .. "_path"
end

--- Makes what specs need in files, besides the authority of the listeners' certificates.
-- @tparam table server `library`, `libssl`, `authority`, `dir`, `file` (a name becomes a path that
--   is removed at the end) and `hash` (of a certificate's subject)
-- @treturn table paths: `other_ca_file` and `other_ca_path`, of an authority that no listener
--   knows, and `clients`: `one` and `two`, whom listeners trust, and `stranger`, whom they do not
function tls.prepare(server)
  library, libssl, authority = server.library, server.libssl, server.authority
  local file = server.file
  local other, ca_file, ca_path = write_authority("other", file, server.dir, server.hash)
  return {
    other_ca_file = ca_file, other_ca_path = ca_path,
    clients = {
      one = write_client("client-one", file, authority),
      two = write_client("client-two", file, authority),
      stranger = write_client("stranger", file, other),
    },
  }
end

local function limit_versions(ctx, version)
  local number = assert(VERSIONS[version], "expected 1.1, 1.2 or 1.3 as tls_version")
  -- OpenSSL 3 allows versions before TLS 1.2 at security level 0 only
  if version == "1.1" then ctx:setCipherList("ALL:@SECLEVEL=0") end
  local least = version == "1.2" and VERSIONS["1.1"] or number
  assert(library.limit(libssl, ctx, least, number), "expected OpenSSL to serve TLS " .. version)
end

--- A context for a listener.
-- @tparam table options of `fault.serve`
-- @tparam table identity
function tls.context(options, identity)
  if options.tls_names then
    identity = certificate.server{ names = options.tls_names, authority = authority }
  end
  local ctx = certificate.context(identity)
  -- else a new handshake resumes the session, and requests no certificate
  ctx:setOptions(context.OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION)
  if options.tls_version then limit_versions(ctx, options.tls_version) end
  if options.tickets then
    if options.tickets == 0 then ctx:setOptions(context.OP_NO_TICKET) end
    assert(library.tickets(libssl, ctx, options.tickets))
  end
  local trusted = store.new()
  trusted:add(authority.cert)
  ctx:setStore(trusted)
  assert(library.name_sessions(libssl, ctx, "faultd"))
  if options.client_certificate == "asked" then ctx:setVerify(ASKED)
  elseif options.client_certificate == "required" then ctx:setVerify(REQUIRED)
  else assert(not options.client_certificate, "expected asked or required") end
  return ctx
end

local function common_name(cert)
  if not cert then return nil end
  for _, entry in ipairs(cert:getSubject():all()) do
    if entry.sn == "CN" then return entry.blob end
  end
end

--- Puts the result of a handshake into a connection's record.
function tls.report(conn)
  local ssl = conn.socket:checktls()
  local number = ssl:getVersion()
  for name, value in pairs(VERSIONS) do
    if value == number then conn.record.version = name end
  end
  conn.record.resumed = library.resumed(libssl, ssl)
  conn.record.server_name = ssl:getHostName()
  conn.record.certificate = common_name(ssl:getPeerCertificate())
end

--- Adds methods to the scripts' `conn`.
-- @tparam table Conn
-- @tparam function pump takes what has arrived, without waiting
function tls.extend(Conn, pump)
  --- Sends a TLS 1.3 KeyUpdate at once; with `wanted` it requests one from the client.
  function Conn:key_update(wanted)
    local sent = library.key_update(libssl, self.socket:checktls(), wanted)
    return assert(sent, "expected to send a KeyUpdate")
  end

  --- Sends a TLS 1.2 HelloRequest at once; `handshaken` waits for the handshake.
  function Conn:hello_request()
    local ssl = self.socket:checktls()
    self.finished = library.peer_finished(libssl, ssl)
    return assert(library.hello_request(libssl, ssl), "expected to send a HelloRequest")
  end

  --- Requests a certificate after the handshake: in TLS 1.2 by a new handshake. Returns false in
  -- TLS 1.3 if the client has not offered it. With `required` a client without one is refused.
  function Conn:request_certificate(required)
    local ssl = self.socket:checktls()
    ssl:setVerify(required and REQUIRED or ASKED)
    if self.record.version == "1.2" then return self:hello_request() end
    return library.request_certificate(libssl, ssl)
  end

  --- Reads until the handshake of `hello_request` or `request_certificate` is complete; false if it
  -- fails.
  function Conn:handshaken()
    local ssl = self.socket:checktls()
    while not (self.closed or self.record.eof) do
      pump(self)
      local again = self.finished and library.peer_finished(libssl, ssl) ~= self.finished
      local subject = common_name(ssl:getPeerCertificate())
      if again or subject ~= self.record.certificate then
        self.record.certificate = subject
        self.record.renewed = (self.record.renewed or 0) + 1
        return true
      end
      if not self.record.eof then cqueues.poll(self.socket) end
    end
    return false
  end

  --- Sends the server's part of the handshake, and reads the client's last part that much later.
  function Conn:slow_handshake(seconds)
    cqueues.poll{ pollfd = self.socket:pollfd(), events = "r" }
    self.socket:starttls(self.context, 0)
    self:sleep(seconds)
    return self:handshake()
  end
end

return tls
