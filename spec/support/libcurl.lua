--- The versions at which crux does something differently with libcurl, and what some libcurl cannot
-- do. Specs hold the code to these lists: a new branch has to be listed here, and is then looked at
-- from both sides.
-- @module spec.support.libcurl

local libcurl = {}

--- The oldest that crux is made for.
libcurl.OLDEST = 0x074000

--- At run time: CRUX_CURL_… of csrc/http/libcurl.h.
libcurl.RUN_TIME = {
  CLOSES_AT_ONCE = 0x075500, OWN_BIO = 0x075700, CA_CACHE = 0x075700, NULL_IS_DEFAULT = 0x081500,
}

--- From here on libcurl offers a ticket of TLS 1.3 to one connection, and keeps up to two for a
-- server. crux does nothing differently.
libcurl.TICKETS_ARE_TAKEN = 0x080c00

--- At compile time: the version that csrc asks for, and the names that it uses only from there on.
libcurl.COMPILE_TIME = {
  [0x074100] = { "CURLUPART_ZONEID" },
  [0x074600] = { "CURLVERSION_SEVENTH", "cainfo", "capath" },
  [0x074d00] = {
    "CURLOPT_CAINFO_BLOB", "CURLOPT_PROXY_CAINFO_BLOB", "CURL_BLOB_NOCOPY", "curl_blob",
  },
  [0x075700] = { "CURLOPT_QUICK_EXIT" },
  [0x081400] = { "CURLMOPT_QUICK_EXIT", "CURLMOPT_RESOLVE_THREADS_MAX" },
}

-- What csrc uses of the oldest one's headers.
local NAMES = [[
  CURL CURLE_AGAIN CURLE_BAD_FUNCTION_ARGUMENT CURLE_COULDNT_CONNECT CURLE_COULDNT_RESOLVE_HOST
  CURLE_COULDNT_RESOLVE_PROXY CURLE_FAILED_INIT CURLE_GOT_NOTHING CURLE_NOT_BUILT_IN CURLE_OK
  CURLE_OPERATION_TIMEDOUT CURLE_OUT_OF_MEMORY CURLE_PARTIAL_FILE CURLE_PEER_FAILED_VERIFICATION
  CURLE_RECV_ERROR CURLE_SSL_CACERT_BADFILE CURLE_SSL_CERTPROBLEM CURLE_SSL_CIPHER
  CURLE_SSL_CONNECT_ERROR CURLE_SSL_CRL_BADFILE CURLE_SSL_ENGINE_INITFAILED
  CURLE_SSL_ENGINE_NOTFOUND CURLE_SSL_ENGINE_SETFAILED CURLE_SSL_INVALIDCERTSTATUS
  CURLE_SSL_ISSUER_ERROR CURLE_SSL_PINNEDPUBKEYNOTMATCH CURLE_SSL_SHUTDOWN_FAILED
  CURLE_UNKNOWN_OPTION CURLE_UNSUPPORTED_PROTOCOL CURLE_USE_SSL_FAILED CURLE_WEIRD_SERVER_REPLY
  CURLINFO CURLINFO_ACTIVESOCKET CURLINFO_APPCONNECT_TIME_T CURLINFO_CONNECT_TIME_T
  CURLINFO_HTTP_CONNECTCODE CURLINFO_NAMELOOKUP_TIME_T CURLINFO_OS_ERRNO CURLINFO_PRIVATE CURLM
  CURLMOPT_MAXCONNECTS CURLMOPT_SOCKETDATA CURLMOPT_SOCKETFUNCTION CURLMOPT_TIMERDATA
  CURLMOPT_TIMERFUNCTION CURLM_OK CURLMsg CURLOPT_BUFFERSIZE CURLOPT_CAINFO CURLOPT_CAPATH
  CURLOPT_CLOSESOCKETDATA CURLOPT_CLOSESOCKETFUNCTION CURLOPT_CONNECTTIMEOUT_MS
  CURLOPT_CONNECT_ONLY CURLOPT_DNS_CACHE_TIMEOUT CURLOPT_ERRORBUFFER CURLOPT_FRESH_CONNECT
  CURLOPT_HTTPPROXYTUNNEL CURLOPT_HTTP_VERSION CURLOPT_KEYPASSWD CURLOPT_NOPROXY CURLOPT_NOSIGNAL
  CURLOPT_OPENSOCKETDATA CURLOPT_OPENSOCKETFUNCTION CURLOPT_PRIVATE CURLOPT_PROXY
  CURLOPT_PROXY_CAINFO CURLOPT_PROXY_CAPATH CURLOPT_PROXY_KEYPASSWD CURLOPT_PROXY_SSLCERT
  CURLOPT_PROXY_SSLKEY CURLOPT_PROXY_SSLVERSION CURLOPT_SHARE CURLOPT_SSLCERT CURLOPT_SSLKEY
  CURLOPT_SSLVERSION CURLOPT_SSL_VERIFYHOST CURLOPT_SSL_VERIFYPEER
  CURLOPT_SUPPRESS_CONNECT_HEADERS CURLOPT_TIMEOUT_MS CURLOPT_URL CURLOPT_WRITEFUNCTION CURLSH
  CURLSHE_NOT_BUILT_IN CURLSHE_OK CURLSHOPT_SHARE CURLSHcode CURLU CURLUE_OK CURLUE_OUT_OF_MEMORY
  CURLUPART_FRAGMENT CURLUPART_HOST CURLUPART_PASSWORD CURLUPART_PATH CURLUPART_PORT
  CURLUPART_QUERY CURLUPART_SCHEME CURLUPART_URL CURLUPART_USER CURLUPart CURLU_GUESS_SCHEME
  CURLU_NON_SUPPORT_SCHEME CURLU_NO_DEFAULT_PORT CURLU_PATH_AS_IS CURLUcode CURLVERSION_NOW
  CURL_CSELECT_ERR CURL_CSELECT_IN CURL_CSELECT_OUT CURL_ERROR_SIZE CURL_GLOBAL_DEFAULT
  CURL_HTTP_VERSION_1_1 CURL_LOCK_DATA_DNS CURL_LOCK_DATA_SSL_SESSION CURL_POLL_IN
  CURL_POLL_INOUT CURL_POLL_OUT CURL_SOCKET_BAD CURL_SOCKET_TIMEOUT CURL_SSLVERSION_TLSv1_2
  CURLcode curl_easy_cleanup curl_easy_getinfo curl_easy_init curl_easy_recv curl_easy_send
  curl_easy_setopt curl_easy_strerror curl_free curl_getdate curl_global_init curl_lock_data
  curl_multi_add_handle curl_multi_cleanup curl_multi_info_read curl_multi_init
  curl_multi_remove_handle curl_multi_setopt curl_multi_socket_action curl_off_t
  curl_share_cleanup curl_share_init curl_share_setopt curl_sockaddr curl_socket_t curl_url
  curl_url_cleanup curl_url_get curl_url_set curl_version curl_version_info
  curl_version_info_data
]]

