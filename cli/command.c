/* command.c -- from words to a struct, by the table of options. */
#include "cli/command.h"
#include "core/check.h"
#include "core/escape.h"
#include "core/names.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t largest = INT64_C(1) << 53; /* numbers pass through JSON unchanged */

/* ---- options --------------------------------------------------------------------------------- */

/* The row of this name; `length` letters, since a value may follow behind an equals sign. */
static const Option *find(const Command *c, const char *name, size_t length, Error *error) {
  char word[64], see[64];
  snprintf(word, sizeof word, "%.*s", (int)length, name);
  snprintf(see, sizeof see, "`diffrl %s --help`", c->name);
  int i = names_find(
      NAMES(c->options, (size_t)c->option_count, .what = "option", .see = see, .mark = "--"), word,
      error);
  if (i < 0) error_prefix(error, "%s", c->name);
  return i < 0 ? NULL : &c->options[i];
}

/* A decimal number within the limits; blanks and plus signs, which strtoll accepts, are refused. */
static bool set_number(const Option *o, const char *text, int64_t *number, Error *error) {
  char *end;
  int64_t high = o->high ? o->high : largest;
  long long value = strtoll(text, &end, 10);
  if (!*text || *end || text[strspn(text, "-0123456789")])
    return error_set(error, FAIL_USAGE, "--%s: \"%.40s\" is not a whole number (%s)", o->name, text,
                     o->help);
  if (value < o->low || value > high)
    return error_set(error, FAIL_USAGE, "--%s: %.40s is out of range; expected %lld to %lld (%s)",
                     o->name, text, (long long)o->low, (long long)high, o->help);
  *number = value;
  return true;
}

/* Options that may be repeated collect their values, in the order in which they were given. */
static bool set_word(const Option *o, const char *text, Arguments *list, Error *error) {
  if (list->count == WORDS_MAX)
    return error_set(error, FAIL_USAGE, "--%s: more than %d of them", o->name, WORDS_MAX);
  list->word[list->count++] = text;
  return true;
}

/* Two different values would leave it open which one counts. */
static bool fail_twice(const Option *o, const char *text, Error *error) {
  return error_set(error, FAIL_USAGE, "--%s is given two values, the second is %.60s; keep one",
                   o->name, text);
}

/* text NULL: a flag */
static bool set_option(const Option *o, const char *text, bool again, void *request, Error *error) {
  void *place = (char *)request + o->offset;
  const char **held = place;
  int64_t number = 0;
  /* the same value given again is harmless; another one is an error */
  switch (o->type) {
  case OPTION_FLAG: *(bool *)place = true; return true;
  case OPTION_WORDS: return set_word(o, text, place, error);
  case OPTION_TEXT:
    if (again && strcmp(*held, text)) return fail_twice(o, text, error);
    *held = text;
    return *text || error_set(error, FAIL_USAGE, "--%s: empty; expected %s", o->name, o->argument);
  case OPTION_NUMBER:
    if (!set_number(o, text, &number, error)) return false;
    if (again && *(int64_t *)place != number) return fail_twice(o, text, error);
    *(int64_t *)place = number;
  }
  return true;
}

/* One option and perhaps the word after it; *taken says how many words were used. */
static bool take_option(const Command *c, int count, char *const *word, Parsed *parsed, int *taken,
                        Error *error) {
  /* the value is either behind an equals sign or the next word */
  const char *name = word[0] + 2, *equals = strchr(name, '=');
  size_t length = equals ? (size_t)(equals - name) : strlen(name);
  const Option *o = find(c, name, length, error);
  if (!o) return false;
  *taken = 1;
  const char *text = equals ? equals + 1 : NULL;
  if (!o->argument && text) return error_set(error, FAIL_USAGE, "--%s takes no value", o->name);
  if (o->argument && !text) {
    if (count < 2)
      return error_set(error, FAIL_USAGE, "--%s needs a value: --%s %s", o->name, o->name,
                       o->argument);
    text = word[1], *taken = 2;
  }
  /* what was given is remembered, so that commands can tell a default from a request */
  bool *seen = &parsed->option[o - c->options], again = *seen;
  *seen = true;
  return set_option(o, text, again, parsed, error);
}

