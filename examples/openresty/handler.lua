-- An endpoint of one's own: POST /cancel/<order UUID>, with {"skus": […]} or nothing as the body. What is answered tells
-- whoever asked what they may do next.
local cjson = require "cjson.safe"
local crux = require "crux.resty"

-- One client for all requests of a worker. The token and the base URL come from the environment.
local client, fault = crux.new{ timeout = 10, ca_file = os.getenv "SANDBOX_CA_FILE" }
if not client then error(tostring(fault)) end

local handler = {}

local function answer(status, body)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.print(cjson.encode(body), "\n")
end

local function arguments()
  ngx.req.read_body()
  local text = ngx.req.get_body_data()
  local body = text and cjson.decode(text)
  if text and type(body) ~= "table" then return nil, "expected a JSON object as the body" end
  return { order_uuid = ngx.var.uri:match("^/cancel/([^/]*)$"), skus = body and body.skus }
end

function handler.cancel()
  if ngx.req.get_method() ~= "POST" then return answer(405, { reason = "expected POST" }) end
  local order, why = arguments()
  if not order then return answer(400, { reason = why }) end

  local result, err = client:cancel_order(order) -- this request waits, the worker does not
  if result then return answer(202, { outcome = "accepted" }) end

  ngx.log(ngx.WARN, tostring(err))
  local said = { outcome = err.outcome, reason = err.detail or err.message, field = err.field, fields = err.fields }
  if err.kind == "invalid" then
    answer(400, said)
  elseif err.outcome == "rejected" then
    answer(err.status >= 400 and err.status or 502, said)
  elseif err.outcome == "not_sent" then
    ngx.header["Retry-After"] = 1
    said.advice = "not sent, try again"
    answer(503, said)
  else
    said.advice = "unknown, look before you retry"
    answer(504, said)
  end
end

return handler
