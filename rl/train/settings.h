/* settings.h -- the values of an algorithm's settings in a run, and who set each of them. */
#ifndef RL_SETTINGS_H
#define RL_SETTINGS_H
#include "rl/train/trainer.h"

/* Both fill t->config, t->shared, t->settings and t->preset of a trainer whose algorithm, request
 * and name of data are chosen; false and FAIL_USAGE for what is no setting, or no value of one. */

/* A new run: defaults, the preset asked for or the row of its data, --config, then --set. */
bool settings_choose(Trainer *t, Error *error);

/* A resumed run: its config.json, then --set. */
bool settings_restore(Trainer *t, const Json *record, Error *error);

#endif
