#include "random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t state = 1;

void seed_from(int argc, char **argv)
{
    uint64_t seed = (uint64_t)time(NULL);

    if (argc > 1 && argv[1][0] != '-')
        seed = strtoull(argv[1], NULL, 10);
    printf("seed %" PRIu64 "\n", seed);
    fflush(stdout); /* before a sanitizer ends the program */
    state = seed * 2654435761u + 88172645463325252u;
}

uint32_t any(void)
{
    state ^= state << 13; /* xorshift64 */
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

uint32_t below(uint32_t n)
{
    return any() % n;
}

size_t between(size_t low, size_t high)
{
    return low + any() % (high - low + 1);
}

float number(void)
{
    return (float)(int32_t)any() / 2147483648.0f;
}
