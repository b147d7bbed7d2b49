/* stop.c -- signals become a flag. */
#include "rl/stop.h"
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t caught; /* the signal flag */

/* What ends a process and may come from outside.  `always`: also where the process was started
 * with the signal ignored, as shells do with SIGINT for a job behind `&`; nohup's SIGHUP stays
 * ignored. */
static const struct {
  int number;
  bool always;
} asking[] = {
  { SIGINT, true },   { SIGTERM, true },  { SIGHUP, false },
  { SIGQUIT, false }, { SIGUSR1, false }, { SIGUSR2, false },
  { SIGALRM, false }, { SIGXCPU, false }, { SIGPWR, false },
};

/* A second one ends the process if somebody insists: typed, or SIGTERM again.  A terminal that
 * closes, a batch system and a CPU limit send several by themselves. */
static void on_signal(int number, siginfo_t *info, void *context) {
  (void)context;
  /* nobody reads what this process writes: no reason to stop */
  if (number == SIGPIPE && info->si_pid == getpid()) return;
  bool insists = number == SIGINT || number == SIGQUIT || (number == SIGTERM && caught == SIGTERM);
  if (caught && insists) _exit(128 + number);
  if (!caught) caught = number;
}

static void catch (int number, bool always) {
  struct sigaction old, action = { .sa_sigaction = on_signal };
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  if (always || (!sigaction(number, NULL, &old) && old.sa_handler != SIG_IGN))
    sigaction(number, &action, NULL);
}

void stop_not_on_pipes(void) { catch (SIGPIPE, false); }

void stop_on_signals(void) {
  stop_not_on_pipes();
  for (size_t i = 0; i < sizeof asking / sizeof *asking; i++)
    catch (asking[i].number, asking[i].always);
  signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a full disk: an error, not an end */
}

bool stop_asked(void) { return caught != 0; }
int stop_signal(void) { return (int)caught; }
