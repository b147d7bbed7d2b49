/* hdf5_process.c -- fork, exec, read the one message, wait with a deadline. */
#include "datasets/hdf5_process.h"
#include "core/check.h"
#include "core/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static bool runnable(char path[PATH_MAX], const char *folder, const char *below) {
  int n = snprintf(path, PATH_MAX, "%s%s/diffrl-hdf5", folder, below);
  return n < PATH_MAX && access(path, X_OK) == 0;
}

/* In $DIFFRL_LIBEXEC, beside this program, one folder up (tests), or installed under libexec. */
static bool find_program(char path[PATH_MAX], Error *error) {
  const char *chosen = getenv("DIFFRL_LIBEXEC");
  if (chosen && *chosen) {
    if (runnable(path, chosen, "")) return true;
    return error_set(error, FAIL_RUNNING, "%s: not there, but DIFFRL_LIBEXEC names its folder",
                     path);
  }
  char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length < 0) return error_set(error, FAIL_RUNNING, "/proc/self/exe: %s", strerror(errno));
  self[length] = '\0';
  *strrchr(self, '/') = '\0';
  if (runnable(path, self, "") || runnable(path, self, "/..") ||
      runnable(path, self, "/../libexec/diffrl"))
    return true;
  return error_set(error, FAIL_RUNNING,
                   "the program diffrl-hdf5, which reads and writes HDF5 files, is not beside this "
                   "one in %s; build or install it, or set DIFFRL_LIBEXEC to its folder",
                   self);
}

/* In the child, between fork and exec: only calls that are safe there. */
static _Noreturn void become(const char *path, const char *const argument[], const int file[2],
                             int message, pid_t parent) {
  char *list[HDF5_MAX_ARGUMENTS + 2] = { (char *)path };
  for (int i = 0; i < HDF5_MAX_ARGUMENTS && argument[i]; i++) list[i + 1] = (char *)argument[i];
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != parent) _exit(FAIL_RUNNING); /* it died before that call */
  /* out of the way first: any of them may have the number that another is to get */
  enum { ABOVE = 10 };
  int input = file[0] < 0 ? open("/dev/null", O_RDONLY) : fcntl(file[0], F_DUPFD, ABOVE);
  int output = file[1] < 0 ? -1 : fcntl(file[1], F_DUPFD, ABOVE);
  message = fcntl(message, F_DUPFD, ABOVE);
  dup2(input, STDIN_FILENO);
  dup2(message, STDERR_FILENO);
  dup2(message, STDOUT_FILENO);
  if (output >= 0) dup2(output, HDF5_OUTPUT);
  close_range(output >= 0 ? HDF5_OUTPUT + 1 : HDF5_OUTPUT, ~0u, 0);
  execv(path, list);
  _exit(127);
}

/* The child's words until it closes the pipe; what does not fit is dropped.  False at the
 * deadline. */
static bool read_message(int pipe, double deadline, char *text, size_t size) {
  size_t used = 0;
  for (;;) {
    double left = deadline - clock_now();
    int ready = left > 0 ? poll(&(struct pollfd){ .fd = pipe, .events = POLLIN }, 1,
                                left < 3600 ? (int)(1e3 * left) + 1 : 3600000)
                         : 0;
    if (ready == 0 && left <= 0) return false;
    if (ready <= 0) continue;
    char buffer[512];
    ssize_t n = read(pipe, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    for (ssize_t i = 0; i < n; i++)
      if (used + 1 < size) text[used++] = buffer[i];
  }
  while (used > 0 && text[used - 1] == '\n') used--;
  text[used] = '\0';
  return true;
}

static bool judge(int status, bool in_time, double seconds, const char *message, Error *error) {
  if (!in_time)
    return error_set(error, FAIL_INPUT,
                     "not done after %.0f s; the file is damaged or the disk "
                     "does not answer",
                     seconds);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
    return error_set(error, FAIL_INPUT,
                     "took more CPU time than any file of its size should; written row by row in "
                     "tiny chunks? rewrite it with `h5repack -l CHUNK=4096x1` or larger ones");
  if (WIFSIGNALED(status))
    return error_set(error, FAIL_INPUT,
                     "damaged: HDF5 was ended by signal %d (%s) while working on it; copy or "
                     "download the file again",
                     WTERMSIG(status), strsignal(WTERMSIG(status)));
  int code = WEXITSTATUS(status);
  if (code == 0) return true;
  if (code == FAIL_INPUT || ((code == FAIL_RUNNING || code == FAIL_USAGE) && *message))
    return error_set(error, (Failure)code, "%s", message);
  return error_set(error, FAIL_RUNNING, "diffrl-hdf5 failed with status %d%s%s", code,
                   *message ? ": " : "; does it start by itself?", message);
}

bool hdf5_process_run(const char *const argument[], int input, int output, double seconds,
                      Error *error) {
  char path[PATH_MAX];
  int ends[2];
  if (!find_program(path, error)) return false;
  if (pipe2(ends, O_CLOEXEC) != 0)
    return error_set(error, FAIL_RUNNING, "cannot start diffrl-hdf5: %s", strerror(errno));
  pid_t parent = getpid(), child = fork();
  if (child == 0) become(path, argument, (int[]){ input, output }, ends[1], parent);
  int problem = errno;
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    return error_set(error, FAIL_RUNNING, "cannot start diffrl-hdf5: %s", strerror(problem));
  }
  char message[sizeof error->text] = "";
  bool in_time = read_message(ends[0], clock_now() + seconds, message, sizeof message);
  close(ends[0]);
  if (!in_time) kill(child, SIGKILL);
  int status;
  while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR, "waitpid: %s", strerror(errno));
  return judge(status, in_time, seconds, message, error);
}
