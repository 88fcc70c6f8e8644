-- examples/fleet/demo.sh runs to its end, prints what a reader should see, and ends its Redis.
local files = require "spec.support.files"
local program = require "spec.support.program"

describe("examples/fleet/demo.sh #slow", function()
  it("sends each order of four workers, of which two are killed", function()
    local status, stdout, stderr = program.command({ TEST_LUA = program.lua }, "sh examples/fleet/demo.sh")
    assert.equal(0, status, stdout .. stderr)
    local cjson = require "cjson"
    local last = cjson.decode((stdout:match("([^\n]+)\n$")))
    assert.same({ "summary", 300, 0 }, { last.type, last.orders, last.counts.not_started + last.counts.rejected })
    assert.equal(300, last.counts.accepted + last.counts.unknown)
    local port = stdout:match("of redis 127%.0%.0%.1:(%d+)") or stderr:match("of redis 127%.0%.0%.1:(%d+)")
    assert.same({ "0" }, files.lines("ps -eo args | grep -c '[r]edis-server.*:" .. port .. "'"))
  end)
end)
