-- The Redis client of a fleet: URLs, passwords, TLS, lost connections, and errors that say what to do.
local Fleet = require "crux.fleet"
local Redis = require "crux.fleet.redis"
local crux = require "crux"
local files = require "spec.support.files"
local redis = require "spec.support.redis"
local socket = require "socket"

describe("the Redis client of a fleet", function()
  local server

  after_each(function()
    if server then server:close() end
    server = nil
  end)

  it("refuses a URL that it does not understand, without showing it", function()
    for url, what in pairs{
      ["http://secret@x"] = "another scheme", ["redis://:secret@x:y"] = "no host",
      ["redis://secret@x"] = "a user without a password", ["redis://x/secret"] = "a path that is no number",
      ["redis://"] = "no host",
    } do
      local client, why = Redis.new(url)
      assert.is_nil(client)
      assert.is_truthy(why:find(what, 1, true), url .. ": " .. why)
      assert.is_nil(why:find("secret", 1, true))
    end
    local made = assert(Redis.new("redis://me:p%40ss@[::1]:7000/3"))
    assert.same({ host = "::1", port = 7000, is_tls = false, database = "3", user = "me", password = "p@ss", timeout = 5 },
      made.target)
  end)

  it("reads each kind of reply", function()
    server = redis.start()
    local client = server:client()
    local replies = assert(client:pipeline{
      { "SET", "a", "1\r\n2" }, { "GET", "a" }, { "GET", "b" }, { "INCR", "n" }, { "LRANGE", "l", "0", "-1" },
      { "NONSENSE" }, { "EVAL", "return { 1, { 'x', false } }", "0" },
    })
    assert.same({ "OK", "1\r\n2", false, 1, {} }, { replies[1], replies[2], replies[3], replies[4], replies[5] })
    assert.is_truthy(replies[6].err:find("unknown command", 1, true))
    assert.same({ 1, { "x", false } }, replies[7])
    client:close()
  end)

  it("goes on after its connection was cut, and after the scripts were flushed", function()
    server = redis.start()
    local client, other = server:client(), server:client()
    local command = { script = "return ARGV[1]", keys = {}, "x" }
    assert.equal("x", client:call(command))
    assert(other:call("SCRIPT", "FLUSH"))
    assert.same({ "PONG", "x", "x" }, assert(client:pipeline{ { "PING" }, command, command }))
    assert(other:call("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal"))
    assert.equal("x", client:call(command))
    assert.equal(2, client.connections)
    server:kill()
    local reply, why = client:call("PING")
    assert.is_nil(reply)
    assert.is_truthy(why:find("^redis 127%.0%.0%.1:%d+: "), why)
    server:start()
    assert.equal("x", client:call(command))
    client:close()
    other:close()
  end)

  it("says that nobody listens, and that a server does not answer", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    local client = assert(Redis.new(("redis://127.0.0.1:%d"):format(port), { timeout = 0.1 }))
    local reply, why = client:call("PING")
    assert.is_nil(reply)
    assert.is_truthy(why:find("timeout", 1, true), why)
    listener:close()
    reply, why = client:call("PING")
    assert.is_nil(reply)
    assert.is_truthy(why:find("refused", 1, true), why)
  end)

  it("says that a server is not Redis", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    local client = assert(Redis.new(("redis://127.0.0.1:%d"):format(port), { timeout = 5 }))
    local peer
    -- the answer is there before the question
    client.socket = assert(socket.connect("127.0.0.1", port))
    peer = listener:accept()
    peer:send("HTTP/1.1 400 Bad Request\r\n\r\n")
    peer:close()
    listener:close()
    local reply, why = client:call("PING")
    assert.is_nil(reply)
    assert.is_truthy(why:find("expected a reply of Redis", 1, true) or why:find("refused", 1, true), why)
  end)

  it("logs in, chooses a database, and does not show the password", function()
    server = redis.start{ "--requirepass s3cret", url = "redis://:s3cret@127.0.0.1:%d/5" }
    local client = server:client()
    assert(client:call("SET", "x", "1"))
    local wrong = assert(Redis.new(("redis://:other-s3cret@127.0.0.1:%d"):format(server.port)))
    local reply, why = wrong:call("PING")
    assert.is_nil(reply)
    assert.is_truthy(why:find("WRONGPASS", 1, true), why)
    assert.is_nil(why:find("s3cret", 1, true))
    local none, missing = assert(Redis.new(server.url)):call("PING")
    assert.is_nil(none)
    assert.is_truthy(missing:find("NOAUTH", 1, true), missing)
    local first = assert(Redis.new(("redis://:s3cret@127.0.0.1:%d/0"):format(server.port)))
    assert.equal(false, first:call("GET", "x"))
  end)

  describe("with TLS", function()
    local directory

    before_each(function() directory = files.lines("mktemp -d")[1] end)
    after_each(function() os.execute("rm -rf " .. files.quoted(directory)) end)

    local function secure(name)
      local run = ("cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 "
        .. "-subj /CN=x -addext subjectAltName=%s 2>/dev/null"):format(files.quoted(directory), name)
      assert(os.execute(run))
      local cert, key = directory .. "/cert.pem", directory .. "/key.pem"
      return cert, key
    end

    local function started(name)
      local cert, key = secure(name)
      server = redis.start{
        "--port 0", "--tls-auth-clients no", "--tls-cert-file " .. cert, "--tls-key-file " .. key, ca_file = cert,
        tls = true,
      }
      return cert
    end

    it("trusts the certificate of its host alone", function()
      local cert = started("IP:127.0.0.1")
      local url = ("rediss://127.0.0.1:%d"):format(server.port)
      local client = assert(Redis.new(url, { ca_file = cert }))
      assert.equal("PONG", client:call("PING"))
      client:close()
      local reply, why = assert(Redis.new(url)):call("PING")
      assert.is_nil(reply)
      assert.is_truthy(why:find("certificate verify failed", 1, true), why)
      reply, why = assert(Redis.new(("rediss://localhost:%d"):format(server.port), { ca_file = cert })):call("PING")
      assert.is_nil(reply)
      assert.is_truthy(why:find("the certificate is for another host", 1, true), why)
    end)
  end)

  describe("keeps a fleet from work", function()
    local client

    before_each(function() client = assert(crux.new{ base_url = "http://127.0.0.1:1", token = "t" }) end)
    after_each(function() client:close() end)

    local function refusal(options)
      local fleet = assert(Fleet.new{ redis = server.url, client = client })
      local report, err = fleet:work(options or { until_empty = true })
      fleet:close()
      return report or tostring(err)
    end

    it("unless the server keeps what it confirms", function()
      server = redis.start{ "--appendfsync everysec" }
      assert.is_truthy(refusal():find("expected appendfsync always, found everysec", 1, true))
      assert.is_table(refusal{ until_empty = true, unsafe = true })
      server:close()
      server = redis.start{ "--maxmemory-policy allkeys-lru" }
      assert.is_truthy(refusal():find("expected maxmemory-policy noeviction, found allkeys-lru", 1, true))
      server:close()
      server = redis.start{ "--rename-command CONFIG ''" }
      assert.is_truthy(refusal():find("CONFIG is needed", 1, true))
      assert.is_table(refusal{ until_empty = true, unsafe = true })
    end)

    it("when it is down", function()
      server = redis.start()
      server:kill()
      assert.is_truthy(refusal():find("refused", 1, true))
    end)
  end)
end)
