/* record.c -- config.json: what a run was started on, to be read, compared and resumed. */
#include "core/file.h"
#include "rl/train/measuring.h"
#include "rl/train/record.h"
#include "rl/rollout/task.h"
#include "rl/version.h"
#include <math.h>

/* what the numbers may depend on beside seed, data and settings */
static void write_versions(const Trainer *t, JsonText *out) {
  json_open(out, "versions", '{');
  json_put_text(out, "diffrl", DIFFRL_VERSION);
  json_put_text(out, "simulator", env_simulator());
  json_put_text(out, "kernels", t->kernels->name);
  json_close(out, '}');
}

static void write_record(Trainer *t, JsonText *json) {
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "diffrl", DIFFRL_VERSION);
  json_put_text(&out, "algo", t->algo->name);
  json_put_text(&out, "env", t->env_def ? t->env_def->name : NULL);
  json_put_text(&out, "data", t->source->name);
  json_put_bool(&out, "generated", t->source->generated);
  json_put_text(&out, "data_hash", t->source->hash);
  json_put_integer(&out, "seed", (int64_t)t->seed);
  json_put_integer(&out, "steps", t->shared->steps);
  json_put_text(&out, "preset", t->preset);
  json_put_text(&out, "init", t->init);
  json_put_bool(&out, "d4rl_reference", t->reference);
  /* all settings, and apart from them those that somebody set to something else than the default */
  json_open(&out, "settings", '{');
  config_write(&t->settings, &out);
  json_close(&out, '}');
  json_open(&out, "changed", '[');
  for (size_t i = 0; i < t->settings.count; i++)
    if (t->settings.origin[i] && !config_is_default(&t->settings, i))
      json_put_text(&out, NULL, t->settings.fields[i].key);
  json_close(&out, ']');
  /* what was measured with what, and what the data are */
  write_versions(t, &out);
  if (t->source->def->describe) {
    json_open(&out, "dataset", '{');
    t->source->def->describe(t->source, &out);
    json_close(&out, '}');
  }
  /* the report shows measures by this table and knows no algorithm */
  json_open(&out, "measures", '[');
  measuring_describe(t->agent, &out);
  json_close(&out, ']');
  json_open(&out, "warnings", '[');
  warnings_write(&t->warnings, &out);
  json_close(&out, ']');
  json_close(&out, '}');
  *json = out;
}

void record_refresh(Trainer *t) {
  Error error;
  JsonText out = { 0 };
  if (!t->warnings.changed) return;
  write_record(t, &out);
  if (!file_write(t->run.config, out.text, out.length, &error))
    log_progress(true, "warnings are not recorded: %s", error.text);
  json_text_free(&out);
}

bool record_write(Trainer *t, Error *error) {
  JsonText out = { 0 };
  write_record(t, &out);
  /* the metrics of a resumed run stay; their tail is cut when its checkpoint is read */
  bool done = (t->request->resume || file_write(t->run.metrics, "", 0, error)) &&
              file_write(t->run.config, out.text, out.length, error);
  json_text_free(&out);
  return done;
}

/* a member that is a text, or null or absent where nothing is to say */
static bool read_text(const Json *json, const char *key, const char **text, Error *error) {
  const Json *value = json_get(json, key);
  *text = json_text(value);
  return !value || *text || json_is_null(value) ||
         error_set(error, FAIL_INPUT, "\"%s\": expected a text or null", key);
}

static bool is_flag(const Json *value) { return json_bool(value, true) == json_bool(value, false); }

static bool read_members(Trainer *t, Record *r, Error *error) {
  int64_t seed;
  const char *preset;
  const Json *json = r->json, *reference = json_get(json, "d4rl_reference");
  if (!json_is_object(json))
    return error_set(error, FAIL_INPUT, "expected an object; not written by diffrl");
  /* these texts belong to the JSON, which the caller frees */
  if (!read_text(json, "algo", &r->algo, error) || !read_text(json, "env", &r->env, error) ||
      !read_text(json, "data", &r->data, error) ||
      !read_text(json, "data_hash", &r->data_hash, error) ||
      !read_text(json, "init", &r->init, error) || !read_text(json, "preset", &preset, error))
    return false;
  if (!r->algo) return error_set(error, FAIL_INPUT, "no \"algo\"; not written by diffrl");
  if (!json_whole(json_get(json, "seed"), 0, (int64_t)1 << 53, &seed))
    return error_set(error, FAIL_INPUT, "\"seed\": expected a whole number from 0 to 2^53");
  if (reference && !is_flag(reference))
    return error_set(error, FAIL_INPUT, "\"d4rl_reference\": expected true or false");
  /* the seed of a run is never chosen anew */
  t->seed = (uint64_t)seed;
  return true;
}

bool record_read(Trainer *t, Record *record, Error *error) {
  const char *path = arena_text(t->arena, "%s/config.json", t->request->resume);
  if (!(record->json = json_parse_file(path, error)))
    return error_prefix(error, "cannot resume %s", t->request->resume);
  if (read_members(t, record, error)) return true;
  json_free(record->json);
  return error_prefix(error, "%s", path);
}
