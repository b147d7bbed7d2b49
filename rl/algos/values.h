/* values.h -- are the critics' values ones that returns can have? */
#ifndef RL_VALUES_H
#define RL_VALUES_H
#include "rl/algo.h"

/* Of critics that learn from a file: at each evaluation Q of some of its rows, by the online
 * weights.  No number of it is kept; values that no return can have are a warning. */
extern const MeasureSet measured_values;

/* What discounted sums of rewards in [low, high] can be, an end of the episode included: for
 * gamma 1 over `length` steps. */
void values_range(double low, double high, double gamma, double length, double range[2]);

#endif
