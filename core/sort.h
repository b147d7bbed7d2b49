/* sort.h -- qsort of what may be nothing: C gives qsort(NULL, 0, ..) no meaning. */
#ifndef CORE_SORT_H
#define CORE_SORT_H
#include <stdlib.h>

/* Sorts count items of so many bytes; items may be NULL where there are none. */
static inline void sort(void *items, size_t count, size_t size,
                        int (*order)(const void *, const void *)) {
  if (count > 1) qsort(items, count, size, order);
}

#endif
