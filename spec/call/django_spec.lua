-- What crux makes of the error responses of Django REST Framework, of Django's own pages, and of
-- the pages of an nginx in front of it: the recorded bytes of spec/support/django.lua.
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local responses = require "spec.support.django"

local server

setup(function() server = fault.serve{ script = helper.ANSWER } end)
teardown(fault.stop)

local FIELDS_HINT = "something required is missing or malformed: see err.fields"
local BAD_HINT = "something required is missing or malformed"
local TOKEN_HINT = "the token is wrong or has expired: tokens expire two hours after they were "
  .. "issued, log in again"
local URL_HINT = "no such URL: check base_url and api"
local LOOK_HINT = "it may have been carried out: look with get_order before sending it again"

-- By name: `tostring(err)`, `err.detail`, `err.fields`, `err.hint`; and, where it is not nil,
-- `err.retry_after`.
local EXPECTED = {
  ["ValidationError of a field"] = {
    "rejected (http): HTTP 400 Bad Request: order_uuid: Must be a valid UUID.",
    nil, { order_uuid = { "Must be a valid UUID." } }, FIELDS_HINT,
  },
  ["ValidationError of a field that is missing"] = {
    "rejected (http): HTTP 400 Bad Request: order_uuid: This field is required.",
    nil, { order_uuid = { "This field is required." } }, FIELDS_HINT,
  },
  ["ValidationError of a field, a text"] = {
    "rejected (http): HTTP 400 Bad Request: order_uuid: No such order.",
    nil, { order_uuid = { "No such order." } }, FIELDS_HINT,
  },
  ["ValidationError, nested"] = {
    "rejected (http): HTTP 400 Bad Request: allocation.quantity_ordered: This field is required.",
    nil,
    {
      ["org_uuids[2]"] = { "Must be a valid UUID." },
      ["sort.key"] = { "This field may not be null." },
      ["allocation.quantity_ordered"] = { "This field is required." },
    },
    FIELDS_HINT,
  },
  ["ValidationError of a list with items in order"] = {
    "rejected (http): HTTP 400 Bad Request: skus[2].quantity: "
      .. "Ensure this value is greater than or equal to 1.",
    nil,
    {
      ["skus[2].supplier_uuid"] = { "Must be a valid UUID." },
      ["skus[2].quantity"] = { "Ensure this value is greater than or equal to 1." },
      ["skus[3].price"] = { "Ensure that there are no more than 2 decimal places." },
    },
    FIELDS_HINT,
  },
  ["ValidationError of an item of a list"] = {
    "rejected (http): HTTP 400 Bad Request: skus[1]: Quantity is more than was ordered.",
    nil, { ["skus[1]"] = { "Quantity is more than was ordered." } }, FIELDS_HINT,
  },
  ["ValidationError of a list"] = {
    "rejected (http): HTTP 400 Bad Request: skus: This list may not be empty.",
    nil, { skus = { "This list may not be empty." } }, FIELDS_HINT,
  },
  ["ValidationError of a list that is none"] = {
    'rejected (http): HTTP 400 Bad Request: skus: Expected a list of items but got type "dict".',
    nil, { skus = { 'Expected a list of items but got type "dict".' } }, FIELDS_HINT,
  },
  ["ValidationError of the whole"] = {
    "rejected (http): HTTP 400 Bad Request: The order is closed.",
    nil, { [""] = { "The order is closed.", "Ask the supplier." } }, FIELDS_HINT,
  },
  ["ValidationError of a body that is a list"] = {
    "rejected (http): HTTP 400 Bad Request: Invalid data. Expected a dictionary, but got list.",
    nil, { [""] = { "Invalid data. Expected a dictionary, but got list." } }, FIELDS_HINT,
  },
  ["ValidationError, a text"] = {
    "rejected (http): HTTP 400 Bad Request: This order is no longer pending.",
    "This order is no longer pending.", { [""] = { "This order is no longer pending." } },
    FIELDS_HINT,
  },
  ["ParseError"] = {
    "rejected (http): HTTP 400 Bad Request: "
      .. "JSON parse error - Expecting value: line 1 column 15 (char 14)",
    "JSON parse error - Expecting value: line 1 column 15 (char 14)", nil, BAD_HINT,
  },
  ["NotAuthenticated"] = {
    "rejected (auth): HTTP 401 Unauthorized: Authentication credentials were not provided.",
    "Authentication credentials were not provided.", nil, TOKEN_HINT,
  },
  ["AuthenticationFailed"] = {
    "rejected (auth): HTTP 401 Unauthorized: Invalid token.", "Invalid token.", nil, TOKEN_HINT,
  },
  ["PermissionDenied"] = {
    "rejected (http): HTTP 403 Permission Denied: "
      .. "You do not have permission to perform this action.",
    "You do not have permission to perform this action.", nil,
    "the token's user lacks the permission cancel_order",
  },
  ["NotFound"] = { "rejected (http): HTTP 404 Not Found: Not found.", "Not found.", nil, URL_HINT },
  ["Django's page for a URL that is none"] = {
    "rejected (http): HTTP 404 Not Found", nil, nil, URL_HINT,
  },
  ["MethodNotAllowed"] = {
    'rejected (http): HTTP 405 Method Not Allowed: Method "DELETE" not allowed.',
    'Method "DELETE" not allowed.', nil,
    "the URL does not take this method: is base_url the service's own, with no path too many?",
  },
  ["nginx's page for 413"] = { "rejected (http): HTTP 413" },
  ["UnsupportedMediaType"] = {
    'rejected (http): HTTP 415 Unsupported Media Type: Unsupported media type "text/plain" in '
      .. "request.",
    'Unsupported media type "text/plain" in request.', nil,
    "the Content-Type did not arrive as application/json: does a proxy change it?",
  },
  ["APIException with 422"] = {
    "rejected (http): HTTP 422 Unprocessable Entity: This order cannot be cancelled.",
    "This order cannot be cancelled.", nil,
    "the order is unknown, or cannot be cancelled any more: look at it with get_order",
  },
  ["Throttled"] = {
    "rejected (http): HTTP 429 Too Many Requests: "
      .. "Request was throttled. Expected available in 60 seconds.",
    "Request was throttled. Expected available in 60 seconds.", nil,
    "wait before the next call, as long as err.retry_after says", 60,
  },
  ["APIException"] = {
    "unknown (http): HTTP 500 Internal Server Error: A server error occurred.",
    "A server error occurred.", nil, LOOK_HINT,
  },
  ["Django's page for an exception"] = {
    "unknown (http): HTTP 500 Internal Server Error", nil, nil, LOOK_HINT,
  },
  ["nginx's page for 502"] = { "unknown (http): HTTP 502 Bad Gateway", nil, nil, LOOK_HINT },
  ["no body"] = { "unknown (http): HTTP 502 Bad Gateway", nil, nil, LOOK_HINT },
  ["nginx's page for 503"] = {
    "unknown (http): HTTP 503 Service Unavailable", nil, nil, LOOK_HINT,
  },
  ["nginx's page for 504"] = { "unknown (http): HTTP 504 Gateway Timeout", nil, nil, LOOK_HINT },
}

describe("an error response of Django REST Framework:", function()
  for _, response in ipairs(responses) do
    it(response.name, function()
      server:set{ answer = response.bytes }
      local result, err = helper.call(core.cancel_order, helper.arguments(server))
      local expected = EXPECTED[response.name]
      assert.is_nil(result)
      assert.equal(expected[1], tostring(err))
      assert.equal(expected[2], err.detail)
      assert.same(expected[3], err.fields)
      assert.equal(expected[4], err.hint)
      assert.equal(expected[5], err.retry_after)
      assert.equal(expected[5] ~= nil, err.retryable)
      assert.equal(response.bytes:match("\r\n\r\n(.*)$"), err.raw)
    end)
  end

  it("has one that is expected for each that was recorded", function()
    local names = {}
    for _, response in ipairs(responses) do names[response.name] = true end
    assert.equal(28, #responses)
    for name in pairs(EXPECTED) do assert.is_true(names[name], name) end
  end)
end)
