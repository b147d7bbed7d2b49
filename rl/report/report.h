/* report.h -- one HTML page about a run, or about several side by side.
 *
 * The page stands alone: no scripts, nothing fetched; it follows light and dark and prints. */
#ifndef RL_REPORT_H
#define RL_REPORT_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>

/* Read the folders runs[0 .. count), count >= 1 (history.h says what is read), and write the page
 * to out_path, whole or not at all.  Fails, naming the file, if one cannot be read or written. */
bool report_write(const char *const *runs, size_t count, const char *out_path, Error *error);

#endif