/* Words without dashes are the command's arguments, up to the number it takes. */
static bool take_argument(const Command *c, const char *word, Arguments *arguments, Error *error) {
  if (arguments->count < c->most && arguments->count < WORDS_MAX) {
    arguments->word[arguments->count++] = word;
    return true;
  }
  return error_set(error, FAIL_USAGE,
                   "%s: \"%.60s\" is one argument too many; expected: diffrl %s %s", c->name, word,
                   c->name, c->usage);
}

/* Zero, false and NULL, but for numbers, whose table has a default; then parsing fills it. */
static void set_initial(const Command *c, void *request) {
  memset(request, 0, c->size);
  *(Parsed *)request = (Parsed){ .command = c };
  for (const Option *o = c->options; o < c->options + c->option_count; o++)
    if (o->type == OPTION_NUMBER) *(int64_t *)((char *)request + o->offset) = o->initial;
}

bool command_parse(const Command *c, int count, char *const *word, void *request, Error *error) {
  Parsed *parsed = request;
  CHECK(c->option_count <= OPTIONS_MAX, "%s: %d options", c->name, c->option_count);
  set_initial(c, request);
  bool options = true;
  for (int i = 0, taken = 1; i < count; i += taken, taken = 1) {
    /* a lone dash is an argument, as is everything behind `--` */
    bool dashes = options && word[i][0] == '-' && word[i][1];
    if (dashes && !strcmp(word[i], "--")) {
      options = false;
    } else if (dashes && word[i][1] != '-') {
      return error_set(error, FAIL_USAGE, "%s: unknown option %.60s; options begin with --",
                       c->name, word[i]);
    } else if (dashes ? !take_option(c, count - i, word + i, parsed, &taken, error)
                      : !take_argument(c, word[i], &parsed->arguments, error)) {
      return false;
    }
  }
  /* too many arguments were refused above; too few show only at the end */
  if (parsed->arguments.count >= c->least) return true;
  return error_set(error, FAIL_USAGE, "%s: something is missing; expected: diffrl %s %s", c->name,
                   c->name, c->usage);
}

bool command_given(const Parsed *parsed, const char *option) {
  const Command *c = parsed->command;
  for (int i = 0; i < c->option_count; i++)
    if (!strcmp(c->options[i].name, option)) return parsed->option[i];
  /* a command that asks for an option it does not list is a mistake in the program */
  CHECK(false, "%s has no option --%s", c->name, option);
}

/* ---- help ------------------------------------------------------------------------------------ */

bool command_asks_help(int count, char *const *word) {
  /* behind `--` even --help is an argument */
  for (int i = 0; i < count && strcmp(word[i], "--"); i++)
    if (!strcmp(word[i], "--help") || !strcmp(word[i], "-h")) return true;
  return false;
}

/* One line of --help: the option as it is typed, and what it does. */
static void print_option(const Option *o, FILE *out) {
  char left[64];
  snprintf(left, sizeof left, "--%s%s%s", o->name, o->argument ? " " : "",
           o->argument ? o->argument : "");
  fprintf(out, "  %-24s %s\n", left, o->help);
}

bool command_help(const Command *c, int count, char *const *word, FILE *out, Error *error) {
  fprintf(out, "diffrl %s %s\n\n%s\n", c->name, c->usage, c->about);
  if (c->option_count) fprintf(out, "\nOptions\n");
  for (int i = 0; i < c->option_count; i++) print_option(&c->options[i], out);
  fprintf(out, "\nExamples\n%s", c->examples);
  /* the command's own help may depend on its arguments, such as the algorithm of `train` */
  Arguments arguments = { 0 };
  for (int i = 0; i < count && i < WORDS_MAX && word[i][0] != '-'; i++)
    arguments.word[arguments.count++] = word[i];
  return !c->help || c->help(&arguments, out, error);
}

void command_print(const char *text) {
  fputs(text, stdout);
  fputc('\n', stdout);
  fflush(stdout);
}

void command_complain(Error *error) {
  /* names and texts of files are quoted in it, and a terminal must not obey them */
  char text[2 * sizeof error->text];
  escape_into(text, sizeof text, error->text);
  /* a live line may stand on the terminal; what another rank says is not said twice */
  if (*text) fprintf(stderr, "%sdiffrl: %s\n", isatty(2) ? "\r\033[K" : "", text);
  *error->text = '\0';
}
