/* Random numbers that a printed seed repeats. */
#ifndef TEST_RANDOM_H
#define TEST_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* The seed is the program's first argument, or the time; it is printed. */
void seed_from(int argc, char **argv);
uint32_t any(void);
uint32_t below(uint32_t n);           /* 0 .. n - 1 */
size_t between(size_t low, size_t high); /* both included */
float number(void);                   /* -1 .. 1 */

#endif
