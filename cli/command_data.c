/* command_data.c -- diffrl data make, diffrl data inspect. */
#include "cli/command_data.h"
#include "cli/command.h"
#include "core/escape.h"
#include "core/file.h"
#include "core/config.h"
#include "core/json.h"
#include "core/log.h"
#include "datasets/data_faults.h"
#include "datasets/data_files.h"
#include "datasets/dataset.h"
#include "rl/report/history.h"
#include "rl/rollout/make_data.h"
#include "rl/train/run.h"
#include "rl/stop.h"
#include "rl/rollout/task.h"
#include <math.h>
#include <string.h>

/* ---- make ------------------------------------------------------------------------------------ */

typedef struct {
  Parsed parsed;
  const char *out;
  int64_t transitions, seed, threads;
} Make;

static const Option make_options[] = {
  OPTION_TEXT_ROW(Make, out, "out", "FILE", "default: where `--data NAME` looks for it"),
  OPTION_NUMBER_ROW(Make, transitions, "transitions", "N", 0, 2, 0, "default: that of the set"),
  OPTION_NUMBER_ROW(Make, seed, "seed", "S", 0, 0, 0, "of episodes and actions (default 0)"),
  OPTION_NUMBER_ROW(Make, threads, "threads", "N", 0, 1, 1024,
                    "changes no bit (default: the CPUs this process may use)"),
};

/* where --data NAME looks, with its folder */
static const char *default_out(Arena *arena, const char *name, Error *error) {
  const char *path = task_made_path(arena, name);
  char *folder = arena_text(arena, "%s", path);
  *strrchr(folder, '/') = '\0';
  return file_make_folders(folder, error) ? path : NULL;
}

/* Find out where the set goes, then roll the shipped policy out until the file is complete. */
static int make_in(Arena *arena, const Make *c, Error *error) {
  /* an unknown name fails before a folder is made for it */
  const char *name = task_set_name(arena, c->parsed.arguments.word[0]);
  if (!make_data_find(name, error)) return (int)error->kind;
  MakeDataRequest request = { .name = name,
                              .out = c->out ? c->out : default_out(arena, name, error),
                              .transitions = c->transitions,
                              .seed = (uint64_t)c->seed,
                              .threads = (int)c->threads };
  if (!request.out) return (int)error->kind;
  /* an interrupted file is incomplete: nothing is kept, and the exit code names the signal */
  stop_on_signals();
  if (!make_data(&request, error)) return stop_asked() ? 128 + stop_signal() : (int)error->kind;
  command_print(request.out);
  return 0;
}

static int run_make(const void *request, Error *error) {
  Arena *arena = arena_new();
  stop_not_on_pipes();
  int code = make_in(arena, request, error);
  arena_free(arena);
  return code;
}

const Command command_data_make = {
  .name = "data make",
  .usage = "NAME [--out FILE] [--transitions N] [--seed S]",
  .about = "generate a data set in D4RL's format",
  .examples = "  diffrl data make hopper-medium\n"
              "  diffrl data make hopper-medium --out small.hdf5 --transitions 20000 --seed 1\n",
  .options = make_options,
  .option_count = OPTION_COUNT(make_options),
  .least = 1,
  .most = 1,
  .size = sizeof(Make),
  .run = run_make,
};

/* ---- inspect --------------------------------------------------------------------------------- */

typedef struct {
  Parsed parsed;
  const char *env, *obs, *map, *mask;
  bool json;
} Inspect;

/* the options of `data inspect` */
static const Option inspect_options[] = {
  OPTION_TEXT_ROW(Inspect, env, "env", "ENV",
                  "for normalised returns and the episode limit (default: what the file says)"),
  OPTION_TEXT_ROW(Inspect, obs, "obs", "A,B", "arrays of the file that are the observation"),
  OPTION_TEXT_ROW(Inspect, map, "map", "ROLE=ARRAY,..", "arrays under other names: timeouts=done"),
  OPTION_TEXT_ROW(Inspect, mask, "mask", "NAME", "the episodes that a robomimic file lists so"),
  OPTION_FLAG_ROW(Inspect, json, "json", "as a JSON object"),
};

/* All that seems wrong. */
static void write_faults(Arena *arena, const Dataset *d, JsonText *out) {
  DataFault fault[DATA_MOST_FAULTS];
  int count = data_faults(arena, d, fault);
  json_open(out, "faults", '[');
  for (int i = 0; i < count; i++) {
    json_open(out, NULL, '{');
    json_put_text(out, "fault", fault[i].name);
    json_put_integer(out, "count", fault[i].count);
    json_put_number(out, "row", fault[i].row >= 0 ? (double)fault[i].row : NAN);
    json_put_text(out, "what", fault[i].what);
    json_close(out, '}');
  }
  json_close(out, ']');
}

