-- A libcurl that lacks an option, such as one built without proxies: crux.new refuses the option if
-- it was given, and calls work if it was not.
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

-- Option numbers from curl/curl.h.
local CAINFO, CAPATH, PROXY, SSLCERT, PROXY_CAINFO = 10065, 10097, 10004, 10025, 10246

describe("a libcurl without support for #stock", function()
  local object

  setup(function()
    object = forks.compile("unknown_option.c")
    fault.start()
  end)

  teardown(function()
    os.remove(object)
    fault.stop()
  end)

  local function child(option, source)
    local environment = { LD_PRELOAD = object, UNKNOWN_OPTION = tostring(option) }
    return helper.child([[
      local crux = require "crux"
      local function say(result, err)
        if err then print(err.kind, err.field, err.message) else print(result.outcome or "made") end
      end
    ]] .. source, environment)
  end

  local function made(options) return ("say(crux.new{ %s })"):format(options) end

  for _, row in ipairs{
    { "a proxy", PROXY, "proxy", 'proxy = "http://127.0.0.1:1"' },
    { "a CA file", CAINFO, "ca_file", ("ca_file = %q"):format("README.md") },
    { "a CA path", CAPATH, "ca_path", ("ca_path = %q"):format("spec") },
    { "a client certificate", SSLCERT, "cert_file", ("cert_file = %q"):format("README.md") },
  } do
    it(row[1] .. " gives an invalid " .. row[3] .. " with libcurl's message", function()
      local kind, field, message = child(row[2], made(row[4])):match("^(%S+)\t(%S+)\t(.*)$")
      assert.same({ "invalid", row[3] }, { kind, field })
      assert.is_truthy(message:find("^" .. row[3] .. ": expected a libcurl that knows it, found libcurl/"), message)
      assert.is_truthy(message:find("An unknown option was passed in to libcurl", 1, true), message)
    end)
  end

  for _, row in ipairs{ { "a proxy", PROXY }, { "a CA path", CAPATH }, { "TLS to a proxy", PROXY_CAINFO } } do
    it(row[1] .. " makes calls without it", function()
      local server = fault.serve{ tls = "good", script = helper.ANSWER, shared = { answer = helper.response(204) } }
      assert.equal("accepted", child(row[2], ("say(crux.cancel_order{ token = 't', order_uuid = %q, base_url = %q, ca_file = %q })")
        :format(helper.ORDER, server.base_url, fault.ca_file)))
      server:close()
    end)
  end
end)
