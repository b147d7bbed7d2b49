/* config.c -- one table row per setting; every value enters through one parser.
 *
 * Defaults, presets, files and the command line are all read as text by parse(), so a number that
 * is refused in one place is refused in all.  Whole numbers stay within 2^53, so JSON carries them
 * without loss. */
#include "core/config.h"
#include "core/check.h"
#include "core/names.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 128, MAX_CHOICES = 32, LIST_SIZE = 512 };

/* What a member of the struct holds.  Texts are zero-padded and no number is -0, so two values are
 * equal if their bytes are. */
typedef union {
  CONFIG_C_INT whole;
  CONFIG_C_FLOAT number;
  CONFIG_C_BOOL flag;
  CONFIG_C_TEXT text;
} Value;

static const struct {
  const char *name;
  size_t size;
} types[] = {
  [CONFIG_INT] = { "a whole number", sizeof(CONFIG_C_INT) },
  [CONFIG_FLOAT] = { "a number", sizeof(CONFIG_C_FLOAT) },
  [CONFIG_BOOL] = { "true or false", sizeof(CONFIG_C_BOOL) },
  [CONFIG_TEXT] = { "a text", sizeof(CONFIG_C_TEXT) },
};

/* ---- text to values -------------------------------------------------------------------------- */

static bool is_open(const char *limit) { return !strcmp(limit, "NULL"); }

/* A literal of the list without the quotes that its text literals keep. */
static void unquote(const char *literal, char *out, size_t size) {
  size_t length = strlen(literal), quoted = *literal == '"';
  CHECK(length < size, "config: %s is too long", literal);
  snprintf(out, size, "%.*s", (int)(length - 2 * quoted), literal + quoted);
}

/* Decimal numbers only: no spaces, hex, infinities. */
static bool parse_number(const char *text, double *number) {
  char *end;
  if (!*text || text[strspn(text, "0123456789+-.eE")]) return false;
  *number = strtod(text, &end);
  return !*end && isfinite(*number);
}

static bool parse_flag(const char *text, bool *flag) {
  static const char *const words[] = { "false", "true", "0", "1", "no", "yes" };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strcmp(text, words[i])) continue;
    *flag = i % 2;
    return true;
  }
  return false;
}

static bool in_range(const ConfigField *field, double number) {
  double low = -INFINITY, high = INFINITY;
  CHECK((is_open(field->low) || parse_number(field->low, &low)) &&
            (is_open(field->high) || parse_number(field->high, &high)),
        "config: the range of %s is not two literals", field->key);
  return number >= low && number <= high;
}

/* "choice|choice" into words that point into list; returns how many, 0 if any text will do. */
static size_t split_choices(const ConfigField *field, char list[LIST_SIZE],
                            const char *choice[MAX_CHOICES]) {
  size_t count = 0;
  char *rest = NULL;
  if (is_open(field->low)) return 0;
  unquote(field->low, list, LIST_SIZE);
  for (char *word = strtok_r(list, "|", &rest); word; word = strtok_r(NULL, "|", &rest)) {
    CHECK(count < MAX_CHOICES, "config: too many choices for %s", field->key);
    choice[count++] = word;
  }
  return count;
}

