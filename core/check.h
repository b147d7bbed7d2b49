/* check.h -- our own bugs stop the program at once, with the place and the numbers.
 * Always on.  Never for bad input: that is an Error (error.h). */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

/* Print "file:line: message" and abort. */
_Noreturn void check_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* CHECK(condition, "format", ...): abort unless the condition holds. */
#define CHECK(condition, ...)                                                                      \
  do {                                                                                             \
    if (!(condition)) check_failed(__FILE__, __LINE__, __VA_ARGS__);                               \
  } while (0)

#endif
