/* folder.h -- a folder of its own for a test that writes files by name: enter makes it and goes
 * there, leave removes it. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = P_tmpdir "/diffrl-test-XXXXXX";

static int enter(void **state) {
  (void)state;
  return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}
static int leave(void **state) {
  (void)state;
  char command[64];
  snprintf(command, sizeof command, "cd / && rm -rf '%s'", folder);
  return system(command);
}

#endif
