/* stop.h -- a signal asks a long job to stop in order. */
#ifndef RL_STOP_H
#define RL_STOP_H
#include <stdbool.h>

/* SIGINT and SIGTERM set a flag instead of ending the process; a second one ends it. */
void stop_on_signals(void);
bool stop_asked(void); /* has one come? */
int stop_signal(void); /* which; 0: none */

#endif