/* What was found, as one object; people get a line for each member. */
static void write_summary(const Dataset *d, const EnvDef *env, JsonText *out) {
  DatasetSummary s;
  dataset_summary(d, &s);
  /* a normalised return needs rewards and both reference returns of the environment */
  bool comparable = env && s.has_rewards && env->return_expert > env->return_random;
  json_put_text(out, "file", d->source);
  json_put_text(out, "format", d->format);
  json_put_text(out, "hash", d->hash);
  json_put_text(out, "env", env ? env->name : NULL);
  /* what the file holds, and how it divides into episodes */
  json_put_integer(out, "rows", s.rows);
  json_put_integer(out, "final_states", s.states);
  json_put_integer(out, "transitions", s.transitions);
  json_put_integer(out, "dropped", s.dropped);
  json_put_integer(out, "episodes", s.episodes);
  json_put_integer(out, "open_tail_rows", s.open_tail);
  json_put_integer(out, "terminals", s.terminals);
  json_put_integer(out, "timeouts", s.timeouts);
  json_put_integer(out, "obs_dim", d->obs_dim);
  json_put_integer(out, "act_dim", d->act_dim);
  /* which arrays are there */
  json_put_bool(out, "has_rewards", s.has_rewards);
  json_put_bool(out, "has_terminals", s.has_terminals);
  json_put_bool(out, "has_timeouts", s.has_timeouts);
  json_put_bool(out, "has_next_observations", s.has_next);
  /* where the file contradicts itself, or says too little */
  json_put_integer(out, "next_observations_differ", s.cut);
  json_put_number(out, "next_observations_differ_at", s.cut ? (double)s.first_cut : NAN);
  json_put_number(out, "episode_seems_to_begin_at", s.guess >= 0 ? (double)s.guess : NAN);
  /* what the behaviour achieved; numbers that are unknown become null */
  json_put_number(out, "return_mean", s.return_mean);
  json_put_number(out, "return_std", s.return_std);
  json_put_number(out, "return_min", s.return_min);
  json_put_number(out, "return_max", s.return_max);
  json_put_number(out, "normalized_mean", comparable ? env_normalized(env, s.return_mean) : NAN);
  json_put_number(out, "length_mean", s.length_mean);
  json_put_integer(out, "length_min", s.length_min);
  json_put_integer(out, "length_max", s.length_max);
  json_put_number(out, "reward_mean", s.reward_mean);
  json_put_number(out, "reward_std", s.reward_std);
  json_put_number(out, "reward_min", s.reward_min);
  json_put_number(out, "reward_max", s.reward_max);
  /* bounds of the actions as they were seen, and what the file says about itself */
  json_put_number(out, "action_low", s.action_low);
  json_put_number(out, "action_high", s.action_high);
  json_put_raw(out, "metadata", d->metadata);
}

static void print_faults(Arena *arena, const Json *faults) {
  if (!json_count(faults)) printf("%-22s none found\n", "faults");
  for (const Json *f = json_first(faults); f; f = json_next(f)) {
    double row = json_number(json_get(f, "row"), -1);
    const char *at = row >= 0 ? arena_text(arena, "row %.0f: ", row) : "";
    printf("%-22s %s%s\n", json_text(json_get(f, "fault")), at,
           escaped(arena, json_text(json_get(f, "what"))));
  }
}

/* The same object for people: a line for each member, safe for a terminal. */
static void print_members(const JsonText *text) {
  Arena *arena = arena_new();
  Json *json = json_parse_if(text->text, text->length);
  for (const Json *member = json_first(json); member; member = json_next(member)) {
    if (json_is_array(member)) {
      print_faults(arena, member);
      continue;
    }
    /* unknown numbers and empty metadata are a dash */
    bool nothing = json_is_null(member) || (json_is_object(member) && !json_count(member));
    printf("%-22s %s\n", json_key(member),
           nothing ? "-" : escaped(arena, history_text(arena, member)));
  }
  json_free(json);
  arena_free(arena);
}

bool data_show(Arena *arena, const char *name, const char *of, bool json, Error *error) {
  /* the environment gives the episode limit that opening needs: as asked, or the file's own */
  const char *named = of;
  if (!named && !task_env_of(name, &named, error)) return false;
  const EnvDef *env = named ? task_env(named, error) : NULL;
  if (named && !env) return false;
  const char *path = task_data_path(arena, name, error);
  Dataset *data = path ? dataset_open_faulty(path, env ? env->horizon : 0, error) : NULL;
  if (!data) return false;
  /* the cache is trusted when it is opened; here every byte is checked */
  bool whole = dataset_verify(data, error);
  if (whole) {
    JsonText out = { 0 };
    json_open(&out, NULL, '{');
    write_summary(data, env, &out);
    write_faults(arena, data, &out);
    json_close(&out, '}');
    if (json)
      command_print(out.text);
    else
      print_members(&out);
    json_text_free(&out);
  }
  dataset_close(data);
  return whole;
}

static int run_inspect(const void *request, Error *error) {
  const Inspect *c = request;
  Arena *arena = arena_new();
  const char *name =
      data_files_chosen(arena, c->parsed.arguments.word[0], c->obs, c->map, c->mask, error);
  bool done = name && data_show(arena, name, c->env, c->json, error);
  arena_free(arena);
  return done ? 0 : (int)error->kind;
}

const Command command_data_inspect = {
  .name = "data inspect",
  .usage = "FILE|NAME [--env ENV] [--json]",
  .about = "show what is in a data file, and check all of it",
  .examples = "  diffrl data inspect hopper-medium\n"
              "  diffrl data inspect ~/.d4rl/datasets/hopper_medium-v2.hdf5 --json\n",
  .options = inspect_options,
  .option_count = OPTION_COUNT(inspect_options),
  .least = 1,
  .most = 1,
  .size = sizeof(Inspect),
  .run = run_inspect,
};
