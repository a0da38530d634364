/* The command line is read here: which command, which options, and help. */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vultus/vultus.h"

#define TOLERANCE 1.3e-5 /* what FP32 sums in another order differ by, in a number of a vector of length 1 */

typedef struct command {
    const char *name;
    int (*run)(const arguments *);
    int least, most;     /* files */
    const char *options; /* letters of those that it takes */
    const char *usage;   /* its files */
    const char *help;
} command;

static const command commands[] = {
    {"info", command_info, 1, 1, "tipsj", "MODEL",
     "Tells what a model is: sizes, memory, and what each layer computes."},
    {"embed", command_embed, 2, 100000, "tipPrj", "MODEL CHIPS...",
     "Prints the vector of each face, a line each. CHIPS are aligned faces of the model's size: IMAGE.ppm, a binary PPM\n"
     "(P6, 8 bits) of one face; or NAME.raw, any number of faces, each height x width x 3 bytes, blue, green, red."},
    {"compare", command_compare, 3, 3, "ipj", "MODEL A B",
     "Prints the cosine similarity of two faces, -1 to 1. A and B are of one face each, as for embed."},
    {"bench", command_bench, 1, 1, "tbipPsSj", "MODEL",
     "Measures milliseconds a face (or a picture) and each layer's share of what the processor can do: GFLOP/s and percent\n"
     "of the peak of fused multiply-adds, which is measured meanwhile. The layers' table is of one thread."},
    {"verify", command_verify, 2, 2, "tipProj", "MODEL GOLDEN.npz",
     "Compares with stored answers: arrays x (n, 3, height, width) float32, normalised, and y (n, dim) float32 or float64,\n"
     "written by numpy.savez. Prints the largest difference and fails if it exceeds the tolerance."},
};

