-- How much one attempt receives before others have their turn, where the real connection would need
-- a server that breaks it at the right moment. The transfer sees no Lua: one Lua does (#tree).
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local SOURCES = "csrc/http/transfer.c csrc/http/response.c csrc/http/buffer.c csrc/http/request.c "
  .. "csrc/http/config.c csrc/http/outcome.c csrc/os/process.c "
local HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
local TURN = 64 * 1024

local object = forks.compile("turns.c", SOURCES .. helper.curl_libs)
local turns = assert(package.loadlib(object, "luaopen_turns"))()
os.remove(object)

describe("an attempt whose connection broke while it was sent #tree", function()
  it("reads what was received before, 64 KiB in a turn", function()
    local received, is_done, status, body_len, is_reusable = turns(1, HEAD, #HEAD + 1000000)
    local sum = 0
    for i, bytes in ipairs(received) do
      assert.is_true(bytes <= TURN, ("turn %d: %d bytes"):format(i, bytes))
      sum = sum + bytes
    end
    assert.equal(#HEAD + 1000000, sum)
    assert.is_true(#received >= 1000000 / TURN, #received .. " turns")
    assert.same({ true, 200, 1000000, false }, { is_done, status, body_len, is_reusable })
  end)

  it("ends with what was received, if the response is cut off", function()
    local received, is_done, status, body_len, is_reusable = turns(1, HEAD, #HEAD + 300000)
    assert.is_true(#received >= 300000 / TURN, #received .. " turns")
    assert.same({ true, 200, 300000, false }, { is_done, status, body_len, is_reusable })
  end)

  it("ends at once if nothing was received", function()
    local received, is_done, status = turns(1, HEAD, 0)
    assert.same({ { 0 }, true, 0 }, { received, is_done, status })
  end)

  it("is not done if no byte of it was sent", function()
    local received, is_done = turns(0, HEAD, #HEAD + 2)
    assert.same({ { 0 }, false }, { received, is_done })
  end)
end)
