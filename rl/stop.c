/* stop.c -- signals become a flag. */
#include "rl/stop.h"
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t caught; /* the signal flag */

static void on_signal(int number) {
  if (caught) _exit(128 + number);
  caught = number;
}

void stop_on_signals(void) {
  struct sigaction action = { .sa_handler = on_signal };
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a full disk: an error, not an end */
}

bool stop_asked(void) { return caught != 0; }
int stop_signal(void) { return (int)caught; }