--- All names that csrc may use, in a set.
function libcurl.names()
  local names = {}
  for name in NAMES:gmatch("%S+") do names[name] = true end
  for _, later in pairs(libcurl.COMPILE_TIME) do
    for _, name in ipairs(later) do names[name] = true end
  end
  return names
end

--- "7.85.0" for 0x075500.
function libcurl.text(number)
  local rest = number % 65536
  return ("%d.%d.%d"):format(math.floor(number / 65536), math.floor(rest / 256), rest % 256)
end

local function in_order(numbers)
  local list = {}
  for number in pairs(numbers) do list[#list + 1] = number end
  table.sort(list)
  return list
end

--- For each way that crux can go at run time, the first version that makes it go so, in order.
function libcurl.ways()
  local numbers = { [libcurl.OLDEST] = true }
  for _, number in pairs(libcurl.RUN_TIME) do numbers[number] = true end
  return in_order(numbers)
end

--- All versions that are listed above, in order.
function libcurl.branches()
  local numbers = {}
  for _, number in pairs(libcurl.RUN_TIME) do numbers[number] = true end
  for number in pairs(libcurl.COMPILE_TIME) do numbers[number] = true end
  return in_order(numbers)
end

--- A curl/curl.h that makes the one behind it look as old as the version before that: what came
-- with it, or later, cannot be named.
function libcurl.header_before(number)
  local header = {
    "#pragma once", "#include_next <curl/curl.h>",
    ("#if LIBCURL_VERSION_NUM >= %d"):format(number), "#undef LIBCURL_VERSION_NUM",
    ("#define LIBCURL_VERSION_NUM %d"):format(number - 1), "#endif",
  }
  for later, names in pairs(libcurl.COMPILE_TIME) do
    for _, name in ipairs(later >= number and names or {}) do
      header[#header + 1] = ("#undef %s\n#pragma GCC poison %s"):format(name, name)
    end
  end
  return table.concat(header, "\n") .. "\n"
end

-- What specs may need and not every libcurl can do: which can, why the others cannot, and how many
-- specs that keeps from being run.
local ABILITIES = {
  ["share a parsed CA bundle"] = {
    can = function(number, tls)
      return tls == "OpenSSL" and number >= 0x075700 and number < 0x081500
    end,
    why = "connections share a parsed CA bundle with OpenSSL only, from libcurl 7.87 to 8.20",
    specs = 1,
  },
  ["take a CA bundle from memory"] = {
    can = function(number, tls) return number >= (tls == "OpenSSL" and 0x074d00 or 0x081200) end,
    why = "CURLOPT_CAINFO_BLOB came with libcurl 7.77, for GnuTLS with 8.18",
    specs = 0,
  },
  ["leave a look-up"] = {
    can = function(number) return number >= 0x075700 end,
    why = "libcurl below 7.87 waits for a look-up that nobody wants any more",
    specs = 1,
  },
}

--- How many specs are skipped with the libcurl that runs here, with nothing else amiss.
function libcurl.skipped()
  local count = 0
  for ability, listed in pairs(ABILITIES) do
    if libcurl.lacks(ability) then count = count + listed.specs end
  end
  return count
end

--- The libcurl that runs here: its number, and the name of its TLS library.
function libcurl.here()
  local major, minor, patch, tls =
    require "crux.core".curl_version():match("^libcurl/(%d+)%.(%d+)%.(%d+)%S* %(?(%a+)")
  return (tonumber(major) * 256 + tonumber(minor)) * 256 + tonumber(patch), tls
end

--- Why the libcurl that runs here cannot do something, for busted's `pending`; nil if it can.
-- @tparam string ability of those listed above
function libcurl.lacks(ability)
  local listed = assert(ABILITIES[ability], ability)
  return not listed.can(libcurl.here()) and listed.why or nil
end

return libcurl
