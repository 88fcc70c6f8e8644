-- The handler of POST /cancel/<order UUID>, whose body is {"skus": [...]} or empty. The status of the response tells
-- the caller whether to try again.
local cjson = require "cjson.safe"
local crux = require "crux.resty"

-- One client for all requests of a worker process. CRUX_TOKEN, CRUX_BASE_URL and CRUX_CA_FILE set the token, the
-- service and the authority to trust.
local client = crux.assert(crux.new{ timeout = 10 })

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

  local result, err = client:cancel_order(order) -- suspends this request, not the worker
  if result then return answer(202, { outcome = "accepted" }) end

  ngx.log(ngx.WARN, tostring(err))
  local response = { outcome = err.outcome, reason = err.detail or err.message, field = err.field, fields = err.fields }
  if err.kind == "invalid" then
    answer(400, response)
  elseif err.outcome == "rejected" then
    answer(err.status >= 400 and err.status or 502, response)
  elseif err.outcome == "not_sent" then
    ngx.header["Retry-After"] = 1
    response.advice = "not sent, try again"
    answer(503, response)
  else
    response.advice = "unknown, read the order before you retry"
    answer(504, response)
  end
end

return handler
