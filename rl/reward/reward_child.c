/* reward_child.c -- fork, exec, poll both pipes, kill at the deadline. */
#include "rl/reward/reward_child.h"
#include "core/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* In the child, between fork and exec: only calls that are safe there. */
static _Noreturn void become(char *const argv[], char *const environment[], int input, int output,
                             pid_t parent) {
  enum { ABOVE = 10 };
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != parent) _exit(127); /* it died before that call */
  setpgid(0, 0);
  /* out of the way first: either may have the number that the other is to get */
  input = fcntl(input, F_DUPFD, ABOVE), output = fcntl(output, F_DUPFD, ABOVE);
  dup2(input, STDIN_FILENO), dup2(output, STDOUT_FILENO);
  close_range(STDERR_FILENO + 1, ~0u, 0);
  execve(argv[0], argv, environment);
  _exit(127);
}

/* End as the worker did, so that whoever waits for us learns of it. */
static _Noreturn void end_as(int status) {
  if (!WIFSIGNALED(status)) _exit(WEXITSTATUS(status));
  sigset_t one;
  setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }); /* there is one of the worker already */
  signal(WTERMSIG(status), SIG_DFL);
  raise(WTERMSIG(status));
  sigemptyset(&one), sigaddset(&one, WTERMSIG(status));
  sigprocmask(SIG_UNBLOCK, &one, NULL);
  _exit(127);
}

void reward_child_guard(void) {
  sigset_t both, before;
  int status;
  sigemptyset(&both), sigaddset(&both, SIGTERM), sigaddset(&both, SIGCHLD);
  signal(SIGCHLD, SIG_DFL); /* ignored, it would not come */
  sigprocmask(SIG_BLOCK, &both, &before);
  /* until this call the run's death was a SIGKILL to us, and there was nobody else */
  prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  pid_t worker = fork();
  if (worker < 0) _exit(127);
  if (worker == 0) {
    sigprocmask(SIG_SETMASK, &before, NULL);
    return;
  }
  /* the worker alone holds the pipes, so that closing them is seen */
  close(STDIN_FILENO), close(STDOUT_FILENO);
  for (;;) {
    if (sigwaitinfo(&both, NULL) == SIGTERM) kill(0, SIGKILL); /* the group, and us */
    if (waitpid(worker, &status, WNOHANG) == worker) end_as(status);
  }
}

bool reward_child_self(char path[4096]) {
  ssize_t n = readlink("/proc/self/exe", path, 4095);
  path[n > 0 ? n : 0] = '\0';
  return n > 0;
}

bool reward_child_start(RewardChild *child, char *const argv[], char *const environment[],
                        Error *error) {
  int in[2], out[2];
  *child = (RewardChild){ 0, -1, -1 };
  if (pipe2(in, O_CLOEXEC) != 0)
    return error_set(error, FAIL_RUNNING, "cannot start %s: %s", argv[0], strerror(errno));
  if (pipe2(out, O_CLOEXEC) != 0) {
    close(in[0]), close(in[1]);
    return error_set(error, FAIL_RUNNING, "cannot start %s: %s", argv[0], strerror(errno));
  }
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) become(argv, environment, in[0], out[1], parent);
  int problem = errno;
  close(in[0]), close(out[1]);
  if (pid < 0) {
    close(in[1]), close(out[0]);
    return error_set(error, FAIL_RUNNING, "cannot start %s: %s", argv[0], strerror(problem));
  }
  setpgid(pid, pid); /* whoever of us comes first */
  fcntl(in[1], F_SETFL, O_NONBLOCK), fcntl(out[0], F_SETFL, O_NONBLOCK);
  *child = (RewardChild){ pid, in[1], out[0] };
  return true;
}

static void close_end(int *end) {
  if (*end >= 0) close(*end);
  *end = -1;
}

/* One turn: false when reading is over, and how. */
static bool turn(RewardChild *c, const char **in, size_t *left, char *out, size_t size,
                 size_t *used, bool last, int wait, ChildEnd *end) {
  struct pollfd ends[2] = { { .fd = c->output, .events = POLLIN },
                            { .fd = *left ? c->input : -1, .events = POLLOUT } };
  if (poll(ends, 2, wait) <= 0) return true;
  if (ends[1].revents) {
    ssize_t n = write(c->input, *in, *left);
    if (n > 0) *in += n, *left -= (size_t)n;
    if (n < 0 && errno != EAGAIN && errno != EINTR) *left = 0; /* it does not want the rest */
    if (*left == 0 && last) close_end(&c->input);
  }
  if (!ends[0].revents) return true;
  char beyond;
  bool full = *used == size;
  ssize_t n = read(c->output, full ? &beyond : out + *used, full ? 1 : size - *used);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  *end = n <= 0 ? CHILD_CLOSED : full ? CHILD_TOO_MUCH : CHILD_DONE;
  if (n <= 0 || full) return false;
  *used += (size_t)n;
  return last || *used < size;
}

ChildEnd reward_child_exchange(RewardChild *child, const void *in, size_t in_size, char *out,
                               size_t size, size_t *used, bool last, double seconds) {
  /* a child that closes its input must not end us: the signal is blocked in this thread, and taken
   * away where it came */
  sigset_t pipe_signal, before, waiting;
  sigemptyset(&pipe_signal), sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  sigpending(&waiting);
  bool pending = sigismember(&waiting, SIGPIPE);
  double deadline = clock_now() + seconds, left;
  const char *from = in;
  ChildEnd end = CHILD_LATE;
  *used = 0;
  while ((left = deadline - clock_now()) > 0) {
    int wait = left < 3600 ? (int)(1e3 * left) + 1 : 3600000;
    if (!turn(child, &from, &in_size, out, size, used, last, wait, &end)) break;
    end = CHILD_LATE;
  }
  if (!pending) sigtimedwait(&pipe_signal, NULL, &(struct timespec){ 0, 0 });
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return end;
}

int reward_child_stop(RewardChild *child, double seconds) {
  if (!child->pid) return 0;
  close_end(&child->input), close_end(&child->output);
  double deadline = clock_now() + seconds;
  siginfo_t info = { 0 };
  /* it stays a zombie until its group is killed, so that the number is no other process's */
  while (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 &&
         info.si_pid == 0 && clock_now() < deadline)
    nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
  kill(-child->pid, SIGKILL);
  int status = 0;
  while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) continue;
  child->pid = 0;
  return status;
}

void reward_child_fate(int status, char text[128]) {
  if (WIFSIGNALED(status))
    snprintf(text, 128, "was ended by signal %d (%s)", WTERMSIG(status),
             strsignal(WTERMSIG(status)));
  else
    snprintf(text, 128, "ended with status %d", WEXITSTATUS(status));
}
