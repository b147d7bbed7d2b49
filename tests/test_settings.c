/* test_settings.c -- a setting is used or refused: nothing that is asked for is dropped in silence,
 * and nothing is trained that could not act. */
#include "rl/algo.h"
#include "tests/program.h"

static int setup(void **state) {
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  return 0;
}

static bool has(const AlgoDef *algo, const char *key) {
  for (size_t i = 0; i < algo->field_count; i++)
    if (!strcmp(algo->fields[i].key, key)) return true;
  return false;
}

static bool measures(const AlgoDef *algo, const char *key) {
  for (int i = 0; algo->measured[i]; i++)
    if (!strcmp(algo->measured[i]->measures[0].key, key)) return true;
  return false;
}

/* as `source` and `measured` say: whoever has episodes, rewards and rows of observations */
static void settings_are_of_those_who_use_them(void **state) {
  (void)state;
  size_t count;
  const AlgoDef *const *algos = algo_list(&count);
  for (size_t i = 0; i < count; i++) {
    const AlgoDef *a = algos[i];
    bool file = !strcmp(a->source->name, "transitions"), acts = measures(a, "episodes");
    if (has(a, "eval_episodes") != acts) fail_msg("%s: eval_episodes", a->name);
    /* what fine-tunes is told by this name which reward to raise */
    if (has(a, "reward") && !(file && acts) && !a->source->by_init) fail_msg("%s: reward", a->name);
    if (has(a, "normalize_obs") != (file && acts)) fail_msg("%s: normalize_obs", a->name);
    Outcome o;
    const char *const keys[] = { "eval_episodes=3", "reward=raw", "normalize_obs=true" };
    for (int k = 0; k < 3; k++) {
      char key[32];
      snprintf(key, sizeof key, "%.*s", (int)strcspn(keys[k], "="), keys[k]);
      if (has(a, key)) continue;
      program_run(&o, "train %s --data x.hdf5 --env point-v0 --set %s --out x", a->name, keys[k]);
      /* what learns points or pictures has no environment, and says so first */
      bool plain = strcmp(a->source->name, "points") && strcmp(a->source->name, "pictures") &&
                   !a->source->by_init;
      if (plain) program_expect(&o, 2, key);
      program_run(&o, "train %s --data moons --set %s --out x", a->name, keys[k]);
      if (o.code == 0) fail_msg("%s takes %s", a->name, keys[k]);
    }
  }
}

static const char *initial_of(const AlgoDef *algo, const char *key) {
  static char text[64];
  for (size_t i = 0; i < algo->field_count; i++)
    if (!strcmp(algo->fields[i].key, key)) {
      const char *initial = algo->fields[i].initial;
      size_t quoted = *initial == '"', length = strlen(initial);
      snprintf(text, sizeof text, "%.*s", (int)(length - 2 * quoted), initial + quoted);
    }
  return text;
}

/* a value that a setting does not have by itself: of its choices the last but that, else 1 */
static void other_than_initial(const AlgoDef *algo, const char *key, char text[64]) {
  strcpy(text, "1");
  for (size_t i = 0; i < algo->field_count; i++) {
    const ConfigField *f = &algo->fields[i];
    const char *last = strcmp(f->key, key) ? NULL : strrchr(f->low, '|');
    if (last) snprintf(text, 64, "%.*s", (int)strcspn(last + 1, "\""), last + 1);
  }
  assert_string_not_equal(initial_of(algo, key), text);
}

static void refuse_need(const AlgoDef *algo, const SettingNeed *need) {
  char where[128] = "", line[512], other[64];
  assert_true(has(algo, need->key) && has(algo, need->where));
  if (!need->is)
    snprintf(where, sizeof where, "--set %s=%s", need->where, need->but);
  else if (!strcmp(initial_of(algo, need->where), need->is)) {
    other_than_initial(algo, need->where, other);
    snprintf(where, sizeof where, "--set %s=%s", need->where, other);
  }
  bool toy = !strcmp(algo->name, "toy");
  if (!strcmp(need->where, "choice")) strcat(where, " --set candidates=4");
  const char *data = algo->source->by_init ? ""
                     : toy                 ? "--data moons"
                                           : "--data point.hdf5 --env none";
  snprintf(line, sizeof line, "train %s %s %s --set %s=%s --out x", algo->name, data, where,
           need->key, initial_of(algo, need->key));
  program_refuse(2, line, "no effect");
}

