/* config.h -- settings from one list of fields: struct, defaults, ranges, JSON and help agree.
 *
 *   #define TD_FIELDS(F)                                                                  \
 *     F(INT, batch, 256, 1, 65536, "transitions that a training step samples")                   \
 *     F(FLOAT, eta, 1.0, 0, NULL, "weight of the Q term")                                 \
 *     F(BOOL, clip, true, NULL, NULL, "clip the samples")                                 \
 *     F(TEXT, schedule, "vp", "vp|cosine", NULL, "noise schedule")
 *   typedef struct { CONFIG_MEMBERS(TD_FIELDS) } TdConfig;
 *   #define CONFIG_STRUCT TdConfig
 *   static const ConfigField td_fields[] = { CONFIG_ROWS(TD_FIELDS) };
 *   #undef CONFIG_STRUCT
 *
 * Defaults and ranges are literals, NULL is no limit.  A text's default is a string literal and
 * its two range entries are "choice|choice" (NULL: any text) and NULL; it is read as
 * config.schedule.s.  Whole numbers stay within 2^53.  Keys are C names. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H
#include "core/error.h"
#include "core/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { CONFIG_INT, CONFIG_FLOAT, CONFIG_BOOL, CONFIG_TEXT } ConfigType;

enum { CONFIG_TEXT_SIZE = 256 };
typedef int64_t CONFIG_C_INT;
typedef double CONFIG_C_FLOAT;
typedef bool CONFIG_C_BOOL;
typedef struct {
  char s[CONFIG_TEXT_SIZE];
} CONFIG_C_TEXT;

typedef struct {
  const char *key;
  ConfigType type;
  size_t offset;
  const char *initial, *low, *high; /* as written in the list */
  const char *help;
} ConfigField;

#define CONFIG_MEMBER(type, key, initial, low, high, help) CONFIG_C_##type key;
#define CONFIG_MEMBERS(FIELDS)                             FIELDS(CONFIG_MEMBER)
#define CONFIG_ROW(type, key, initial, low, high, help)                                            \
  { #key, CONFIG_##type, offsetof(CONFIG_STRUCT, key), #initial, #low, #high, help },
#define CONFIG_ROWS(FIELDS) FIELDS(CONFIG_ROW)

/* A struct of settings together with its table and which keys were set by whom. */
typedef struct {
  const ConfigField *fields;
  size_t count;
  void *values;            /* the struct */
  const char *origin[128]; /* per field: NULL (default) or who set it: "preset", "--set", ... */
} Config;

/* Fill with defaults; CHECKs that every default is within its range. */
void config_init(Config *config, const ConfigField *fields, size_t count, void *values);

/* Set one key from text, as in --set key=value.  Fails (FAIL_USAGE) on an unknown key, with the
 * nearest one suggested, on bad text, on a value out of range, and when `origin` itself already
 * set the key to another value. */
bool config_set(Config *config, const char *key, const char *value, const char *origin,
                Error *error);

/* "eta=1 clip=9": every pair by config_set (presets). */
bool config_set_all(Config *config, const char *pairs, const char *origin, Error *error);

/* Every member of a JSON object that is a setting; unknown members are errors. */
bool config_read(Config *config, const Json *object, const char *origin, Error *error);

/* One member, by its own key; as above. */
bool config_read_member(Config *config, const Json *member, const char *origin, Error *error);

/* Has this key this value, written as in --set?  False too if there is no such key. */
bool config_is(const Config *config, const char *key, const char *value);

/* The value of a key that it has, as it is written in --set. */
void config_value(const Config *config, const char *key, char text[CONFIG_TEXT_SIZE]);

/* Take every setting that another struct has under the same key and with the same type, whatever
 * else either of them has. */
void config_copy(Config *to, const ConfigField *fields, size_t count, const void *values);

void config_write(const Config *config, JsonText *out); /* members only, in list order */

/* The same of a struct without its Config, as an object: the member `key`; NULL: the whole text. */
void config_write_object(const ConfigField *fields, size_t count, const void *values,
                         const char *key, JsonText *out);
/* Is field i what the list says, whoever set it? */
bool config_is_default(const Config *config, size_t i);
bool config_equal(const Config *config, const void *other, const char **key); /* first difference */
void config_help(const Config *config, FILE *out); /* key, default, range, text: one line each */

#endif
