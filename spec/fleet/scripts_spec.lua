-- The scripts of a fleet: which record is sent, and what a repeated or late script changes.
local cjson = require("cjson").new()
local core = require "crux.core"
local redis = require "spec.support.redis"
local scripts = require "crux.fleet.scripts"

local KEYS = { "records", "stream", "counts", "fences" }

describe("the scripts of a fleet", function()
  local server, client

  setup(function()
    server = redis.start()
    client = server:client()
  end)
  teardown(function()
    client:close()
    server:close()
  end)
  before_each(function()
    assert(client:call("FLUSHALL"))
    assert(client:call("XGROUP", "CREATE", "stream", "workers", "0", "MKSTREAM"))
  end)

  -- Runs a script twice if `is_repeated`, as after a lost reply. Both replies must be equal.
  local function run(name, ...)
    local reply = assert(client:call{ script = scripts[name], keys = KEYS, ... })
    return reply
  end

  local function repeated(name, ...)
    local reply = run(name, ...)
    local before = assert(client:call("HGETALL", "records"))
    local entries = assert(client:call("XRANGE", "stream", "-", "+"))
    local counts = assert(client:call("HGETALL", "counts"))
    assert.same(reply, run(name, ...))
    assert.same(before, client:call("HGETALL", "records"))
    assert.same(entries, client:call("XRANGE", "stream", "-", "+"))
    assert.same(counts, client:call("HGETALL", "counts"))
    return reply
  end

  local function record(order) return cjson.decode((assert(client:call("HGET", "records", order)))) end

  local function count(name) return tonumber(client:call("HGET", "counts", name) or 0) end

  local function read()
    local reply = client:call("XREADGROUP", "GROUP", "workers", "me", "COUNT", "1", "STREAMS", "stream", ">")
    return reply and reply[1][2][1][1]
  end

  local function pending() return client:call("XPENDING", "stream", "workers")[1] end

  -- An order that is queued, and its entry as a worker has read it.
  local function queued()
    assert.equal(1, run("enqueue", "a", "{}", "e1"))
    return read()
  end

  local function claimed()
    local entry = queued()
    return entry, run("claim", entry, "a", "c1", 60000)[2]
  end

  it("add an order once, with its entry", function()
    assert.equal(1, repeated("enqueue", "a", "{}", "e1"))
    assert.equal(0, repeated("enqueue", "a", "{}", "e2"))
    assert.equal(1, client:call("XLEN", "stream"))
    assert.same({ "queued", 1 }, { record("a").state, count "queued" })
  end)

  it("let a queued order go, with the arguments, and again to the same claim alone", function()
    local entry = queued()
    local reply = repeated("claim", entry, "a", "c1", 60000)
    assert.same({ "go", "{}" }, { reply[1], reply[3] })
    assert.same({ 0, 1 }, { count "queued", count "sending" })
    assert.same({ "unknown" }, run("claim", entry, "a", "c2", 60000))
    assert.same({ "removed" }, run("claim", entry, "a", "c1", 60000))
    assert.same({ "unknown", 0, 0 }, { record("a").state, client:call("XLEN", "stream"), pending() })
  end)

  it("give each claim a new fence", function()
    local entry, first = claimed()
    assert.equal("done", run("finish", "a", first, "return", "{}", 10, "0-1"))
    local reply = run("claim", read(), "a", "c2", 60000)
    assert.is_true(reply[2] > first, entry)
  end)

  it("let no order go whose record is missing or unreadable, and keep it as unknown", function()
    local entry = queued()
    client:call("DEL", "records")
    assert.same({ "unknown" }, run("claim", entry, "a", "c1", 60000))
    assert.same({ "removed" }, run("claim", entry, "a", "c1", 60000))
    assert.equal("unknown", record("a").state)
    client:call("HSET", "records", "b", "{nonsense")
    client:call("XADD", "stream", "*", "order", "b")
    assert.same({ "unknown" }, run("claim", read(), "b", "c2", 60000))
    assert.same({ "unknown", "unreadable" }, { record("b").state, record("b").kind })
    assert.same({ 0, 0 }, { client:call("XLEN", "stream"), pending() })
  end)

  it("keep an entry that names no order as not_sent", function()
    client:call("XADD", "stream", "*", "x", "y")
    local entry = read()
    assert.same({ "removed" }, run("claim", entry, "", "c1", 60000))
    assert.same({ "not_sent", "unreadable" }, { record("entry " .. entry).state, record("entry " .. entry).kind })
  end)

  it("only remove another entry of an order that is known", function()
    local entry = queued()
    client:call("XADD", "stream", "*", "order", "a")
    assert.same({ "removed" }, repeated("claim", read(), "a", "c2", 60000))
    assert.equal("go", run("claim", entry, "a", "c1", 60000)[1])
    assert.equal(1, client:call("XLEN", "stream"))
  end)

  it("record an outcome and remove the entry in one step", function()
    local _, fence = claimed()
    assert.equal("done", repeated("finish", "a", fence, "accepted", '{"status":204}', 10, "0-1"))
    assert.same({ "accepted", 204, 1 }, { record("a").state, record("a").status, count "accepted" })
    assert.same({ 0, 0, 0 }, { client:call("XLEN", "stream"), pending(), count "sending" })
    assert.equal("done", run("finish", "a", fence, "unknown", "{}", 10, "0-1"))
    assert.equal("accepted", record("a").state)
  end)

  it("record nothing for a fence that is not the last", function()
    local _, fence = claimed()
    assert.equal("done", repeated("finish", "a", fence, "queue", "{}", 10, "0-1"))
    local entry = read()
    assert.equal("go", run("claim", entry, "a", "c2", 60000)[1])
    assert.equal("stale", run("finish", "a", fence, "accepted", "{}", 10, "0-1"))
    assert.equal("stale", run("finish", "a", fence, "queue", "{}", 10, "0-1"))
    assert.equal("sending", record("a").state)
    run("claim", entry, "a", "c3", 60000)
    assert.equal("stale", run("finish", "a", fence, "queue", "{}", 10, "0-1"))
    assert.equal("unknown", record("a").state)
  end)

  it("let a late outcome replace unknown, and what was seen, but nothing else", function()
    local entry, fence = claimed()
    run("claim", entry, "a", "c2", 0)
    assert.equal("done", run("finish", "a", fence, "unknown", '{"kind":"timeout"}', 10, "0-1"))
    assert.is_nil(record("a").kind)
    assert.equal("done", repeated("finish", "a", fence, "rejected", '{"status":422}', 10, "0-1"))
    assert.same({ "rejected", 422, 0, 1 }, { record("a").state, record("a").status, count "unknown", count "rejected" })
    assert.equal("done", run("finish", "a", fence, "accepted", "{}", 10, "0-1"))
    assert.equal("rejected", record("a").state)
  end)

  it("queue an order again up to so many times, and then leave it as not_sent", function()
    local entry = queued()
    for try = 1, 3 do
      local fence = run("claim", entry, "a", "c" .. try, 60000)[2]
      assert.equal("done", repeated("finish", "a", fence, "queue", '{"kind":"connect"}', 3, "0-1"))
      if try < 3 then
        assert.same({ "queued", try, 1 }, { record("a").state, record("a").tries, client:call("XLEN", "stream") })
        entry = read()
      end
    end
    assert.same({ "not_sent", "connect", 0, 0 }, { record("a").state, record("a").kind, client:call("XLEN", "stream"), pending() })
    run("enqueue", "c", "{}", "e3")
    local first = run("claim", read(), "c", "x", 60000)[2]
    run("finish", "c", first, "queue", '{"kind":"connect","message":"m"}', 10, "0-1")
    local second = run("claim", read(), "c", "y", 60000)[2]
    run("finish", "c", second, "accepted", '{"status":204}', 10, "0-1")
    assert.same({ 204, nil, nil }, { record("c").status, record("c").kind, record("c").message })
    run("enqueue", "b", "{}", "e2")
    local fence = run("claim", read(), "b", "x", 60000)[2]
    run("finish", "b", fence, "return", "{}", 1, "0-1")
    assert.same({ "queued", 0 }, { record("b").state, record("b").tries })
  end)

  it("keep the outcome of an order whose record was lost meanwhile, while its entry is there", function()
    local entry, fence = claimed()
    client:call("DEL", "records")
    assert.equal("stale", run("finish", "a", fence, "accepted", "{}", 10, "0-1"))
    assert.equal(false, client:call("HGET", "records", "a"))
    assert.equal("done", repeated("finish", "a", fence, "accepted", "{}", 10, entry))
    assert.same({ "accepted", 0, 0 }, { record("a").state, client:call("XLEN", "stream"), pending() })
  end)

  it("keep what reconciling found, only for an unknown order whose lease is over", function()
    local _, fence = claimed()
    assert.equal("early", repeated("resolve", "a", "open"))
    run("finish", "a", fence, "unknown", "{}", 10, "0-1")
    assert.equal("early", repeated("resolve", "a", "open"))
    assert.equal("known", repeated("resolve", "b", "open"))
    local kept = record("a")
    kept.lease = 0
    client:call("HSET", "records", "a", cjson.encode(kept))
    assert.equal("done", repeated("resolve", "a", "open"))
    assert.equal("done", repeated("resolve", "a", "cancelled"))
    assert.same({ "unknown", "cancelled", 0, 1 },
      { record("a").state, record("a").looked, count "looked open", count "looked cancelled" })
    run("finish", "a", fence, "queue", "{}", 10, "0-1")
    assert.equal("unknown", record("a").state)
    run("finish", "a", fence, "accepted", "{}", 10, "0-1")
    assert.same({ "accepted", 0 }, { record("a").state, count "looked cancelled" })
  end)

  it("let resolve take an order that is sent by nobody any more", function()
    local entry = queued()
    run("claim", entry, "a", "c1", 0)
    core.sleep(0.002)
    assert.equal("done", repeated("resolve", "a", ""))
    assert.same({ "unknown", 0, 0 }, { record("a").state, client:call("XLEN", "stream"), pending() })
  end)

  it("remove the name of a worker only when no entry is pending under it", function()
    local function names() return #client:call("XINFO", "CONSUMERS", "stream", "workers") end
    local _, fence = claimed()
    assert.equal(0, repeated("leave", "me"))
    assert.same({ 1, 1 }, { pending(), names() })
    run("finish", "a", fence, "accepted", "{}", 10, "0-1")
    assert.equal(1, repeated("leave", "me"))
    assert.equal(0, names())
  end)

  describe("permit", function()
    local function permit(...)
      return assert(client:call{ script = scripts.permit, keys = { "limit" }, ... })
    end

    it("grants what the bucket holds, and the same again to the same id", function()
      assert.same({ 3, 0 }, permit("w", "1", 3, 1, 5, 0))
      assert.same({ 3, 0 }, permit("w", "1", 3, 1, 5, 0))
      local reply = permit("v", "1", 5, 1, 5, 0)
      assert.equal(2, reply[1])
      assert.is_true(reply[2] > 500 and reply[2] <= 1000, reply[2])
      assert.equal(0, permit("w", "2", 1, 1, 5, 0)[1])
    end)

    it("grants all without a rate", function()
      assert.same({ 7, 0 }, permit("w", "1", 7, 0, 1, 0))
      assert.equal(false, client:call("HGET", "limit", "next"))
    end)

    it("grants nothing to anyone during a pause, which does not get longer by a repetition", function()
      local first = permit("w", "1", 4, 0, 1, 60000)
      assert.equal(0, first[1])
      assert.is_true(first[2] > 59000 and first[2] <= 60000, first[2])
      local ends = client:call("HGET", "limit", "paused")
      core.sleep(0.002)
      assert.same(first, permit("w", "1", 4, 0, 1, 60000))
      assert.equal(ends, client:call("HGET", "limit", "paused"))
      assert.equal(0, permit("v", "1", 1, 0, 1, 0)[1])
      permit("v", "2", 1, 0, 1, 10)
      assert.equal(ends, client:call("HGET", "limit", "paused"))
    end)
  end)
end)
