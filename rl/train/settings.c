/* settings.c -- defaults < preset < --config < flags; of a resumed run its record < flags. */
#include "rl/train/settings.h"
#include "rl/train/preset.h"
#include <stdio.h>
#include <string.h>

static bool apply_file(Trainer *t, const char *path, Error *error) {
  Json *json = json_parse_file(path, error);
  if (!json) return false;
  const Json *settings = json_get(json, "settings"); /* a run's own config.json */
  bool done = config_read(&t->settings, settings ? settings : json, "--config", error);
  json_free(json);
  return done || error_prefix(error, "%s", path);
}

static bool apply_flags(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
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

static void start_settings(Trainer *t) {
  t->config = arena_alloc(t->arena, t->algo->config_size);
  t->shared = t->config;
  config_init(&t->settings, t->algo->fields, t->algo->field_count, t->config);
}

bool settings_choose(Trainer *t, Error *error) {
  const TrainRequest *r = t->request;
  const Preset *preset = NULL;
  start_settings(t);
  if (r->preset) {
    if (!(preset = preset_find(t->algo->name, r->preset, error))) return false;
  } else if (t->data_name)
    preset = preset_for(t->algo->name, t->data_name);
  if (preset && !config_set_all(&t->settings, preset->settings, "preset", error)) return false;
  t->preset = preset ? preset->name : NULL;
  if (r->config_file && !apply_file(t, r->config_file, error)) return false;
  if (!apply_flags(t, error)) return false;
  TrainConfig *shared = t->config; /* the length of a cosine is that of the first sitting */
  if (!strcmp(shared->schedule_rate.s, "cosine") && !shared->rate_steps)
    shared->rate_steps = shared->steps;
  return true;
}

/* Who set what, so that writing the record again loses nothing. */
static void restore_origins(Trainer *t, const Json *changed) {
  for (size_t i = 0; i < t->settings.count; i++) {
    const Json *key = json_first(changed);
    while (key && strcmp(json_text(key) ? json_text(key) : "", t->settings.fields[i].key))
      key = json_next(key);
    if (!key) t->settings.origin[i] = NULL;
  }
}

bool settings_restore(Trainer *t, const Json *record, Error *error) {
  start_settings(t);
  if (!config_read(&t->settings, json_get(record, "settings"), "run", error)) return false;
  restore_origins(t, json_get(record, "changed"));
  const char *preset = json_text(json_get(record, "preset"));
  t->preset = preset ? arena_text(t->arena, "%s", preset) : NULL;
  return apply_flags(t, error);
}
