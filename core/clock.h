/* clock.h -- time that only goes on, whatever happens to the date. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

/* Seconds since a moment that is the same for all of a machine's processes (CLOCK_MONOTONIC). */
double clock_now(void);

#endif
