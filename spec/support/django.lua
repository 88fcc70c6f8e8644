--- Error responses of Django REST Framework, and of what stands around it. They were recorded from
-- Django REST Framework 3.14 under Django 3.2 with DEBUG off, behind nginx 1.22: each exception was
-- raised by the framework's own fields, parsers, throttles and authentication. Of the headers,
-- those that say nothing about the error (Date, Server, Allow but for a 405, security) were left
-- out. The one without a body is not recorded.
--
--     local responses = require "spec.support.django"
--     responses[1].name, responses[1].bytes
-- @module spec.support.django

-- nginx's own pages differ in their title alone.
local function page(title)
  local text = "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>"
    .. "\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
  return text:format(title, title)
end

-- Django's, without a template of the site's own.
local function django_page(title, text)
  local form = '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>%s</title>\n</head>\n<body>\n'
    .. "  <h1>%s</h1><p>%s</p>\n</body>\n</html>\n"
  return form:format(title, title, text)
end

-- name, status line, body, and a header line that goes with the error
local RECORDED = {
  { "ValidationError of a field", "400 Bad Request", '{"order_uuid":["Must be a valid UUID."]}' },
  {
    "ValidationError of a field that is missing", "400 Bad Request",
    '{"order_uuid":["This field is required."]}',
  },
  { "ValidationError of a field, a text", "400 Bad Request", '{"order_uuid":"No such order."}' },
  {
    "ValidationError, nested", "400 Bad Request",
    '{"org_uuids":{"1":["Must be a valid UUID."]},"sort":{"key":["This field may not be null."]},'
      .. '"allocation":{"quantity_ordered":["This field is required."]}}',
  },
  {
    "ValidationError of a list with items in order", "400 Bad Request",
    '{"skus":[{},{"supplier_uuid":["Must be a valid UUID."],'
      .. '"quantity":["Ensure this value is greater than or equal to 1."]},'
      .. '{"price":["Ensure that there are no more than 2 decimal places."]}]}',
  },
  {
    "ValidationError of an item of a list", "400 Bad Request",
    '{"skus":[{"non_field_errors":["Quantity is more than was ordered."]},{}]}',
  },
  {
    "ValidationError of a list", "400 Bad Request",
    '{"skus":{"non_field_errors":["This list may not be empty."]}}',
  },
  {
    "ValidationError of a list that is none", "400 Bad Request",
    [[{"skus":{"non_field_errors":["Expected a list of items but got type \"dict\"."]}}]],
  },
  {
    "ValidationError of the whole", "400 Bad Request",
    '{"non_field_errors":["The order is closed.","Ask the supplier."]}',
  },
  {
    "ValidationError of a body that is a list", "400 Bad Request",
    '{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}',
  },
  { "ValidationError, a text", "400 Bad Request", '["This order is no longer pending."]' },
  {
    "ParseError", "400 Bad Request",
    '{"detail":"JSON parse error - Expecting value: line 1 column 15 (char 14)"}',
  },
  {
    "NotAuthenticated", "401 Unauthorized",
    '{"detail":"Authentication credentials were not provided."}', "WWW-Authenticate: Token",
  },
  {
    "AuthenticationFailed", "401 Unauthorized", '{"detail":"Invalid token."}',
    "WWW-Authenticate: Token",
  },
  {
    "PermissionDenied", "403 Forbidden",
    '{"detail":"You do not have permission to perform this action."}',
  },
  { "NotFound", "404 Not Found", '{"detail":"Not found."}' },
  {
    "Django's page for a URL that is none", "404 Not Found",
    django_page("Not Found", "The requested resource was not found on this server."),
  },
  {
    "MethodNotAllowed", "405 Method Not Allowed", [[{"detail":"Method \"DELETE\" not allowed."}]],
    "Allow: POST, PATCH, OPTIONS",
  },
  { "nginx's page for 413", "413 Request Entity Too Large", page "413 Request Entity Too Large" },
  {
    "UnsupportedMediaType", "415 Unsupported Media Type",
    [[{"detail":"Unsupported media type \"text/plain\" in request."}]],
  },
  {
    "APIException with 422", "422 Unprocessable Entity",
    '{"detail":"This order cannot be cancelled."}',
  },
  {
    "Throttled", "429 Too Many Requests",
    '{"detail":"Request was throttled. Expected available in 60 seconds."}', "Retry-After: 60",
  },
  { "APIException", "500 Internal Server Error", '{"detail":"A server error occurred."}' },
  {
    "Django's page for an exception", "500 Internal Server Error",
    django_page("Server Error (500)", ""),
  },
  { "nginx's page for 502", "502 Bad Gateway", page "502 Bad Gateway" },
  { "no body", "502 Bad Gateway", "" },
  {
    "nginx's page for 503", "503 Service Temporarily Unavailable",
    page "503 Service Temporarily Unavailable",
  },
  { "nginx's page for 504", "504 Gateway Time-out", page "504 Gateway Time-out" },
}

local responses = {}

for i, row in ipairs(RECORDED) do
  local name, status, body, header = row[1], row[2], row[3], row[4]
  local media = body:find("^[%[{]") and "application/json" or "text/html"
  local lines = {
    "HTTP/1.1 " .. status, "Content-Type: " .. media, "Content-Length: " .. #body, header,
  }
  responses[i] = { name = name, bytes = table.concat(lines, "\r\n") .. "\r\n\r\n" .. body }
end

return responses
