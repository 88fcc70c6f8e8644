--- Pages through `list_orders`: each order once, while orders arrive and vanish.
--
-- The service documents `limit` as the last position of a page, with examples that suit the size of
-- a page as well. The pager asks in a way that both readings answer without a gap, and takes
-- `limit` for a size from the first page on that brings more than was asked for.
-- @module crux.orders
local core = require "crux.core"
local unreadable = require "crux.unreadable"

local next, rawget, type = next, rawget, type
local floor, max = math.floor, math.max
local find, format = string.find, string.format

local PAGE, LEAST, MOST = 50, 3, 10000
-- Pages in a row without a new order, after which there are no more.
local STALE_PAGES = 2

local function invalid(field, message)
  local err = core.failure("invalid", format("%s: %s", field, message))
  err.field = field
  return err
end

local function check_page(page)
  if page == nil or page == core.null then return PAGE end
  if type(page) == "number" and page >= LEAST and page <= MOST and page == floor(page) then
    return page
  end
  return nil, invalid("page", format("expected a whole number from %d to %d, found %s", LEAST, MOST,
    type(page) == "number" and format("%.14g", page) or "a " .. type(page)))
end

-- The arguments of `list_orders`, and the page's size; or nil and an error.
local function read(filter)
  local arguments = {}
  for name, value in next, filter do arguments[name] = value end
  for _, name in next, { "start", "limit" } do
    if arguments[name] ~= nil then
      return nil, invalid(name, "expected none: the pager sets it; see `page`")
    end
  end
  local page, err = check_page(arguments.page)
  arguments.page = nil
  if not page then return nil, err end
  return arguments, page
end

local function uuid_of(order)
  if type(order) ~= "table" then return nil end
  return rawget(order, "uuid") or rawget(order, "order_uuid")
end

-- The list of orders of a result, each with a UUID to know it by; else nil.
local function orders_in(result)
  local list = type(result.body) == "table" and rawget(result.body, "orders")
  if type(list) ~= "table" then return nil end
  for index = 1, #list do
    if type(uuid_of(list[index])) ~= "string" then return nil end
  end
  return list
end

local function is_over_limit(result)
  local why = result.meta.body_error
  return why ~= nil and find(why, "longer than max_body", 1, true) == 1
end

-- A pager is a table of `client`, `arguments`, `page`, `start` and
--
-- - `is_size`: `limit` is the size of a page;
-- - `is_full`: the last page brought as many orders as were asked for;
-- - `seen`: the set of UUIDs so far;
-- - `stale`: pages in a row without a new order.

-- Asks for the page at `self.start`; smaller ones, as long as the body is over `max_body`.
local function request(self)
  while true do
    local arguments = self.arguments
    arguments.start = self.start
    arguments.limit = self.is_size and self.page or self.start + self.page - 1
    local result, err = self.client:list_orders(arguments)
    if not result then return nil, err end
    local list = orders_in(result)
    if list then return list end
    if not is_over_limit(result) or self.page == LEAST then
      return nil, unreadable("list_orders", "a list of orders", result)
    end
    self.page = max(floor(self.page / 2), LEAST)
  end
end

-- A gap: pages overlap by one order, and this one does not begin with an order that was seen.
-- Orders before it have vanished, and those that follow the last one seen have moved to positions
-- before this page. An empty page is a gap if the one before was full, else it is the end.
local function has_gap(self, list)
  if self.start == 0 then return false end
  if list[1] == nil then return self.is_full end
  return not self.seen[uuid_of(list[1])]
end

local function take_new(self, list)
  local fresh, seen = {}, self.seen
  for index = 1, #list do
    local uuid = uuid_of(list[index])
    if not seen[uuid] then
      seen[uuid] = true
      fresh[#fresh + 1] = list[index]
    end
  end
  return fresh
end

-- Reads pages until one has new orders: a list of these; or nil at the end, and an error, if one
-- was the end.
local function advance(self)
  while self.stale < STALE_PAGES do
    local list, err = request(self)
    if not list then return nil, err end
    local count = #list
    self.is_size = self.is_size or count > self.page
    if has_gap(self, list) then
      self.start = max(self.start - self.page + 1, 0)
    elseif count == 0 then return nil
    else
      local fresh = take_new(self, list)
      self.start = self.start + count - 1 -- pages overlap by one order
      self.is_full = count >= self.page - 1
      self.stale = fresh[1] == nil and self.stale + 1 or 0
      if fresh[1] ~= nil then return fresh end
    end
  end
  return nil
end

--- An iterator over the orders that a filter finds; see `Client:orders`.
-- @tparam crux.client client or another object with `list_orders`
-- @tparam table filter
-- @treturn function
-- @local
return function(client, filter)
  local arguments, page = read(filter)
  local pager = arguments and {
    client = client, arguments = arguments, page = page,
    start = 0, is_size = false, is_full = false, seen = {}, stale = 0,
  }
  local list, position, failed, ended = {}, 0, not pager and page or nil, false
  return function()
    if ended then return nil end
    position = position + 1
    if not failed and list[position] == nil then
      list, failed = advance(pager)
      position = 1
    end
    if list and not failed then return list[position] end
    ended = true
    if failed then return false, failed end
    return nil
  end
end
