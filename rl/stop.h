/* stop.h -- a signal asks a long job to stop in order. */
#ifndef RL_STOP_H
#define RL_STOP_H
#include <stdbool.h>

/* Signals that would end the process (Ctrl-C, a hang-up, a batch system's warning, a CPU limit) set
 * a flag instead; Ctrl-C after that, or a second SIGTERM, ends it. */
void stop_on_signals(void);

/* Part of that, for a command from its start on: what is written into a pipe that nobody reads any
 * more is a failed write and asks nothing, for progress is told and work is not lost over it. */
void stop_not_on_pipes(void);
bool stop_asked(void); /* has one come? */
int stop_signal(void); /* which; 0: none */

#endif
