/* vultus-engine: commands, their options, and how they fail. */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>

/* What main() leaves with. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* The command line, read. Defaults stand in main.c. */
typedef struct arguments {
    char **files;
    int count;
    uint32_t threads, batch, isa, precision, pin; /* as the library takes them */
    uint32_t height, width;       /* of --size; 0: not given */
    double seconds, tolerance;
    bool raw, json;
} arguments;

/* Commands return what main() leaves with. Each has printed why it failed. */
int command_info(const arguments *a);
int command_embed(const arguments *a);
int command_compare(const arguments *a);
int command_bench(const arguments *a);
int command_verify(const arguments *a);

/* One line on stderr. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void complain(const char *format, ...);

#endif