static bool fail_choice(const ConfigField *field, const char *text, const char *const *choice,
                        size_t count, Error *error) {
  const char *near = names_nearest(NAMES(choice, count, .what = field->key), text);
  return error_set(error, FAIL_USAGE, "%s: \"%.60s\" is not one of %s%s%s%s", field->key, text,
                   field->low, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static bool parse_text(const ConfigField *field, const char *text, Value *value, Error *error) {
  char list[LIST_SIZE];
  const char *choice[MAX_CHOICES];
  size_t count = split_choices(field, list, choice), i = 0;
  if (strlen(text) >= CONFIG_TEXT_SIZE)
    return error_set(error, FAIL_USAGE, "%s: at most %d characters, not %zu", field->key,
                     CONFIG_TEXT_SIZE - 1, strlen(text));
  while (i < count && strcmp(text, choice[i])) i++;
  if (count && i == count) return fail_choice(field, text, choice, count, error);
  strcpy(value->text.s, text);
  return true;
}

static bool fail_range(const ConfigField *field, const char *text, Error *error) {
  bool low = !is_open(field->low), high = !is_open(field->high);
  return error_set(error, FAIL_USAGE, "%s: %.40s is out of range; expected %s%s%s (%s)", field->key,
                   text, low ? field->low : "at most ", low ? (high ? " to " : " or more") : "",
                   high ? field->high : "", field->help);
}

static bool parse(const ConfigField *field, const char *text, Value *value, Error *error) {
  double number = 0;
  memset(value, 0, sizeof *value);
  if (field->type == CONFIG_TEXT) return parse_text(field, text, value, error);
  bool right =
      field->type == CONFIG_BOOL ? parse_flag(text, &value->flag) : parse_number(text, &number);
  if (field->type == CONFIG_INT) right = right && number == trunc(number) && fabs(number) <= 0x1p53;
  if (!right)
    return error_set(error, FAIL_USAGE, "%s: \"%.40s\" is not %s (%s)", field->key, text,
                     types[field->type].name, field->help);
  if (!in_range(field, number)) return fail_range(field, text, error);
  if (field->type == CONFIG_INT) value->whole = (int64_t)number;
  if (field->type == CONFIG_FLOAT) value->number = number + 0.0; /* -0 + 0 = 0 */
  return true;
}

static void *place(const Config *config, const ConfigField *field) {
  return (char *)config->values + field->offset;
}

static Value default_of(const ConfigField *field) {
  char initial[LIST_SIZE];
  Value value;
  Error error;
  unquote(field->initial, initial, sizeof initial);
  CHECK(parse(field, initial, &value, &error), "config: a wrong default: %s", error.text);
  return value;
}

void config_init(Config *config, const ConfigField *fields, size_t count, void *values) {
  CHECK(count <= MAX_FIELDS, "config: %zu fields", count);
  *config = (Config){ .fields = fields, .count = count, .values = values };
  for (size_t i = 0; i < count; i++) {
    const ConfigField *field = &fields[i];
    Value value = default_of(field);
    memcpy(place(config, field), &value, types[field->type].size);
  }
}

/* ---- setting --------------------------------------------------------------------------------- */

static const ConfigField *find(const Config *config, const char *key, Error *error) {
  const Names *names = NAMES(config->fields, config->count, .what = "setting", .see = "--help");
  int i = names_find(names, key, error);
  return i < 0 ? NULL : &config->fields[i];
}

bool config_set(Config *config, const char *key, const char *text, const char *origin,
                Error *error) {
  const ConfigField *field = find(config, key, error);
  Value value;
  if (!field || !parse(field, text, &value, error)) return false;
  const char **setter = &config->origin[field - config->fields];
  size_t size = types[field->type].size;
  if (*setter && !strcmp(*setter, origin) && memcmp(place(config, field), &value, size) != 0)
    return error_set(error, FAIL_USAGE, "%s: %s gives it two values, the second is %.60s; keep one",
                     key, origin, text);
  memcpy(place(config, field), &value, size);
  *setter = origin;
  return true;
}

bool config_set_all(Config *config, const char *pairs, const char *origin, Error *error) {
  static const char spaces[] = " \t\n";
  for (pairs += strspn(pairs, spaces); *pairs; pairs += strspn(pairs, spaces)) {
    char pair[LIST_SIZE];
    size_t length = strcspn(pairs, spaces);
    snprintf(pair, sizeof pair, "%.*s", (int)length, pairs);
    char *equals = strchr(pair, '=');
    if (!equals || length >= sizeof pair)
      return error_set(error, FAIL_USAGE, "%s: expected key=value, found \"%.60s\"", origin, pair);
    *equals = '\0';
    if (!config_set(config, pair, equals + 1, origin, error)) return false;
    pairs += length;
  }
  return true;
}

/* ---- JSON and help --------------------------------------------------------------------------- */

static bool read_member(Config *config, const ConfigField *field, const Json *member,
                        const char *origin, Error *error) {
  const char *text = json_text(member);
  bool number = json_is_number(member), flag = json_bool(member, false) == json_bool(member, true);
  bool right = field->type == CONFIG_TEXT   ? text != NULL
               : field->type == CONFIG_BOOL ? flag
                                            : number;
  if (!right)
    return error_set(error, FAIL_USAGE, "%s: expected %s (%s)", field->key, types[field->type].name,
                     field->help);
  char digits[JSON_NUMBER_TEXT];
  if (number) text = json_number_text(json_number(member, 0), digits);
  if (flag) text = json_bool(member, false) ? "true" : "false";
  return config_set(config, field->key, text, origin, error);
}

bool config_read_member(Config *config, const Json *member, const char *origin, Error *error) {
  const ConfigField *field = find(config, json_key(member), error);
  return field && read_member(config, field, member, origin, error);
}

bool config_read(Config *config, const Json *object, const char *origin, Error *error) {
  if (!json_is_object(object))
    return error_set(error, FAIL_USAGE, "%s: expected an object {\"key\": value, ...}", origin);
  for (const Json *member = json_first(object); member; member = json_next(member))
    if (!config_read_member(config, member, origin, error)) return false;
  return true;
}

bool config_is(const Config *config, const char *key, const char *text) {
  Error none;
  Value value;
  for (const ConfigField *field = config->fields; field < config->fields + config->count; field++)
    if (!strcmp(field->key, key))
      return parse(field, text, &value, &none) &&
             !memcmp(place(config, field), &value, types[field->type].size);
  return false;
}

void config_copy(Config *to, const ConfigField *fields, size_t count, const void *values) {
  for (size_t i = 0; i < to->count; i++)
    for (const ConfigField *from = fields; from && from < fields + count; from++)
      if (to->fields[i].type == from->type && !strcmp(to->fields[i].key, from->key))
        memcpy(place(to, &to->fields[i]), (const char *)values + from->offset,
               types[from->type].size);
}

void config_write(const Config *config, JsonText *out) {
  for (size_t i = 0; i < config->count; i++) {
    const ConfigField *field = &config->fields[i];
    Value value;
    memcpy(&value, place(config, field), types[field->type].size);
    switch (field->type) {
    case CONFIG_INT: json_put_integer(out, field->key, value.whole); break;
    case CONFIG_FLOAT: json_put_number(out, field->key, value.number); break;
    case CONFIG_BOOL: json_put_bool(out, field->key, value.flag); break;
    case CONFIG_TEXT: json_put_text(out, field->key, value.text.s); break;
    }
  }
}

void config_value(const Config *config, const char *key, char text[CONFIG_TEXT_SIZE]) {
  Config one = *config;
  JsonText json = { 0 };
  while (one.count && strcmp(one.fields->key, key)) one.fields++, one.count--;
  one.count = one.count > 0;
  config_write(&one, &json);
  const char *value = json.text ? strchr(json.text, ':') + 1 : "";
  size_t length = strlen(value), quoted = *value == '"';
  snprintf(text, CONFIG_TEXT_SIZE, "%.*s", (int)(length - 2 * quoted), value + quoted);
  json_text_free(&json);
}

void config_write_object(const ConfigField *fields, size_t count, const void *values,
                         const char *key, JsonText *out) {
  Config config = { .fields = fields, .count = count, .values = (void *)(uintptr_t)values };
  json_open(out, key, '{');
  config_write(&config, out);
  json_close(out, '}');
}

bool config_is_default(const Config *config, size_t i) {
  const ConfigField *field = &config->fields[i];
  Value value = default_of(field), held;
  memcpy(&held, place(config, field), types[field->type].size);
  switch (field->type) {
  case CONFIG_INT: return held.whole == value.whole;
  case CONFIG_FLOAT: return held.number == value.number;
  case CONFIG_BOOL: return held.flag == value.flag;
  case CONFIG_TEXT: return !strcmp(held.text.s, value.text.s);
  }
  return false;
}

bool config_equal(const Config *config, const void *other, const char **key) {
  for (size_t i = 0; i < config->count; i++) {
    const ConfigField *field = &config->fields[i];
    if (memcmp(place(config, field), (const char *)other + field->offset,
               types[field->type].size)) {
      *key = field->key;
      return false;
    }
  }
  return true;
}

static void print_range(const ConfigField *field, FILE *out) {
  bool low = !is_open(field->low), high = !is_open(field->high);
  char list[LIST_SIZE];
  unquote(field->low, list, sizeof list);
  if (field->type == CONFIG_BOOL)
    fprintf(out, " (true, false)");
  else if (field->type == CONFIG_TEXT && low)
    fprintf(out, " (%s)", list);
  else if (low && high)
    fprintf(out, " (%s to %s)", field->low, field->high);
  else if (low)
    fprintf(out, " (%s or more)", field->low);
  else if (high)
    fprintf(out, " (at most %s)", field->high);
}

void config_help(const Config *config, FILE *out) {
  for (size_t i = 0; i < config->count; i++) {
    const ConfigField *field = &config->fields[i];
    char initial[LIST_SIZE];
    unquote(field->initial, initial, sizeof initial);
    fprintf(out, "  %-24s %-12s %s", field->key, initial, field->help);
    print_range(field, out);
    fputc('\n', out);
  }
}
