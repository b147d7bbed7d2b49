/* test_commands.c -- what README.md and docs/ tell a reader to type can be typed
 * (tests/commands.sh runs it, on small data). */
#include "tests/program.h"

static void every_block_of_commands_runs(void **state) {
  (void)state;
  char line[4400];
  /* the library that is installed is that of make */
  if (!strstr(getenv("DIFFRL_UNDER_TEST"), "/release/")) skip();
  /* the program is build/MODE/diffrl */
  file_make_data("robot.hdf5", "point-v0", 12, 1, NULL);
  snprintf(line, sizeof line, "%s/../../tests/commands.sh %s robot.hdf5", getenv("DIFFRL_LIBEXEC"),
           getenv("DIFFRL_UNDER_TEST"));
  assert_int_equal(system(line), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(every_block_of_commands_runs, program_enter, program_leave),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
