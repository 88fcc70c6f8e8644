-- How far a run is: what the bar and the lines say, on a clock of the spec's own.
local core = require "crux.core"
local progress = require "crux.cli.progress"

describe("the progress of a run", function()
  local clock, now, printed

  before_each(function()
    clock, now, printed = core.now, 1000, {}
    core.now = function() return now end
  end)
  after_each(function() core.now = clock end)

  local function start(total, how)
    how.stderr = {
      write = function(_, ...) printed[#printed + 1] = table.concat{ ... } end,
        flush = function() end,
    }
    return progress(how, total), how
  end

  it("is a line every ten seconds without a terminal", function()
    local bar = start(100, {})
    for second = 1, 25 do
      now = 1000 + second
      bar:update(second * 2, 100, { accepted = second * 2 - 1, unknown = 1, rejected = 0 })
    end
    assert.same({
      "crux: 20/100, 2.0/s, 0:40 left: 19 accepted, 1 unknown\n",
      "crux: 40/100, 2.0/s, 0:30 left: 39 accepted, 1 unknown\n",
    }, printed)
  end)

  it("is told while no result comes", function()
    local bar = start(10, {})
    now = 1010
    bar:tick()
    assert.same({ "crux: 0/10, 0.0/s\n" }, printed)
  end)

  it("is a bar that is drawn ten times a second at most", function()
    local bar = start(10, { live = true })
    for step = 1, 10 do
      now = now + 0.05
      bar:update(step, 10, { accepted = step })
    end
    assert.is_true(#printed <= 5, #printed)
    assert.equal(1, (printed[1]:find("\r\27[K[####--", 1, true)), printed[1])
  end)

  it("has hours where there are some", function()
    local bar = start(100000, {})
    now = 1010
    bar:update(10, 100000, {})
    assert.same({ "crux: 10/100000, 1.0/s, 27:46:30 left\n" }, printed)
  end)

  it("is nothing with --quiet", function()
    local bar = start(10, { quiet = true, live = true })
    now = 2000
    bar:update(5, 10, { accepted = 5 })
    bar:clear()
    assert.same({}, printed)
  end)

  it("is removed before something else is printed", function()
    local bar, out = start(10, { live = true })
    bar:update(1, 10, {})
    out.before()
    assert.equal("\r\27[K", printed[#printed])
    local count = #printed
    out.before()
    assert.equal(count, #printed)
  end)
end)