static void what_has_no_effect_is_refused(void **state) {
  (void)state;
  size_t count;
  int needs = 0;
  const AlgoDef *const *algos = algo_list(&count);
  for (size_t i = 0; i < count; i++) {
    for (const SettingNeed *n = algos[i]->needs; n && n->key; n++)
      refuse_need(algos[i], n), needs++;
    if (has(algos[i], "rho") && !strcmp(algos[i]->source->name, "transitions"))
      refuse_need(algos[i], &(SettingNeed){ "rho", "value", "lower", NULL });
  }
  assert_true(needs > 8);
  /* and taken where it has one */
  program_succeed(
      "train bc --data point.hdf5 --env none --set policy=gaussian --set deviation=tanh "
      "--dry-run");
}

/* What a run of release 0.1 holds for nothing is read, and what it set for nothing is refused. */
static void records_of_release_0_1_are_read(void **state) {
  (void)state;
  static const char kept[] = "{\"settings\":{\"eval_episodes\":10,\"reward\":\"raw\"}}";
  static const char set[] = "{\"settings\":{\"eval_episodes\":20}}";
  file_write("kept.json", kept, strlen(kept));
  file_write("set.json", set, strlen(set));
  program_succeed("train toy --data moons --config kept.json --dry-run");
  program_refuse(2, "train toy --data moons --config set.json --dry-run", "never had an effect");
}

static void what_could_not_act_is_not_trained(void **state) {
  (void)state;
  static const char *const cases[][2] = {
    { "diffusion-bc --set sample_steps=900", "choose 1 to 5" },
    { "diffusion-bc --set sample_steps=6", "choose 1 to 5" },
    { "diffusion-bc --set sampler=ddim --set sample_steps=6", "choose 1 to 5" },
    { "diffuser --set horizon=4 --set mults=1 --set diffusion_steps=200", "at most 100" },
    { "diffuser --set horizon=4 --set mults=1 --set sample_steps=21", "choose 1 to 20" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char line[512];
    snprintf(line, sizeof line, "train %s --data point.hdf5 --env none --steps 2 --out none",
             cases[i][0]);
    program_refuse(2, line, cases[i][1]);
    assert_int_equal(file_size("none/config.json"), -1);
  }
}

/* A policy takes those rows of the act record that mean something for it. */
static void policies_refuse_rows_of_others(void **state) {
  (void)state;
  static const char *const rows[] = { "sampler=ddim",  "steps=3",    "spacing=karras",
                                      "order=2",       "eta=1",      "candidates=2",
                                      "temperature=2", "value=mean", "rho=2" };
  char line[256];
  program_succeed("train bc --data point.hdf5 --env none --set hidden=8 --steps 2 --out plain");
  program_succeed("train bc --data point.hdf5 --env none --set hidden=8 --steps 2 --out normal "
                  "--set policy=gaussian");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    snprintf(line, sizeof line, "act plain --act %s", rows[i]);
    program_refuse(2, line, "a deterministic policy has no");
    snprintf(line, sizeof line, "eval normal --env point-v0 --act %s", rows[i]);
    program_refuse(2, line, "a gaussian policy has no");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(settings_are_of_those_who_use_them),
    cmocka_unit_test(what_has_no_effect_is_refused),
    cmocka_unit_test(records_of_release_0_1_are_read),
    cmocka_unit_test(what_could_not_act_is_not_trained),
    cmocka_unit_test(policies_refuse_rows_of_others),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
