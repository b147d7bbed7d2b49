/* command.h -- what a subcommand is: one table of options feeds parsing, --help and suggestions.
 *
 * A command is one file with one const Command.  Parsing fills a struct of its own, whose first
 * member is a Parsed; every option says where in the struct it goes. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { WORDS_MAX = 64, OPTIONS_MAX = 32 };

typedef struct {
  const char *word[WORDS_MAX];
  int count;
} Arguments;

typedef enum {
  OPTION_FLAG,   /* bool */
  OPTION_TEXT,   /* const char *; NULL: not given */
  OPTION_NUMBER, /* int64_t, a whole number in [low, high] */
  OPTION_WORDS,  /* Arguments: may be repeated */
} OptionType;

typedef struct {
  const char *name, *argument; /* "threads", "N"; argument NULL for a flag */
  OptionType type;
  size_t offset;
  int64_t initial, low, high; /* of a number; high 0: no limit */
  const char *help;
} Option;

typedef struct Command Command;

typedef struct {
  const Command *command;
  Arguments arguments;      /* what is not an option */
  bool option[OPTIONS_MAX]; /* given? */
} Parsed;

struct Command {
  const char *name;     /* "train", "data make" */
  const char *usage;    /* what may follow the name */
  const char *about;    /* one sentence */
  const char *examples; /* lines that can be pasted */
  const Option *options;
  int option_count;
  int least, most; /* arguments */
  size_t size;     /* of the struct that is filled */
  /* Do it; the exit code, with `error` set if that is the reason.  `request`: the struct. */
  int (*run)(const void *request, Error *error);
  /* nullable: more for --help, about the arguments that stand before it */
  bool (*help)(const Arguments *arguments, FILE *out, Error *error);
};

/* Rows of an option table; `type` is the struct. */
#define OPTION_FLAG_ROW(type, member, name, help)                                                  \
  { name, NULL, OPTION_FLAG, offsetof(type, member), 0, 0, 0, help }
#define OPTION_TEXT_ROW(type, member, name, argument, help)                                        \
  { name, argument, OPTION_TEXT, offsetof(type, member), 0, 0, 0, help }
#define OPTION_WORDS_ROW(type, member, name, argument, help)                                       \
  { name, argument, OPTION_WORDS, offsetof(type, member), 0, 0, 0, help }
#define OPTION_NUMBER_ROW(type, member, name, argument, initial, low, high, help)                  \
  { name, argument, OPTION_NUMBER, offsetof(type, member), initial, low, high, help }
#define OPTION_COUNT(table) (int)(sizeof(table) / sizeof *(table))

/* `--name value`, `--name=value`, flags and arguments in any order; `--` ends the options.  Fails
 * (FAIL_USAGE) on an unknown option, with the nearest one, on a missing, wrong or second value, and
 * on too few or too many arguments.  The texts are those of `word`. */
bool command_parse(const Command *command, int count, char *const *word, void *request,
                   Error *error);

bool command_given(const Parsed *parsed, const char *option); /* on the command line? */

/* Is --help or -h among the words? */
bool command_asks_help(int count, char *const *word);
bool command_help(const Command *command, int count, char *const *word, FILE *out, Error *error);

/* Write `text` and a line end on stdout; what stdout carries goes through here and is flushed. */
void command_print(const char *text);

/* Say on stderr what went wrong, if there is a text, once: the text is gone afterwards.  Control
 * characters in it are spelled out. */
void command_complain(Error *error);

extern const Command command_train, command_finetune, command_eval, command_act, command_data_make,
    command_data_inspect, command_data_cache, command_inspect, command_list, command_report,
    command_bench, command_doctor, command_export, command_sample;

#endif
