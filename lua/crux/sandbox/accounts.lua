--- Users of the sandbox, and the tokens issued to them.
-- @module crux.sandbox.accounts

local cqueues = require "cqueues"
local rand = require "openssl.rand"
local json = require "crux.sandbox.json"
local orders = require "crux.sandbox.orders"

local accounts = {}

local function user(name, org, permissions)
  return {
    username = name, password = name, org = org, permissions = permissions, uuid = orders.uuid(),
    kind = org == orders.RETAILER and "RETAILER" or "SUPPLIER",
  }
end

local Accounts = {}
Accounts.__index = Accounts

--- Users whose names are also their passwords: `retailer`, `supplier`, `other_supplier`, and the
-- retailer's `clerk`, who may not cancel.
-- @tparam number lifetime seconds that a token is good for
-- @tparam[opt] boolean revoke whether a login ends the user's earlier tokens
-- @tparam[opt] function keep called with a token, its user's name (false once it was revoked) and
--   the time when it expires
function accounts.new(lifetime, revoke, keep)
  return setmetatable({
    lifetime = lifetime,
    revoke = revoke,
    keep = keep or function() end,
    tokens = {},
    users = {
      retailer = user("retailer", orders.RETAILER, {
        cancel_order = true, view_order = true, create_order = true,
      }),
      clerk = user("clerk", orders.RETAILER, { view_order = true }),
      supplier = user("supplier", orders.SUPPLIER, { cancel_order = true, view_order = true }),
      other_supplier = user("other_supplier", orders.OTHER_SUPPLIER, {
        cancel_order = true, view_order = true,
      }),
    },
  }, Accounts)
end

--- Issue a token.
-- @tparam table owner one of `users`
-- @tparam[opt] number lifetime instead of the usual
function Accounts:issue(owner, lifetime)
  local token = rand.bytes(20):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  self.tokens[token] = { user = owner, expires = cqueues.monotime() + (lifetime or self.lifetime) }
  self.keep(token, owner.username, self.tokens[token].expires)
  return token
end

--- Put a token back that was kept.
function Accounts:restore(token, username, expires)
  if username then self.tokens[token] = { user = self.users[username], expires = expires } end
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
  for token, entry in pairs(self.tokens) do
    if self.revoke and entry.user == owner then
      self.tokens[token] = nil
      self.keep(token, false, 0)
    end
  end
  local retailer = owner.kind == "RETAILER"
  local org = owner.org
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
