/* progress.c -- when a line is due, and how much time is left. */
#include "core/progress.h"
#include "core/clock.h"
#include "core/log.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* seconds until the first line, and from one to the next: on a terminal, and elsewhere */
static const double first_after[] = { 10, 0.5 }, then_every[] = { 30, 0.25 };

const char *progress_time(char text[PROGRESS_TIME], double seconds) {
  if (!(seconds >= 0 && seconds < 1e11)) return snprintf(text, PROGRESS_TIME, "?"), text;
  int64_t s = (int64_t)seconds, hours = s / 3600;
  if (hours >= 48)
    snprintf(text, PROGRESS_TIME, "%lld d %02d:%02d", (long long)(hours / 24), (int)(hours % 24),
             (int)(s / 60 % 60));
  else if (hours)
    snprintf(text, PROGRESS_TIME, "%d:%02d:%02d", (int)hours, (int)(s / 60 % 60), (int)(s % 60));
  else
    snprintf(text, PROGRESS_TIME, "%d:%02d", (int)(s / 60), (int)(s % 60));
  return text;
}

void progress_begin(Progress *p, const char *unit, const char *what, ...) {
  *p = (Progress){ .unit = unit, .began = clock_now() };
  va_list args;
  va_start(args, what);
  vsnprintf(p->what, sizeof p->what, what, args);
  va_end(args);
}

void progress_at(Progress *p, int64_t done, int64_t all) {
  if (!p) return;
  double now = clock_now(), passed = now - p->began;
  /* most calls end here: the system is asked only when something may be due */
  if (now - (p->shown > 0 ? p->shown : p->began) < then_every[1]) return;
  bool terminal = isatty(STDERR_FILENO);
  if (p->shown > 0 ? now - p->shown < then_every[terminal] : passed < first_after[terminal]) return;
  p->shown = now;
  char left[PROGRESS_TIME];
  double rest = done > 0 ? passed * (double)(all - done) / (double)done : NAN;
  log_progress(false, "%s: %lld of %lld %s, %s left", p->what, (long long)done, (long long)all,
               p->unit, progress_time(left, rest));
}

/* the line of a task that is done is in the way of what comes next */
static void wipe(void) {
  if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

void progress_end(const Progress *p) {
  if (p->shown > 0) wipe();
}

void progress_live(const char *what) {
  if (!isatty(STDERR_FILENO)) return;
  if (*what)
    log_progress(false, "%s", what);
  else
    wipe();
}
