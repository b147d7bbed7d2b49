/* settings.c -- defaults < preset < --config < flags; of a resumed run its record < flags. */
#include "rl/train/settings.h"
#include "rl/train/preset.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Settings of release 0.1 that all algorithms had, also those that made no use of them, and the
 * value that stands in the record of nearly every run. */
static const struct {
  const char *key, *nothing;
} retired[] = { { "normalize_obs", "false" }, { "reward", "raw" }, { "eval_episodes", "10" } };

static bool is_setting(const Trainer *t, const char *key) {
  for (size_t i = 0; i < t->settings.count; i++)
    if (!strcmp(t->settings.fields[i].key, key)) return true;
  return false;
}

/* Does this member say the value, as a text or as true or false? */
static bool says(const Json *member, const char *value) {
  if (json_text(member)) return !strcmp(json_text(member), value);
  if (json_is_number(member)) return json_number(member, NAN) == strtod(value, NULL);
  bool flag = json_bool(member, false);
  return flag == json_bool(member, true) && !strcmp(flag ? "true" : "false", value);
}

/* the settings that a run's config.json holds */
static bool read_record(Trainer *t, const Json *settings, const char *origin, Error *error) {
  if (!json_is_object(settings)) return config_read(&t->settings, settings, origin, error);
  for (const Json *member = json_first(settings); member; member = json_next(member)) {
    const char *key = json_key(member), *nothing = NULL;
    /* a retired setting at its inert value is passed over; any other value is refused */
    for (size_t i = 0; i < sizeof retired / sizeof *retired; i++)
      if (!strcmp(retired[i].key, key)) nothing = retired[i].nothing;
    if (!nothing || is_setting(t, key)) {
      if (!config_read_member(&t->settings, member, origin, error)) return false;
    } else if (!says(member, nothing))
      return error_set(
          error, FAIL_USAGE,
          "%s: %s has no such setting any more, and it never had an effect there; take "
          "it out of config.json",
          key, t->algo->name);
  }
  return true;
}

static bool apply_file(Trainer *t, const char *path, Error *error) {
  Json *json = json_parse_file(path, error);
  if (!json) return false;
  const Json *settings = json_get(json, "settings"); /* a run's own config.json */
  bool done = settings ? read_record(t, settings, "--config", error)
                       : config_read(&t->settings, json, "--config", error);
  json_free(json);
  return done || error_prefix(error, "%s", path);
}

static bool apply_flags(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  /* the number of steps comes first, so that a setting `steps` has the last word */
  char number[32];
  snprintf(number, sizeof number, "%lld", (long long)r->steps);
  if (r->steps && !config_set(&t->settings, "steps", number, "--set", error)) return false;
  for (int i = 0; i < r->sets; i++) {
    const char *equals = strchr(r->set[i], '=');
    if (!equals) return error_set(error, FAIL_USAGE, "--set %s: expected key=value", r->set[i]);
    const char *key = arena_text(t->arena, "%.*s", (int)(equals - r->set[i]), r->set[i]);
    if (!config_set(&t->settings, key, equals + 1, "--set", error)) return false;
  }
  return true;
}

/* those of settings that several algorithms share */
static const SettingNeed shared_needs[] = { { "rho", "value", "lower", NULL },
                                            { NULL, NULL, NULL, NULL } };

/* A setting that is given on the command line and changes nothing is a mistake of whoever gave it;
 * presets and records hold all of them. */
static bool check_needs(const Trainer *t, const SettingNeed *need, Error *error) {
  for (; need && need->key; need++) {
    bool other = config_is(&t->settings, need->where, need->is ? need->is : need->but);
    for (size_t i = 0; i < t->settings.count && other == (need->is == NULL); i++) {
      const char *origin = t->settings.origin[i];
      if (strcmp(t->settings.fields[i].key, need->key) || !origin || strcmp(origin, "--set"))
        continue;
      return error_set(error, FAIL_USAGE,
                       "--set %s=..: it has no effect %s %s=%s; omit it, or "
                       "choose another %s",
                       need->key, need->is ? "but with" : "with", need->where,
                       need->is ? need->is : need->but, need->where);
    }
  }
  return true;
}

static void start_settings(Trainer *t) {
  t->config = arena_alloc(t->arena, t->algo->config_size);
  t->shared = t->config;
  config_init(&t->settings, t->algo->fields, t->algo->field_count, t->config);
}

bool settings_choose(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  const Preset *preset = NULL;
  start_settings(t);
  /* a preset that is named must exist; without a name that of the data is taken, if there is one */
  if (r->preset) {
    if (!(preset = preset_find(t->algo->name, r->preset, error))) return false;
  } else if (t->data_name)
    preset = preset_for(t->algo->name, t->data_name);
  if (preset && !config_set_all(&t->settings, preset->settings, "preset", error)) return false;
  t->preset = preset ? preset->name : NULL;
  /* what the user says stands above the preset */
  if (r->config_file && !apply_file(t, r->config_file, error)) return false;
  if (!apply_flags(t, error) || !check_needs(t, shared_needs, error) ||
      !check_needs(t, t->algo->needs, error))
    return false;
  TrainConfig *shared = t->config; /* the length of a cosine is that of the first sitting */
  if (!strcmp(shared->schedule_rate.s, "cosine") && !shared->rate_steps)
    shared->rate_steps = shared->steps;
  return true;
}

/* Who set what, so that writing the record again loses nothing. */
static void restore_origins(Trainer *t, const Json *changed) {
  /* reading the record marked every setting as set; those not listed there were defaults */
  for (size_t i = 0; i < t->settings.count; i++) {
    const Json *key = json_first(changed);
    while (key && strcmp(json_text(key) ? json_text(key) : "", t->settings.fields[i].key))
      key = json_next(key);
    if (!key) t->settings.origin[i] = NULL;
  }
}

bool settings_restore(Trainer *t, const Json *record, Error *error) {
  start_settings(t);
  if (!read_record(t, json_get(record, "settings"), "run", error)) {
    error->kind = FAIL_INPUT;
    return error_prefix(error, "%s/config.json", t->request->resume);
  }
  restore_origins(t, json_get(record, "changed"));
  const char *preset = json_text(json_get(record, "preset"));
  t->preset = preset ? arena_text(t->arena, "%s", preset) : NULL;
  return apply_flags(t, error);
}
