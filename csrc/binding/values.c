/* values: see values.h. */
#include "values.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define CENTS_MAX 9999999999.0 /* 99999999.99 */

/* --- of arguments --- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool are_hex(const char *s, int count) {
  static const bool is_hex[256] = {
    ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1,
    ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1,
  };
  int i;
  for (i = 0; i < count; i++) {
    if (!is_hex[(unsigned char)s[i]]) return false;
  }
  return true;
}

bool crux_is_uuid(const char *s, size_t len) {
  if (len != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-') return false;
  return are_hex(s, 8) && are_hex(s + 9, 4) && are_hex(s + 14, 4) && are_hex(s + 19, 4) &&
         are_hex(s + 24, 12);
}

/* Two digits as a number; -1 for anything else. */
static int two_digits(const char *s) {
  return is_digit(s[0]) && is_digit(s[1]) ? (s[0] - '0') * 10 + s[1] - '0' : -1;
}

static bool is_day(int century, int year, int month, int day) {
  static const char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
  bool is_leap = year == 0 ? century % 4 == 0 : year % 4 == 0;
  if (century < 0 || year < 0 || month < 1 || month > 12) return false;
  return day >= 1 && day <= days[month - 1] + (month == 2 && is_leap);
}

/* "06:00:00", and perhaps a fraction and a Z. */
static bool is_time(const char *s, size_t len) {
  int hour, minute, second;
  size_t i = 8, digits;
  if (len < 8 || s[2] != ':' || s[5] != ':') return false;
  hour = two_digits(s);
  minute = two_digits(s + 3);
  second = two_digits(s + 6);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return false;
  if (i < len && s[i] == '.') {
    for (digits = 0, i++; i < len && is_digit(s[i]); i++) digits++;
    if (digits == 0 || digits > 9) return false;
  }
  if (i < len && s[i] == 'Z') i++;
  return i == len;
}

bool crux_is_date(const char *s, size_t len) {
  if (len < 10 || s[4] != '-' || s[7] != '-') return false;
  if (!is_day(two_digits(s), two_digits(s + 2), two_digits(s + 5), two_digits(s + 8))) return false;
  return len == 10 || ((s[10] == ' ' || s[10] == 'T') && is_time(s + 11, len - 11));
}

double crux_whole_of_text(const char *s, size_t len) {
  const char *end = s + len;
  double value = 0;
  if (len == 0 || len > 64) return -1;
  for (; s < end; s++) {
    if (!is_digit(*s)) return -1;
    value = value * 10 + (*s - '0');
  }
  return value;
}

double crux_cents_of_text(const char *s, size_t len) {
  const char *end = s + len;
  double cents = 0;
  int decimals = -1;
  if (len == 0 || len > 64 || *s == '.' || end[-1] == '.') return -1;
  for (; s < end; s++) {
    if (*s == '.' && decimals < 0) decimals = 0;
    else if (is_digit(*s) && decimals < 2) {
      cents = cents * 10 + (*s - '0');
      if (decimals >= 0) decimals++;
    } else return -1;
  }
  for (decimals = decimals < 0 ? 0 : decimals; decimals < 2; decimals++) cents *= 10;
  return cents <= CENTS_MAX ? cents : -1;
}

/* The float nearest to a number of two decimals is taken for that number, and no other float is. */
double crux_cents_of_number(double value) {
  double cents = floor(value * 100 + 0.5);
  return value >= 0 && cents <= CENTS_MAX && cents / 100 == value ? cents : -1;
}

/* --- of options --- */

bool crux_is_token(const char *s) {
  size_t len = strlen(s);
  while (*s > ' ' && *s < 127) s++;
  return len > 0 && len <= 8192 && *s == '\0';
}

bool crux_ends_line(const char *s) {
  size_t len = strlen(s);
  return len > 0 && (s[len - 1] == '\n' || s[len - 1] == '\r');
}

/* RFC 9110 5.6.2 */
static bool is_tchar(char c) {
  return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool crux_is_header_name(const char *s, size_t len) {
  size_t i;
  for (i = 0; i < len; i++) {
    if (!is_tchar(s[i])) return false;
  }
  return len > 0;
}

bool crux_is_free_header(const char *s, size_t len) {
  static const char *const reserved[] = {
    "Host", "Authorization", "Content-Type", "Content-Length", "Accept", "User-Agent",
    "Connection", "Expect", "Transfer-Encoding", "TE", "Upgrade",
  };
  size_t i;
  if (!crux_is_header_name(s, len)) return false;
  for (i = 0; i < sizeof reserved / sizeof *reserved; i++) {
    if (strlen(reserved[i]) == len && strncasecmp(reserved[i], s, len) == 0) return false;
  }
  return true;
}

/* RFC 9110 10.1.5: product = token ["/" product-version] */
bool crux_is_product(const char *s) {
  size_t name = 0, version = 0;
  if (strlen(s) > 256) return false;
  while (is_tchar(s[name])) name++;
  if (name == 0) return false;
  if (s[name] == '\0') return true;
  if (s[name] != '/') return false;
  for (s += name + 1; is_tchar(s[version]); version++) continue;
  return version > 0 && s[version] == '\0';
}

int crux_file_error(const char *path, bool is_directory) {
  struct stat st;
  if (stat(path, &st) != 0) return errno;
  if (is_directory)
    return !S_ISDIR(st.st_mode) ? ENOTDIR : access(path, R_OK | X_OK) != 0 ? errno : 0;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  if (!S_ISREG(st.st_mode)) return EINVAL; /* whoever opens a pipe may wait for ever */
  return access(path, R_OK) != 0 ? errno : 0;
}

/* RFC 7468 11, and the older form of RFC 1421: libcurl has no password for the key, and OpenSSL
   would ask for it on the terminal. */
bool crux_is_encrypted_key(const char *path) {
  char line[128];
  bool found = false;
  FILE *file = fopen(path, "r");
  if (!file) return false;
  while (!found && fgets(line, sizeof line, file))
    found = strncmp(line, "-----BEGIN ENCRYPTED PRIVATE KEY", 32) == 0 ||
            strncmp(line, "Proc-Type: 4,ENCRYPTED", 22) == 0;
  fclose(file);
  return found;
}

bool crux_is_hostlike(const char *s) {
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789.-:/";
  size_t len = strlen(s), host = strcspn(s, ":/"), digits;
  if (len > 100 || host == 0 || strstr(s, "//")) return false;
  if (strspn(s, allowed) != len) return false;
  if (s[host] == ':') {
    digits = strspn(s + host + 1, "0123456789");
    if (digits == 0 || strchr(s + host + 1, ':')) return false;
  }
  return memchr(s, '.', host) || (host == 9 && strncasecmp(s, "localhost", 9) == 0);
}