static const struct option long_options[] = {
    {"threads", required_argument, NULL, 't'}, {"batch", required_argument, NULL, 'b'},
    {"isa", required_argument, NULL, 'i'},     {"size", required_argument, NULL, 's'},
    {"seconds", required_argument, NULL, 'S'}, {"tolerance", required_argument, NULL, 'o'},
    {"pin", no_argument, NULL, 'P'},           {"precision", required_argument, NULL, 'p'},
    {"raw", no_argument, NULL, 'r'},           {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
};

static const struct {
    char letter;
    const char *text;
} option_help[] = {
    {'t', "--threads N      processors to use at most, 1 to 256; 0, the default, is all that this process may run on"},
    {'b', "--batch N        faces in one call, 1 to 1024 (32; 1 for networks that are no embedders)"},
    {'i', "--isa NAME       auto, scalar, avx2, ...: instruction set; one that cannot run is an error"},
    {'p', "--precision NAME fp32 or int8: refuse a file of the other one (`vultus models quantize` makes INT8 files)"},
    {'P', "--pin            keep each thread on a processor of its own"},
    {'s', "--size WxH       of the picture, for networks that take any (320x320)"},
    {'S', "--seconds N      how long to measure, 0.1 to 600 (2)"},
    {'o', "--tolerance N    the largest difference that passes (1.3e-5)"},
    {'r', "--raw            vectors as the network gives them, not scaled to length 1"},
    {'j', "--json           one JSON object instead of text"},
};

void complain(const char *format, ...)
{
    va_list list;

    fputs("vultus-engine: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

static void print_help(const command *about)
{
    const size_t count = sizeof commands / sizeof *commands;

    if (!about) {
        printf("usage: vultus-engine COMMAND MODEL ... [--help]\n\nRuns face networks: EFM3 files and ONNX graphs.\n\n");
        for (size_t i = 0; i < count; i++)
            printf("  %-8s %.*s\n", commands[i].name, (int)strcspn(commands[i].help, ".:"), commands[i].help);
        printf("\nvultus-engine COMMAND --help says more; vultus-engine --version, which version this is.\n"
               "Leaves with 0, or with 1 if something failed, or with 2 if the command line is wrong.\n");
        return;
    }
    printf("usage: vultus-engine %s %s [OPTION...]\n\n%s\n\n", about->name, about->usage, about->help);
    for (size_t i = 0; i < sizeof option_help / sizeof *option_help; i++)
        if (strchr(about->options, option_help[i].letter))
            printf("  %s\n", option_help[i].text);
}

static bool whole(const char *text, uint32_t low, uint32_t high, uint32_t *out)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 10);
    *out = (uint32_t)value;
    return *text >= '0' && *text <= '9' && !*end && !errno && value >= low && value <= high;
}

static bool real(const char *text, double low, double high, double *out)
{
    char *end;

    *out = strtod(text, &end);
    return end != text && !*end && isfinite(*out) && *out >= low && *out <= high;
}

static bool size(const char *text, uint32_t *width, uint32_t *height)
{
    char first[8];
    const size_t length = strcspn(text, "x");

    if (length >= sizeof first || text[length] != 'x')
        return false;
    memcpy(first, text, length);
    first[length] = 0;
    return whole(first, 1, 8192, width) && whole(text + length + 1, 1, 8192, height);
}

static bool isa(const char *text, uint32_t *out)
{
    for (*out = VULTUS_ISA_AUTO + 1; vultus_isa_name(*out); ++*out)
        if (strcmp(text, vultus_isa_name(*out)) == 0)
            return true;
    *out = VULTUS_ISA_AUTO;
    return strcmp(text, "auto") == 0;
}

static bool precision(const char *text, uint32_t *out)
{
    *out = strcmp(text, "int8") == 0 ? VULTUS_PRECISION_INT8 : VULTUS_PRECISION_FP32;
    return *out == VULTUS_PRECISION_INT8 || strcmp(text, "fp32") == 0;
}

/* Puts one option into the arguments; false if its value is not what the help says. */
static bool take(arguments *a, int letter, const char *value)
{
    switch (letter) {
    case 't':
        return whole(value, 0, 256, &a->threads);
    case 'b':
        return whole(value, 1, 1024, &a->batch);
    case 'i':
        return isa(value, &a->isa);
    case 's':
        return size(value, &a->width, &a->height);
    case 'S':
        return real(value, 0.1, 600, &a->seconds);
    case 'o':
        return real(value, 0, 1e30, &a->tolerance);
    case 'p':
        return precision(value, &a->precision);
    case 'P':
        a->pin = 1;
        return true;
    case 'r':
        return a->raw = true;
    default:
        return a->json = true;
    }
}

/* Options may stand anywhere after the command. Returns EXIT_DONE, or EXIT_USAGE after a complaint; *help if asked. */
static int read_options(const command *c, int argc, char **argv, arguments *a, bool *help)
{
    int letter, at = 0;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":h", long_options, &at)) != -1) {
        const char *given = argv[optind - 1];

        if (letter == 'h') {
            *help = true;
            return EXIT_DONE;
        }
        if (letter == ':') {
            complain("%s needs a value; see vultus-engine %s --help", given, c->name);
            return EXIT_USAGE;
        }
        if (letter == '?' || !strchr(c->options, letter)) {
            complain("%s%s: no option of this command; see vultus-engine %s --help", letter == '?' ? "" : "--",
                     letter == '?' ? given : long_options[at].name, c->name);
            return EXIT_USAGE;
        }
        if (!take(a, letter, optarg)) {
            complain("--%s %s: out of range or not understood; see vultus-engine %s --help", long_options[at].name, optarg,
                     c->name);
            return EXIT_USAGE;
        }
    }
    a->files = argv + optind;
    a->count = argc - optind;
    if (a->count < c->least || a->count > c->most) {
        complain("usage: vultus-engine %s %s; see vultus-engine %s --help", c->name, c->usage, c->name);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* Output that could not be written is a failure too. */
static int finish(int status)
{
    if (fflush(stdout) || ferror(stdout)) {
        complain("writing the output: %s", strerror(errno));
        return status ? status : EXIT_FAILED;
    }
    return status;
}

int main(int argc, char **argv)
{
    arguments a = {.seconds = 2, .tolerance = TOLERANCE};
    const char *name = argc > 1 ? argv[1] : "";
    bool help = false;
    int status;

    if (strcmp(name, "--version") == 0) {
        printf("vultus-engine %s\n", vultus_version());
        return finish(EXIT_DONE);
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(NULL);
        return finish(EXIT_DONE);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i].name))
            continue;
        status = read_options(&commands[i], argc - 1, argv + 1, &a, &help);
        if (help)
            print_help(&commands[i]);
        return finish(status || help ? status : commands[i].run(&a));
    }
    complain("%s%s; see vultus-engine --help", *name ? name : "a command is missing", *name ? ": no such command" : "");
    return EXIT_USAGE;
}
