/* test_interrupted.c -- files are whole though a signal interrupts every call at its first try. */
#include "core/checkpoint.h"
#include "core/file.h"
#include "core/log.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
int main(void) { return 0; } /* these calls are theirs */
#else

/* ---- the system ------------------------------------------------------------------------------ */

static bool interrupts;   /* from here on */
static int calls, broken; /* the calls made; those that a signal broke off */

static bool interrupted(void) {
  if (!interrupts || ++calls % 2 == 0) return false;
  broken++, errno = EINTR;
  return true;
}

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return interrupted() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
ssize_t write(int fd, const void *bytes, size_t n) {
  if (n > 3) n = n / 2; /* and none is whole */
  return interrupted() ? -1 : syscall(SYS_write, fd, bytes, n);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
  if (n > 3) n = n / 2;
  return interrupted() ? -1 : syscall(SYS_pwrite64, fd, bytes, n, at);
}
ssize_t pread(int fd, void *bytes, size_t n, off_t at) {
  if (n > 3) n = n / 2;
  return interrupted() ? -1 : syscall(SYS_pread64, fd, bytes, n, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  return interrupted() ? -1 : syscall(SYS_writev, fd, parts, count);
}
int fsync(int fd) { return interrupted() ? -1 : (int)syscall(SYS_fsync, fd); }
int truncate(const char *path, off_t length) {
  return interrupted() ? -1 : (int)syscall(SYS_truncate, path, length);
}
int close(int fd) {
  int result = (int)syscall(SYS_close, fd);
  return interrupted() ? -1 : result; /* it is closed all the same */
}

/* ---- what must be whole ---------------------------------------------------------------------- */

static char folder[] = "/tmp/test_interrupted.XXXXXX";

static const char *path_of(const char *name) {
  static char path[64];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void expect_text(const char *path, const char *expected) {
  char text[4096];
  interrupts = false;
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = '\0';
  assert_string_equal(text, expected);
}

static void begin(void) { interrupts = true, calls = broken = 0; }

static void files_are_written_whole(void **state) {
  (void)state;
  Error error;
  const char *text = "one after the other, and each of them";
  begin();
  if (!file_write(path_of("text"), text, strlen(text), &error)) fail_msg("%s", error.text);
  assert_true(broken > 6);
  expect_text(path_of("text"), text);
}

static void lines_are_appended_and_cut_back(void **state) {
  (void)state;
  Error error;
  const char *path = path_of("lines");
  begin();
  for (int i = 1; i < 4; i++) {
    char line[32];
    snprintf(line, sizeof line, "{\"step\":%d}", i);
    if (!log_append(path, line, &error)) fail_msg("%s", error.text);
  }
  if (!log_rewind(path, 2, &error)) fail_msg("%s", error.text);
  assert_true(broken > 6);
  expect_text(path, "{\"step\":1}\n{\"step\":2}\n");
}

static void checkpoints_are_written_and_read(void **state) {
  (void)state;
  Error error;
  Arena *arena = arena_new();
  Checkpoint out, in;
  float numbers[100];
  for (int i = 0; i < 100; i++) numbers[i] = (float)i;
  checkpoint_init(&out, arena), checkpoint_init(&in, arena);
  checkpoint_add(&out, "numbers", CHECKPOINT_F32, 1, &(int64_t){ 100 }, numbers);
  begin();
  if (!checkpoint_save(&out, path_of("c"), &error)) fail_msg("%s", error.text);
  if (!checkpoint_load(&in, path_of("c"), NULL, &error)) fail_msg("%s", error.text);
  interrupts = false;
  assert_true(broken > 20);
  assert_memory_equal(checkpoint_tensor(&in, "numbers")->data, numbers, sizeof numbers);
  arena_free(arena);
}

static int open_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}
static int close_folder(void **state) {
  (void)state;
  char command[64];
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(files_are_written_whole),
    cmocka_unit_test(lines_are_appended_and_cut_back),
    cmocka_unit_test(checkpoints_are_written_and_read),
  };
  return cmocka_run_group_tests(tests, open_folder, close_folder);
}
#endif
