/* warnings.c -- a short list, one entry a kind. */
#include "rl/warnings.h"
#include "core/log.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The entry of this key; NULL: there is none. */
static Warning *find(Warnings *w, const char *key) {
  for (int i = 0; i < w->count; i++)
    if (!strcmp(w->item[i].key, key)) return &w->item[i];
  return NULL;
}

/* A new entry; NULL if there is no room, which leaves the others as they are. */
static Warning *add(Warnings *w, const char *key) {
  if (w->count == WARNINGS_MOST) return NULL;
  Warning *one = &w->item[w->count++];
  *one = (Warning){ .step = w->step };
  snprintf(one->key, sizeof one->key, "%s", key);
  return one;
}

static void take_away(Warnings *w, Warning *one) {
  Warning *end = w->item + w->count--;
  memmove(one, one + 1, (size_t)(end - one - 1) * sizeof *one);
  w->changed = true;
}

void warnings_happened(Warnings *w, const char *key, const char *format, ...) {
  Warning *one = w && !find(w, key) ? add(w, key) : NULL;
  if (!one) return;
  va_list args;
  va_start(args, format);
  vsnprintf(one->text, sizeof one->text, format, args);
  va_end(args);
  one->happening = w->changed = true;
  log_progress(true, "warning, step %lld: %s", (long long)one->step, one->text);
}

void warnings_state(Warnings *w, const char *key, bool holds, const char *format, ...) {
  Warning *one = w ? find(w, key) : NULL;
  if (one && !holds) take_away(w, one);
  if (!w || !holds || (!one && !(one = add(w, key)))) return;
  va_list args;
  va_start(args, format);
  vsnprintf(one->text, sizeof one->text, format, args);
  va_end(args);
  one->step = w->step, w->changed = true;
}

void warnings_rewind(Warnings *w, int64_t step) {
  w->step = step;
  for (int i = w->count; i-- > 0;)
    if (w->item[i].step > step) take_away(w, &w->item[i]);
}

void warnings_write(Warnings *w, JsonText *out) {
  for (int i = 0; i < w->count; i++) {
    json_open(out, NULL, '{');
    json_put_text(out, "key", w->item[i].key);
    json_put_integer(out, "step", w->item[i].step);
    json_put_bool(out, "happening", w->item[i].happening);
    json_put_text(out, "text", w->item[i].text);
    json_close(out, '}');
  }
  w->changed = false;
}

void warnings_read(Warnings *w, const Json *array) {
  for (const Json *row = json_first(array); row && json_is_array(array); row = json_next(row)) {
    const char *key = json_text(json_get(row, "key")), *text = json_text(json_get(row, "text"));
    double step = json_number(json_get(row, "step"), NAN);
    /* what is not one of ours is passed over */
    if (!key || !text || !(step >= 0 && step < 9e15) || find(w, key)) continue;
    Warning *one = add(w, key);
    if (!one) return;
    one->step = (int64_t)step;
    one->happening = json_bool(json_get(row, "happening"), false);
    snprintf(one->text, sizeof one->text, "%s", text);
  }
}
