/* check.h -- our own bugs stop the program at once, with the place and the numbers.
 * Always on.  Never for bad input: that is an Error (error.h). */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H
#include <stddef.h>

/* Print "file:line: message" and abort. */
_Noreturn void check_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Print "out of memory" with the bytes that were refused (0: unknown) and a remedy, and end with
 * exit code 1: the system's limits are no bug of ours.  This is for programs, which own their
 * process; a guest goes back to its caller (ArenaRescue, core/arena.h). */
_Noreturn void memory_out(size_t bytes);

/* NEED_MEMORY(pointer): memory_out unless the system gave it. */
#define NEED_MEMORY(condition)                                                                     \
  do {                                                                                             \
    if (!(condition)) memory_out(0);                                                               \
  } while (0)

/* CHECK(condition, "format", ...): abort unless the condition holds. */
#define CHECK(condition, ...)                                                                      \
  do {                                                                                             \
    if (!(condition)) check_failed(__FILE__, __LINE__, __VA_ARGS__);                               \
  } while (0)

#endif
