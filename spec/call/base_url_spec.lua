-- The option base_url: which URLs it takes, and which URLs calls then have.
local crux = require "crux"
local helper = require "spec.helper"

local U = helper.ORDER

describe("the option base_url", function()
  local function request(base_url, api)
    local client = assert(crux.new())
    local made = assert(client:dry_run("cancel_order", { order_uuid = U, base_url = base_url, api = api }))
    client:close()
    return made.url, made.headers.Host
  end

  it("accepts a path and a port, and omits the scheme's default port", function()
    for base_url, expected in pairs{
      ["https://example.com"] = { "https://example.com", "example.com" },
      ["https://example.com/"] = { "https://example.com", "example.com" },
      ["https://example.com///"] = { "https://example.com", "example.com" },
      ["https://example.com/a/b"] = { "https://example.com/a/b", "example.com" },
      ["https://example.com/a/b//"] = { "https://example.com/a/b", "example.com" },
      ["https://example.com/a/../b%20c/"] = { "https://example.com/a/../b%20c", "example.com" },
      ["https://example.com:443"] = { "https://example.com", "example.com" },
      ["https://example.com:8443/x"] = { "https://example.com:8443/x", "example.com:8443" },
      ["https://example.com:80"] = { "https://example.com:80", "example.com:80" },
      ["HTTPS://example.com"] = { "https://example.com", "example.com" },
      ["https://[2001:db8::1]/"] = { "https://[2001:db8::1]", "[2001:db8::1]" },
      ["https://[2001:db8::1]:8443/x/"] = { "https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443" },
      ["https://10.0.0.1"] = { "https://10.0.0.1", "10.0.0.1" },
      ["http://127.0.0.1:8080"] = { "http://127.0.0.1:8080", "127.0.0.1:8080" },
      ["http://127.0.0.1:80"] = { "http://127.0.0.1", "127.0.0.1" },
      ["http://127.255.3.4"] = { "http://127.255.3.4", "127.255.3.4" },
      ["http://[::1]:8080/p"] = { "http://[::1]:8080/p", "[::1]:8080" },
      ["http://localhost"] = { "http://localhost", "localhost" },
      ["HTTP://LOCALHOST:1"] = { "http://LOCALHOST:1", "LOCALHOST:1" },
    } do
      local url, host = request(base_url)
      assert.same({ expected[1] .. "/orders/cancel/", expected[2] }, { url, host }, base_url)
      assert.equal(expected[1] .. "/timp/orders/cancel/", (request(base_url, "timp")))
      assert.equal(expected[1] .. "/orders/cancel/", (request(base_url, "v1")))
    end
  end)

  it("accepts http for this machine only", function()
    for _, base_url in ipairs{
      "http://example.com", "http://api.cruxconnect.com", "http://128.0.0.1", "http://10.0.0.1", "http://0.0.0.0",
      "http://[::]", "http://[::2]",
      "http://[::ffff:10.0.0.1]", "http://localhost.example.com", "http://127.0.0.1.example.com",
      "http://notlocalhost", "http://localhost.",
      "http://126.255.255.255", "HTTP://example.com",
    } do
      local _, err = helper.call(crux.new, { base_url = base_url })
      assert.same({ "invalid", "base_url" }, { err and err.kind, err and err.field }, base_url)
      assert.equal("base_url: expected https, found http to another machine, where a token would be readable",
        err.message)
    end
  end)

  it("is the sandbox by default", function()
    local printed = helper.child([[
      local crux = require "crux"
      print(crux.new():dry_run("get_order",
        { order_uuid = ("0"):rep(8) .. ("-0000"):rep(3) .. "-" .. ("0"):rep(12) }).url)]])
    assert.equal("https://api-sandbox.cruxconnect.com/orders/00000000-0000-0000-0000-000000000000/", printed)
    assert.equal("https://api-sandbox.cruxconnect.com", crux.SANDBOX)
    assert.equal("https://api.cruxconnect.com", crux.PRODUCTION)
  end)
end)
