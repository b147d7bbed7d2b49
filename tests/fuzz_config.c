/* fuzz_config.c -- any text as --set pairs and as a file: taken whole and in range, or refused. */
#include "core/check.h"
#include "core/config.h"
#include <stdlib.h>
#include <string.h>

#define FUZZ_FIELDS(F)                                                                             \
  F(INT, batch, 256, 1, 65536, "rows")                                                             \
  F(FLOAT, eta, 1.0, 0, 1e3, "weight")                                                             \
  F(BOOL, clip, true, NULL, NULL, "flag")                                                          \
  F(TEXT, kind, "vp", "vp|linear", NULL, "choice")                                                 \
  F(TEXT, note, "", NULL, NULL, "text")
typedef struct {
  CONFIG_MEMBERS(FUZZ_FIELDS)
} FuzzConfig;
#define CONFIG_STRUCT FuzzConfig
static const ConfigField fields[] = { CONFIG_ROWS(FUZZ_FIELDS) };
#undef CONFIG_STRUCT

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzConfig values;
  Config config;
  Error error;
  config_init(&config, fields, sizeof fields / sizeof *fields, &values);
  char *text = strndup((const char *)data, size);
  config_set_all(&config, text, "--set", &error);
  Json *json = json_parse((const char *)data, size, &error);
  if (json) config_read(&config, json, "--config", &error);
  CHECK(values.batch >= 1 && values.batch <= 65536, "batch %lld", (long long)values.batch);
  CHECK(values.eta >= 0 && values.eta <= 1e3, "eta %g", values.eta);
  CHECK(!strcmp(values.kind.s, "vp") || !strcmp(values.kind.s, "linear"), "kind");
  CHECK(strlen(values.note.s) < CONFIG_TEXT_SIZE, "note");
  json_free(json);
  free(text);
  return 0;
}
