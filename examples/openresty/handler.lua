-- The handler of POST /cancel/<order UUID>, whose body is {"skus": [...]} or empty. What the
-- service says of our account, our URL or our haste is no fault of our caller, who is told:
--
--   202  the service has passed the request on to the suppliers
--   400  something is wrong with the order's UUID, the SKUs or the body
--   422  the order is unknown, or cannot be cancelled any more
--   502  nothing was carried out, and it is for us to repair: credentials, permission, URL, TLS
--   503  nothing was carried out: try again after as many seconds as Retry-After says
--   504  the order may be cancelled or not: read it before you retry
local cjson = require "cjson.safe"
local crux = require "crux.resty"
local metrics = require "metrics"

-- One client for all requests of a worker process. It logs in by CRUX_USERNAME and CRUX_PASSWORD;
-- the workers share the token. CRUX_BASE_URL and CRUX_CA_FILE are the service and its authority.
local client = crux.assert(crux.new{ timeout = 10, token_cache = ngx.shared.crux_tokens })

local handler = {}

local REASONS = {
  [502] = "not carried out: this server cannot use the service, and its log says why",
  [503] = "not carried out: try again later",
  [504] = "not known whether it was carried out: read the order before you retry",
}

-- Kinds of errors before the send that do not pass by themselves.
local LASTING = { auth = true, proxy = true, tls = true }

local function status_of(err)
  if err.kind == "invalid" then return 400 end
  if err.outcome == "unknown" then return 504 end
  if err.status == 429 or err.retryable then return 503 end
  if err.outcome == "rejected" then
    return (err.status == 400 or err.status == 422) and err.status or 502
  end
  -- nothing was sent, perhaps since a login has failed with that status
  return (LASTING[err.kind] or err.status and err.status < 500) and 502 or 503
end

local function answer(status, body)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.print(cjson.encode(body), "\n")
end

-- Takes nothing else of the body: other fields would be options of the call.
local function read_skus()
  ngx.req.read_body()
  local text = ngx.req.get_body_data()
  if ngx.req.get_body_file() then return nil, "expected a shorter body" end
  if not text then return nil end
  local body = text:find("^%s*{") and cjson.decode(text)
  if not body then return nil, "expected a JSON object as the body" end
  for name in pairs(body) do
    if name ~= "skus" then return nil, "expected no field but 'skus' in the body" end
  end
  return body.skus
end

function handler.cancel()
  local id = ngx.var.request_id -- read once: each reading may give another one
  ngx.header["X-Request-Id"] = id
  if ngx.req.get_method() ~= "POST" then
    ngx.header["Allow"] = "POST"
    return answer(405, { reason = "expected POST" })
  end
  local skus, why = read_skus()
  if why then return answer(400, { outcome = "not_sent", reason = why }) end

  local began = ngx.now()
  local result, err = client:cancel_order{ -- suspends this request, not the worker
    order_uuid = ngx.var.uri:match("^/cancel/([^/]*)$") or "", skus = skus,
    headers = { ["X-Request-Id"] = id },
  }
  metrics.count(result or err, ngx.now() - began)
  if result then return answer(202, { outcome = "accepted" }) end

  local status = status_of(err)
  ngx.log(status == 502 and ngx.ERR or ngx.WARN, "request ", id, ": ", tostring(err))
  if status == 503 then ngx.header["Retry-After"] = err.retry_after or 1 end
  answer(status, status < 500 and {
    outcome = err.outcome, reason = err.detail or err.message, field = err.field,
    fields = err.fields,
  } or { outcome = err.outcome, reason = REASONS[status] })
end

return handler
