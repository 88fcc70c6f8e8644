/* Makes SIOCOUTQ fail, or with UNCOUNTED return 0, as when data bypasses TCP. Preloaded into a
   child by the specs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int ioctl(int fd, unsigned long name, ...) {
  typedef int control(int, unsigned long, ...);
  control *real = (control *)dlsym(RTLD_NEXT, "ioctl");
  va_list list;
  void *value;
  va_start(list, name);
  value = va_arg(list, void *);
  va_end(list);
  if (name != SIOCOUTQ) return real(fd, name, value);
  *(int *)value = 0;
  if (getenv("UNCOUNTED")) return 0;
  errno = ENOTTY;
  return -1;
}
