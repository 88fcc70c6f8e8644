-- Misuse of the Lua API raises an error that names the line of the user's code, not one of crux's.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

-- An expression that is a mistake, and how its message begins after the position.
local MISUSE = {
  -- crux
  { "crux.cancel_order()", "expected a table of arguments, found nothing" },
  { "crux.get_order(U)", "expected a table of arguments, found string" },
  { "crux:cancel_order{ order_uuid = U }", "expected crux.cancel_order{...}, found crux:" },
  { "crux.new(5)", "expected a table of options, found number" },
  { "crux:new{}", "expected crux.new{...}, found crux:new{...}" },
  -- a client's blocking calls
  { "client:cancel_order()", "expected a table of arguments, found nothing" },
  { "client:get_order(U)", "expected a table of arguments, found string" },
  { "client.cancel_order{ order_uuid = U }", "expected client:cancel_order{...}, found client." },
  { "client.cancel_order(U, {})", "expected client:cancel_order{...}, found client." },
  { "client.cancel_order(17, {})", "expected client:cancel_order{...}, found client." },
  { "client:call('cancel_order')", "expected a table of arguments, found nothing" },
  { "client:call('no', {})", "expected the name of a call, found 'no'; there are " },
  { "client.call('cancel_order', {})", "expected client:call(...), found client.call(...)" },
  { "closed:cancel_order{ order_uuid = U }", "the client is closed" },
  { "closed:call('get_order', { order_uuid = U })", "the client is closed" },
  -- a client's other methods
  { "client:dry_run('no', {})", "expected the name of a call, found 'no'" },
  { "client:dry_run('get_order')", "expected a table of arguments, found nothing" },
  { "client.dry_run('get_order', {})", "expected client:dry_run(...), found client." },
  { "closed:dry_run('get_order', {})", "the client is closed" },
  { "client:submit('no', {})", "expected the name of a call, found 'no'" },
  { "client:submit(('no'):rep(50), {})", "expected the name of a call, found another string" },
  { "client:submit(nil, {})", "expected the name of a call, found a nil" },
  { "client:submit('get_order')", "expected a table of arguments, found nothing" },
  { "client.submit('get_order', {})", "expected client:submit(...), found client." },
  { "client.submit(5, 'get_order', {})", "expected client:submit(...), found client." },
  { "closed:submit('get_order', { order_uuid = U })", "the client is closed" },
  { "client:cancel_orders(5)", "cancel_orders: expected a list of orders or an iterator" },
  { "client:cancel_orders({}, 5)", "cancel_orders: expected a table of options, found number" },
  { "client:cancel_orders{ {}, nil, {} }", "cancel_orders: items[2]: expected a table of arguments" },
  { "client:batch('cancel_orders', {})", "expected the name of a call, found 'cancel_orders'" },
  { "client.cancel_orders({})", "expected client:cancel_orders(...), found client." },
  { "closed:cancel_orders{}", "the client is closed" },
  -- a pending
  { "client:submit('get_order', { order_uuid = U }):wait('5')", "expected a number of seconds" },
  { "client:submit('get_order', { order_uuid = U }):wait(0 / 0)", "expected a number of seconds" },
  { "pending.wait(5)", "expected pending:wait(...), found pending.wait(...): write a colon" },
  { "pending.poll()", "expected pending:poll(...), found pending.poll(...): write a colon" },
  { "pending.abort()", "expected pending:abort(...), found pending.abort(...): write a colon" },
  { "waits_for_itself()", "wait called from the call's own callback" },
}

for _, name in ipairs{ "step", "pollfd", "events", "timeout" } do
  MISUSE[#MISUSE + 1] = { "closed:" .. name .. "()", "the client is closed" }
end
for _, name in ipairs{ "step", "pollfd", "events", "timeout", "in_flight", "close" } do
  for _, arguments in ipairs{ "()", "(5)" } do
    local message = "expected client:" .. name .. "(...), found client."
    MISUSE[#MISUSE + 1] = { "client." .. name .. arguments, message }
  end
end

local scope = { crux = crux, U = helper.ORDER }
local server

-- Compiles a user's program; the expression stands on its third line.
local function user_program(expression)
  local source = ("\n\nlocal first, second = %s\nreturn first, second"):format(expression)
  if setfenv then return setfenv(assert(loadstring(source, "=user")), scope) end
  return assert(load(source, "=user", "t", scope))
end

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  scope.client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
  scope.closed = assert(crux.new{ token = helper.TOKEN })
  scope.closed:close()
  scope.pending = scope.client:submit("get_order", { order_uuid = helper.ORDER })
  -- what a wait on the third line of `on_event` raises
  function scope.waits_for_itself()
    local pending, raised
    local wait = user_program("pending:wait()")
    local function on_event(event)
      if event.name ~= "response" then return end
      local before = scope.pending
      scope.pending = pending
      raised = select(2, pcall(wait))
      scope.pending = before
    end
    local arguments = { order_uuid = helper.ORDER, on_event = on_event }
    pending = scope.client:submit("get_order", arguments)
    pending:wait(5)
    error(raised, 0)
  end
end)

teardown(function()
  scope.client:close()
  server:close()
end)

describe("an error for misuse names the user's line:", function()
  for _, row in ipairs(MISUSE) do
    local expression, message = row[1], row[2]
    it(expression, function()
      local ok, raised = pcall(user_program(expression))
      assert.is_false(ok)
      local position, rest = raised:match("^(user:3: )(.*)")
      assert.equal("user:3: ", position, raised)
      assert.equal(message, rest:sub(1, #message))
      helper.clean(raised)
    end)
  end

  -- crux.resty needs nothing of nginx but these names until a light thread waits.
  it("crux.resty where a light thread cannot wait", function()
    local printed = helper.child([[
      local function none() end
      package.loaded.ffi = {}
      package.loaded["ngx.semaphore"] = {}
      ngx = { get_phase = function() return "log" end, sleep = none, timer = { at = none },
        socket = { tcp = none } }
      package.loaded.ngx = ngx
      local crux = require "crux.resty"
      local client = crux.new{ token = "t" }
      local load = loadstring or load
      for _, call in ipairs{ "crux.get_order(args)", "client:get_order(args)",
          "client:call('get_order', args)", "crux:get_order{}", "crux.new(1)" } do
        local source = "local crux, client, args = ...\nlocal result = " .. call .. " return result"
        print(select(2, pcall(load(source, "=user"), crux, client, {})))
      end]])
    local log = "user:2: crux.resty: expected a phase that can wait, found 'log': "
      .. "hand the call to ngx.timer.at(0, …)\n"
    assert.equal(log:rep(3)
      .. "user:2: expected crux.get_order{...}, found crux:get_order{...}: write a dot\n"
      .. "user:2: expected a table of options, found number", printed)
  end)
end)
