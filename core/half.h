/* half.h -- float16 (IEEE 754 binary16), in which files keep weights that only sample: 11 bits of
 * significand, finite up to 65504, subnormal below 2^-14 in steps of 2^-24. */
#ifndef CORE_HALF_H
#define CORE_HALF_H
#include <stdint.h>

/* The nearest, of two equally near the even one; from 65520 on infinite.  NaN stays NaN. */
uint16_t half_from(float value);
float half_value(uint16_t half); /* exact */

#endif
