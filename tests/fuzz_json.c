/* fuzz_json.c -- any bytes: parsed or refused; what is parsed is written and parsed again. */
#include "core/check.h"
#include "core/json.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rewrite(JsonText *out, const char *key, const Json *value) {
  if (json_is_object(value) || json_is_array(value)) {
    bool object = json_is_object(value);
    json_open(out, key, object ? '{' : '[');
    for (const Json *child = json_first(value); child; child = json_next(child))
      rewrite(out, json_key(child), child);
    json_close(out, object ? '}' : ']');
  } else if (json_is_number(value)) {
    json_put_number(out, key, json_number(value, 0));
  } else if (json_bool(value, true) == json_bool(value, false)) {
    json_put_bool(out, key, json_bool(value, false));
  } else {
    json_put_text(out, key, json_text(value)); /* NULL: null */
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Error error = { 0 };
  Json *json = json_parse((const char *)data, size, &error);
  if (!json) {
    CHECK(error.kind == FAIL_INPUT && *error.text, "refused without a reason");
    return 0;
  }
  JsonText once = { 0 }, twice = { 0 };
  rewrite(&once, NULL, json);
  Json *again = json_parse(once.text, once.length, &error);
  CHECK(again, "written text is refused: %s", error.text);
  rewrite(&twice, NULL, again);
  CHECK(!strcmp(once.text, twice.text), "%s became %s", once.text, twice.text);
  json_text_free(&once);
  json_text_free(&twice);
  json_free(json);
  json_free(again);
  return 0;
}
