-- One source, any libcurl from 7.64 on: what crux does differently from version to version works on
-- either side of each version that it asks for. What these are is in spec/support/libcurl.lua.
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local libcurl = require "spec.support.libcurl"

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

describe("the libcurl that these specs run with", function()
  it("is the one that crux was compiled for", function()
    local source = "#include <curl/curl.h>\nthe headers: LIBCURL_VERSION\n"
    local said = output(("printf %s | ${CC:-cc} -E -P %s -"):format(helper.quoted(source), helper.curl_cflags))
    local headers = said:match('\nthe headers: "([^"]+)"')
    assert.equal("libcurl/" .. headers, core.curl_version():match("^%S+"))
  end)

  it("is the one of child processes too", function()
    assert.equal(core.curl_version(), helper.child 'print(require "crux.core".curl_version())')
  end)

  it("makes at most five specs pending", function()
    assert.is_true(libcurl.skipped() <= 5)
  end)
end)

-- One that closes a connection only with its multi cannot be taken for one that does so at once.
local function can_be_taken_for(number)
  local at_once, here = libcurl.RUN_TIME.CLOSES_AT_ONCE, libcurl.here()
  return here >= at_once or number < at_once
end

for _, number in ipairs(libcurl.ways()) do
  describe("with libcurl taken for " .. libcurl.text(number) .. ",", function()
    local plain, tls

    setup(function()
      local script = [[
        while conn:request() do conn:write("HTTP/1.1 204 No Content\r\n\r\n") end
        conn:fin()
      ]]
      plain, tls = fault.serve{ script = script }, fault.serve{ script = script, tls = "good" }
    end)

    teardown(fault.stop)

    -- What a child prints that makes two calls, each of which blocks, and then twice 20 at once.
    local function calls(server, options)
      return helper.child(([[
        local crux, core = require "crux", require "crux.core"
        core.assume_curl(%d)
        local options = { token = %q, base_url = %q, timeout = 10, retries = 0, %s }
        local order = { order_uuid = %q }
        local client, failure = crux.new(options)
        local function has_failed(err)
          if err then print(err.outcome, err.kind, err.field) end
          return err ~= nil
        end
        if has_failed(failure) then return end
        for _, name in ipairs{ "new", "kept" } do
          local result, err = client:cancel_order(order)
          if has_failed(err) then return end
          print(name, result.outcome, result.meta.reused)
        end
        local pendings, kept = {}, 0
        for _ = 1, 2 do
          for i = 1, 20 do pendings[i] = client:submit("cancel_order", order) end
          for i = 1, 20 do
            local _, result, err = pendings[i]:wait(10)
            if has_failed(err) then return end
            if result.meta.reused then kept = kept + 1 end
          end
        end
        client:close()
        print("of 40", kept >= 20 and "20 or more were kept" or kept)
      ]]):format(number, helper.TOKEN, server.base_url, options or "", helper.ORDER))
    end

    local SUCCEED = "new\taccepted\tfalse\nkept\taccepted\ttrue\nof 40\t20 or more were kept"

    -- The bundle would be believed too, if it cannot be replaced.
    local refuses_path = number >= libcurl.RUN_TIME.NULL_IS_DEFAULT
      and libcurl.lacks "take a CA bundle from memory"

    if refuses_path then
      it("a ca_path is refused, since the bundle cannot be replaced", function()
        assert.equal("not_sent\tinvalid\tca_path",
          calls(tls, ("ca_path = %q"):format(fault.ca_path)))
      end)
    end

    if not can_be_taken_for(number) then return end

    it("calls succeed and keep their connections", function()
      assert.equal(SUCCEED, calls(plain))
    end)

    it("calls over TLS succeed with ca_file", function()
      assert.equal(SUCCEED, calls(tls, ("ca_file = %q"):format(fault.ca_file)))
    end)

    if not refuses_path then
      it("calls over TLS succeed with ca_path", function()
        assert.equal(SUCCEED, calls(tls, ("ca_path = %q"):format(fault.ca_path)))
      end)
    end

    it("calls over TLS fail without ca_file", function()
      assert.equal("not_sent\ttls\tnil", calls(tls))
    end)
  end)
end
