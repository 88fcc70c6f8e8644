--- Users of the sandbox, and the tokens issued to them.
-- @module crux.sandbox.accounts

local cqueues = require "cqueues"
local rand = require "openssl.rand"
local json = require "crux.sandbox.json"
local orders = require "crux.sandbox.orders"

local accounts = {}

local function user(name, kind, permissions)
  return {
    username = name, password = name, kind = kind, permissions = permissions, uuid = orders.uuid(),
  }
end

local Accounts = {}
Accounts.__index = Accounts

--- Users whose names are also their passwords: `retailer`, `supplier`, and the retailer's `clerk`,
-- who may not cancel.
-- @tparam number lifetime seconds that a token is good for
function accounts.new(lifetime)
  return setmetatable({
    lifetime = lifetime,
    tokens = {},
    users = {
      retailer = user("retailer", "RETAILER",
        { cancel_order = true, view_order = true, create_order = true }),
      clerk = user("clerk", "RETAILER", { view_order = true }),
      supplier = user("supplier", "SUPPLIER", { cancel_order = true, view_order = true }),
    },
  }, Accounts)
end

--- Issue a token.
-- @tparam table owner one of `users`
-- @tparam[opt] number lifetime instead of the usual
function Accounts:issue(owner, lifetime)
  local token = rand.bytes(20):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  self.tokens[token] = { user = owner, expires = cqueues.monotime() + (lifetime or self.lifetime) }
  return token
end

--- Whose is this `Authorization` header?
-- @treturn[1] table the user
-- @treturn[2] nil
-- @treturn[2] string what is wrong with it
function Accounts:identify(header)
  if not header then return nil, "Authentication credentials were not provided." end
  local token = header:match("^[Tt]oken (%S+)$")
  if not token then return nil, "Invalid token header." end
  local entry = self.tokens[token]
  if not entry then return nil, "Invalid token." end
  if entry.expires <= cqueues.monotime() then return nil, "Token has expired." end
  return entry.user
end

--- What a login answers.
function Accounts:login(owner)
  local retailer = owner.kind == "RETAILER"
  local org = retailer and orders.RETAILER or orders.SUPPLIER
  local permissions = json.list()
  for i, name in ipairs{ "cancel_order", "create_order", "view_order" } do
    permissions[i] = {
      assigned = owner.permissions[name] == true,
      permission = {
        uuid = orders.uuid(), name = name, display_name = (name:gsub("_", " ")), description = "",
        visibility = "PUBLIC", grouping = "ORDERS",
      },
    }
  end
  return {
    auth_token = self:issue(owner), org_uuid = org.uuid, user_uuid = owner.uuid,
    org_type = owner.kind,
    retailer_uuid = retailer and org.uuid or "", supplier_uuid = retailer and "" or org.uuid,
    permission_assignments = { permissions = permissions, org_user = { uuid = owner.uuid } },
  }
end

return accounts
