/* test_limits.c -- what control groups of both versions grant, wherever in the tree they say so.
 * The tree is a file system of the test's own, in a mount namespace that only root may make. */
#include "core/limits.h"
#include "tests/address_space.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUPS "/sys/fs/cgroup"
enum { NOT_ALLOWED = 77 };

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  if (!file || fputs(text, file) < 0 || fclose(file)) _exit(2);
}

/* folders and files below the tree, "folder/file" = text, until NULL */
static void plant(const char *const pairs[][2]) {
  char path[256];
  for (int i = 0; pairs[i][0]; i++) {
    snprintf(path, sizeof path, GROUPS "/%s", pairs[i][0]);
    for (char *slash = path + sizeof GROUPS; (slash = strchr(slash, '/')); *slash++ = '/')
      *slash = '\0', mkdir(path, 0777);
    write_file(path, pairs[i][1]);
  }
}

typedef struct {
  const char *own; /* /proc/self/cgroup */
  const char *tree[6][2];
  int cpus;      /* expected; 0: as many as without */
  size_t memory; /* expected, less than any machine has; 0: not looked at */
} Grant;

static int look(const Grant *grant) {
  char own[] = "/tmp/test_limits.XXXXXX";
  int all = limits_cpus(), fd = mkstemp(own);
  if (fd < 0 || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
      mount("t", GROUPS, "tmpfs", 0, NULL))
    return unlink(own), NOT_ALLOWED;
  write_file(own, grant->own);
  if (mount(own, "/proc/self/cgroup", NULL, MS_BIND, NULL)) return unlink(own), NOT_ALLOWED;
  plant(grant->tree);
  int cpus = limits_cpus();
  size_t memory = limits_memory();
  umount("/proc/self/cgroup"), unlink(own);
  if (cpus != (grant->cpus ? grant->cpus : all)) return 3;
  return grant->memory && memory != grant->memory ? 4 : 0;
}

static const Grant grants[] = {
  { "0::/\n", { { "cpu.max", "100000 100000" } }, 1, 0 },
  { "0::/\n", { { "cpu.max", "max 100000" } }, 0, 0 },
  { "0::/a/b\n", { { "a/b/cpu.max", "50000 100000" } }, 1, 0 },
  { "0::/a/b\n", { { "a/cpu.max", "100000 100000" }, { "a/b/cpu.max", "max 100000" } }, 1, 0 },
  { "0::/host/path\n", { { "cpu.max", "100000 100000" } }, 1, 0 },
  { "2:cpu,cpuacct:/a\n0::/\n",
    { { "cpu,cpuacct/a/cpu.cfs_quota_us", "100000" },
      { "cpu,cpuacct/a/cpu.cfs_period_us", "100000" } },
    1,
    0 },
  { "2:cpuset:/a\n", { { "cpuset/a/cpu.max", "100000 100000" } }, 0, 0 },
  { "", { { "cpu/cpu.cfs_quota_us", "-1" }, { "cpu/cpu.cfs_period_us", "100000" } }, 0, 0 },
  { "0::/a\n", { { "a/memory.max", "5000000" }, { "a/memory.current", "1000000" } }, 0, 4000000 },
  { "0::/a/b\n", { { "a/memory.max", "5000000" }, { "a/b/memory.max", "max" } }, 0, 5000000 },
  { "4:memory:/a\n", { { "memory/a/memory.limit_in_bytes", "7000000" } }, 0, 7000000 },
  /* what files keep in memory counts as free */
  { "0::/a\n",
    { { "a/memory.max", "5000000" },
      { "a/memory.current", "4900000" },
      { "a/memory.stat", "anon 100000\nfile 4800000\n" } },
    0,
    4900000 },
};

static void control_groups_are_seen_wherever_they_are(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof grants / sizeof *grants; i++) {
    int status;
    pid_t child = fork();
    if (!child) _exit(look(&grants[i]));
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALLOWED) skip();
    if (status) fail_msg("grant %zu: status %d", i, WEXITSTATUS(status));
  }
}

static void resource_limits_count(void **state) {
  (void)state;
  int status;
  assert_true(limits_memory() > 0 && limits_cpus() >= 1);
  pid_t child = fork();
  if (!child) {
    if (!address_space_limit(1u << 28)) _exit(NOT_LIMITED);
    _exit(limits_memory() < 1u << 28 ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == NOT_LIMITED) skip();
  assert_int_equal(status, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(control_groups_are_seen_wherever_they_are),
    cmocka_unit_test(resource_limits_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
