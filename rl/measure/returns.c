/* returns.c -- the episodes of an evaluation, as numbers of the table. */
#include "rl/measure/returns.h"
#include "rl/rollout/evaluate.h"
#include "rl/source/source_transitions.h"
#include "rl/stop.h"
#include <math.h>
#include <string.h>

/* A policy without an environment has no return. */
static bool acts(const Agent *agent) { return agent->policy && agent->setup->env; }

static int episodes_of(const Agent *agent) { return algo_episodes(agent->setup); }

/* Always the same episodes: those that choose the best weights, never those of a report. */
static bool act_out(Arena *arena, Agent *agent, EvalResult *result, Error *error) {
  const AlgoSetup *setup = agent->setup;
  EvalSpec spec = { .episodes = episodes_of(agent),
                    .seeds = SEEDS_SELECTION,
                    .pool = setup->pool,
                    .kernels = setup->kernels,
                    .stop = stop_asked,
                    .tells = true };
  return evaluate(arena, setup->env, agent->policy, &spec, result, error);
}

/* What an episode's length is judged by: the data's, else the limit of the task. */
static double usual_length(const AlgoSetup *setup) {
  if (setup->source->def != &source_transitions) return env_def(setup->env)->horizon;
  return transitions_of(setup->source)->summary.length_mean;
}

/* A policy whose episodes end at once has learned nothing, whatever its losses say. */
static void judge_length(const Agent *agent, const EvalResult *result) {
  const double few = agent->setup->source->def == &source_transitions ? 0.1 : 0.01;
  double usual = usual_length(agent->setup), length = result->length_mean;
  warnings_state(agent->setup->warnings, "short_episodes", length < few * usual,
                 "episodes end after a few steps: %.1f on average in the last evaluation, and %s "
                 "%.0f; the policy fails at once",
                 length, few < 0.1 ? "the task lasts" : "those of the data have", usual);
}

/* The episodes' numbers in the order of the table; what they need is given back at once. */
static bool measure(Agent *agent, double *value, Error *error) {
  const AlgoSetup *setup = agent->setup;
  Arena *arena = arena_new();
  EvalResult result;
  bool done = act_out(arena, agent, &result, error);
  if (done) eval_values(&result, env_def(setup->env), setup->reference, value);
  if (done && !stop_asked()) judge_length(agent, &result);
  arena_free(arena);
  return done;
}

/* The line of eval.jsonl also says how the policy acted. */
static void write_line(const Agent *agent, const double *value, JsonText *out) {
  const AlgoSetup *setup = agent->setup;
  eval_write(value, episodes_of(agent), env_def(setup->env), agent->policy, "last",
             setup->reference, out);
}

const MeasureSet measured_returns = { .measures = measure_returns,
                                      .count = RETURNS,
                                      .applies = acts,
                                      .measure = measure,
                                      .write = write_line };

/* ---- does the choice among candidates help? -------------------------------------------------- */

/* With one candidate there is no choice to be judged. */
static bool chooses(const Agent *agent) { return acts(agent) && agent->policy->act.candidates > 1; }

/* Less by a tenth, and by more than two standard errors of the difference. */
static bool falls_behind(const EvalResult *chosen, const EvalResult *single) {
  double gap = single->return_mean - chosen->return_mean, n = single->episodes;
  /* standard error of the difference, as of independent means of n episodes each */
  double error = sqrt((pow(chosen->return_std, 2) + pow(single->return_std, 2)) / n);
  return gap > 0.1 * fabs(single->return_mean) && gap > 2 * error;
}

/* What was found, and what a user may do about it. */
static void judge(const Agent *agent, const EvalResult *chosen, const EvalResult *single) {
  const ActRecord *act = &agent->policy->act;
  warnings_state(agent->setup->warnings, "choice", falls_behind(chosen, single),
                 "the critics choose badly: with candidates=%d choice=%s temperature=%g the last "
                 "evaluation returns %.5g, one sample of the same actor %.5g; act with `--act "
                 "candidates=1`, try choice=average or a higher temperature, or train with other "
                 "nstep, critics, value or layernorm",
                 (int)act->candidates, act->choice.s, act->temperature, chosen->return_mean,
                 single->return_mean);
}

/* Evaluate twice, as trained and with a single sample, then put the act record back. */
static bool measure_choice(Agent *agent, double *value, Error *error) {
  ActRecord *act = &agent->policy->act;
  const ActRecord trained = *act;
  Arena *arena = arena_new();
  EvalResult chosen, single;
  bool done = act_out(arena, agent, &chosen, error);
  act->candidates = 1, strcpy(act->choice.s, "sample");
  done = done && act_out(arena, agent, &single, error);
  *act = trained;
  if (done) value[0] = chosen.return_mean, value[1] = single.return_mean;
  /* an evaluation that a signal cut short proves nothing */
  if (done && !stop_asked()) judge(agent, &chosen, &single);
  arena_free(arena);
  return done;
}

static const Measure choice_measures[] = {
  { .key = "return_chosen",
    .title = "return, as it acts",
    .caption = "Mean return of the last checkpoint over the episodes of an evaluation during "
               "training, as its act record says and with a single sample of the same actor. If "
               "the choice among candidates returns less, the critics mislead it.",
    .beside = "return_one_sample" },
  { .key = "return_one_sample", .title = "with one sample" },
};

const MeasureSet measured_choice = { .measures = choice_measures,
                                     .count = sizeof choice_measures / sizeof *choice_measures,
                                     .when = MEASURE_END,
                                     .applies = chooses,
                                     .measure = measure_choice };
