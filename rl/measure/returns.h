/* returns.h -- the returns of a policy in its environment, as measures of a run (the table is in
 * measure.h). */
#ifndef RL_RETURNS_H
#define RL_RETURNS_H
#include "rl/algo.h"

/* While a policy trains beside an environment: eval_episodes episodes on selection seeds. */
extern const MeasureSet measured_returns;

/* At the end, of a policy that chooses among candidates: the same episodes again, as it acts and
 * with a single sample.  Where the choice returns far less, a warning says so and what can be
 * done about it. */
extern const MeasureSet measured_choice;

#endif
