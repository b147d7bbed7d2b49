/* limits.c -- small files of /proc and /sys/fs/cgroup, read without the heap: memory may be short.
 *
 * A control group's limit holds for all below it, so every folder from the process's own up to
 * the root is asked.  /proc/self/cgroup has a line for version 2, "0::/path", and one for each
 * hierarchy of version 1, "4:cpu,cpuacct:/path".  Inside a container the path may be the host's;
 * the root, which is asked too, is then the container's own. */
#include "core/limits.h"
#include "core/names.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define GROUPS "/sys/fs/cgroup"

enum { TEXT = 8192 }; /* longer than any file that is read here need be */

static bool read_text(const char *path, char text[TEXT]) {
  int fd = (int)TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_CLOEXEC));
  ssize_t length = fd < 0 ? -1 : TEMP_FAILURE_RETRY(read(fd, text, TEXT - 1));
  if (fd >= 0) close(fd);
  text[length > 0 ? length : 0] = '\0';
  return length > 0;
}

/* the whole number after `key` at the beginning of a line; otherwise if there is none */
static int64_t number_after(const char *text, const char *key, int64_t otherwise) {
  size_t length = strlen(key);
  for (const char *line = text; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    char *end;
    if (strncmp(line, key, length)) continue;
    long long number = strtoll(line + length, &end, 10);
    return end == line + length ? otherwise : number;
  }
  return otherwise;
}

/* a file of one number; "max" and what is absent are `otherwise` */
static int64_t number_of(const char *folder, const char *file, int64_t otherwise) {
  char path[PATH_MAX], text[TEXT];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  return read_text(path, text) ? number_after(text, "", otherwise) : otherwise;
}

/* ---- control groups -------------------------------------------------------------------------- */

typedef void Visit(void *context, const char *folder);

static void visit_upwards(const char *mount, const char *path, Visit *visit, void *context) {
  char folder[PATH_MAX];
  size_t root = strlen(mount);
  if (snprintf(folder, sizeof folder, "%s%s", mount, path) >= PATH_MAX) folder[root] = '\0';
  for (char *slash = folder; slash; *slash = '\0') {
    visit(context, folder);
    if (!(slash = strrchr(folder + root, '/'))) return;
  }
}

/* one line of /proc/self/cgroup, number:controllers:path */
static void visit_line(char *line, const char *controller, Visit *visit, void *context) {
  char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL, mount[300];
  if (!path) return;
  *path++ = '\0', names++;
  if (!*names) {
    visit_upwards(GROUPS, path, visit, context);
    visit_upwards(GROUPS "/unified", path, visit, context);
  } else if (names_has(names, ',', controller)) {
    snprintf(mount, sizeof mount, GROUPS "/%.200s", names);
    visit_upwards(mount, path, visit, context);
    snprintf(mount, sizeof mount, GROUPS "/%s", controller);
    visit_upwards(mount, path, visit, context);
  }
}

static void visit_groups(const char *controller, Visit *visit, void *context) {
  char text[TEXT], *rest = text, *line, root[64];
  if (read_text("/proc/self/cgroup", text))
    while ((line = strsep(&rest, "\n"))) visit_line(line, controller, visit, context);
  snprintf(root, sizeof root, GROUPS "/%s", controller);
  visit(context, GROUPS), visit(context, root);
}

/* ---- CPUs ------------------------------------------------------------------------------------ */

static void least_cpus(void *context, const char *folder) {
  int *cpus = context;
  char path[PATH_MAX], text[TEXT], *end = text;
  long long quota = number_of(folder, "cpu.cfs_quota_us", 0);
  long long period = number_of(folder, "cpu.cfs_period_us", 0);
  snprintf(path, sizeof path, "%s/cpu.max", folder);
  if (read_text(path, text) && (quota = strtoll(text, &end, 10)) > 0)
    period = strtoll(end, NULL, 10);
  if (quota <= 0 || period <= 0) return;
  long long granted = quota / period + (quota % period > 0);
  if (granted < *cpus) *cpus = (int)granted;
}

int limits_cpus(void) {
  cpu_set_t set;
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  visit_groups("cpu", least_cpus, &cpus);
  return cpus;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void keep_less(size_t *least, int64_t limit, int64_t used) {
  size_t left = limit > used ? (size_t)(limit - used) : 0;
  if (left < *least) *least = left;
}

/* What files keep in memory is given back when it is needed. */
static void least_memory(void *context, const char *folder) {
  char path[PATH_MAX], text[TEXT];
  int64_t limit = number_of(folder, "memory.max", -1);
  int64_t used = number_of(folder, "memory.current", 0);
  const char *cached = "file ";
  if (limit < 0) {
    limit = number_of(folder, "memory.limit_in_bytes", -1);
    used = number_of(folder, "memory.usage_in_bytes", 0), cached = "total_cache ";
  }
  if (limit < 0) return;
  snprintf(path, sizeof path, "%s/memory.stat", folder);
  if (read_text(path, text)) used -= number_after(text, cached, 0);
  keep_less(context, limit, used);
}

static void least_of_resource(int resource, int64_t used, size_t *least) {
  struct rlimit limit;
  if (!getrlimit((__rlimit_resource_t)resource, &limit) && limit.rlim_cur < INT64_MAX)
    keep_less(least, (int64_t)limit.rlim_cur, used);
}

typedef struct {
  int64_t all, data, resident; /* bytes */
} Pages;

static Pages pages_used(void) {
  int64_t page = sysconf(_SC_PAGESIZE), all = 0, resident = 0, files = 0, data = 0;
  char text[TEXT]; /* size resident shared text lib data */
  if (read_text("/proc/self/statm", text))
    sscanf(text, "%" SCNd64 "%" SCNd64 "%" SCNd64 " %*d %*d %" SCNd64, &all, &resident, &files,
           &data);
  return (Pages){ page * all, page * data, page * (resident - files) };
}

size_t limits_resident(void) { return (size_t)pages_used().resident; }

size_t limits_memory(void) {
  char text[TEXT];
  size_t least = SIZE_MAX;
  if (read_text("/proc/meminfo", text)) {
    int64_t available = number_after(text, "MemAvailable:", -1);
    if (available >= 0) keep_less(&least, 1024 * available, 0);
  }
  Pages used = pages_used();
  least_of_resource(RLIMIT_AS, used.all, &least);
  least_of_resource(RLIMIT_DATA, used.data, &least);
  visit_groups("memory", least_memory, &least);
  return least;
}
