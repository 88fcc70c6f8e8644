--- The arguments of a cancellation, made anew for each call, as by a program that takes them from
-- a file: two UUIDs and one SKU.
-- @module spec.bench.arguments
local ROWS, WIDTH = 1000, 36 + 36 + 6
local sub = string.sub

local rows = {}
for i = 1, ROWS do
  local uuid = "54a31ec5-b0be-4a92-af4c-%012d"
  rows[i] = uuid:format(i) .. uuid:format(ROWS + i) .. ("%06d"):format(i)
end
local file = table.concat(rows)

--- Makes the arguments.
-- @tparam number n which
-- @treturn table
return function(n)
  local at = n % ROWS * WIDTH
  local supplier_uuid, sku_id = sub(file, at + 37, at + 72), sub(file, at + 73, at + 78)
  return {
    order_uuid = sub(file, at + 1, at + 36),
    skus = { { supplier_uuid = supplier_uuid, sku_id = sku_id, quantity = 2 } },
  }
end
