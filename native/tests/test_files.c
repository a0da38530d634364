/* What the command line reads beside models: pictures and stored answers, valid, cut and spoilt. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "../cli/cli.h"
#include "../cli/image.h"
#include "../cli/npz.h"
#include "archive.h"
#include "random.h"

#define SPOILT 20000

void complain(const char *format, ...)
{
    (void)format;
}

/* Exactly as large as told, so that a byte behind it is noticed. */
static content copy_of(const void *data, size_t size)
{
    content c = {malloc(size ? size : 1), size};

    CHECK(c.data);
    memcpy(c.data, data, size);
    return c;
}

static const char *parse_ppm(const char *head, size_t pixels)
{
    const size_t length = strlen(head);
    uint8_t bytes_[64];
    uint32_t width, height;
    uint8_t *first;
    const char *wrong;
    content file;

    memcpy(bytes_, head, length);
    for (size_t i = 0; i < pixels; i++)
        bytes_[length + i] = (uint8_t)i;
    file = copy_of(bytes_, length + pixels);
    wrong = ppm_parse(&file, &width, &height, &first);
    if (!wrong)
        CHECK(width == 2 && height == 1 && first[0] == 2 && first[1] == 1 && first[2] == 0 && first[3] == 5);
    content_free(&file);
    return wrong;
}

static void pictures(void)
{
    static const char *const refused[] = {
        "", "P", "P6", "P5 2 1 255 ", "P62 1 255 ", "P6 0 1 255 ", "P6 2 0 255 ", "P6 -2 1 255 ", "P6 2 1 256 ", "P6 2 1 65535 ",
        "P6 2 1 0 ", "P6 2 1 255", "P6 2 1 255x", "P6 99999999999999999999 1 255 ", "P6 8193 1 255 ", "P6 2 2 255 ",
        "P6 1 1 255 ", "P6 2 1 # no end", "P6 2,1 255 ", "P6 2 1 2 55 ",
    };

    CHECK(!parse_ppm("P6\n2 1\n255\n", 6) && !parse_ppm("P6 #x\n2#y\n\t1\r\n255 ", 6));
    CHECK(parse_ppm("P6 2 1 255 ", 5) && parse_ppm("P6 2 1 255 ", 7));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        CHECK(parse_ppm(refused[i], 6));
}

static void spoilt_pictures(void)
{
    static const char good[] = "P6\n#  comment\n4 4\n255\n0123456789abcdef0123456789abcdef0123456789abcdef";

    for (int i = 0; i < SPOILT; i++) {
        content file = copy_of(good, below(4) ? sizeof good - 1 : below(sizeof good));
        uint32_t width, height;
        uint8_t *first;

        for (uint32_t n = below(4); n && file.size; n--)
            file.data[below((uint32_t)(file.size < 24 ? file.size : 24))] = (uint8_t)(below(2) ? '0' + below(10) : any());
        if (!ppm_parse(&file, &width, &height, &first))
            CHECK(first + (size_t)width * height * 3 == file.data + file.size);
        content_free(&file);
    }
}

static bytes write_arrays(const char *header)
{
    static const float x[] = {1, 2, 3, 4, 5, 6};
    static const double y[] = {0.25, -1e300};
    const member members[] = {
        {"x", header ? header : "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", x, sizeof x},
        {"y", "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", y, sizeof y},
    };

    return write_npz(members, 2);
}

static void arrays(void)
{
    static const char *const refused[] = {
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (3, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967295, 4294967295, 4294967295), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 3, 2), }",
        "{'descr': '<f4', 'fortran_order': False, }",
        "{'fortran_order': False, 'shape': (3, 2), }",
        "",
    };
    bytes archive = write_arrays(NULL);
    content file = copy_of(archive.data, archive.size);
    npy x, y;

    CHECK(!npz_find(&file, "x", &x) && x.rank == 2 && x.shape[0] == 3 && x.shape[1] == 2 && x.item == 4 && x.count == 6);
    CHECK(!npz_find(&file, "y", &y) && y.rank == 1 && y.count == 2 && y.item == 8);
    CHECK(npy_number(&x, 5) == 6 && npy_number(&y, 1) == -1e300);
    CHECK(npz_find(&file, "z", &x) && npz_find(&file, "", &x));
    for (size_t size = 0; size < archive.size; size++) {
        content cut = copy_of(archive.data, size);

        CHECK(npz_find(&cut, "y", &y));
        content_free(&cut);
    }
    content_free(&file);
    bytes_free(&archive);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        archive = write_arrays(refused[i]);
        file = copy_of(archive.data, archive.size);
        CHECK(npz_find(&file, "x", &x) && !npz_find(&file, "y", &y));
        content_free(&file);
        bytes_free(&archive);
    }
}

/* Bytes of numbers and names are covered by the checksum, so most of the harm is done to the zip records. */
static void spoilt_arrays(void)
{
    bytes archive = write_arrays(NULL);
    size_t opened = 0;

    for (int i = 0; i < SPOILT; i++) {
        content file = copy_of(archive.data, archive.size);
        double sum = 0;
        npy x;

        for (uint32_t n = 1 + below(3); n; n--)
            file.data[below((uint32_t)file.size)] = (uint8_t)(below(3) ? any() : below(2) * 255);
        if (!npz_find(&file, below(2) ? "x" : "y", &x)) {
            opened++;
            for (size_t k = 0; k < x.count; k++)
                sum += npy_number(&x, k);
            CHECK(x.data >= file.data && x.data + x.count * x.item <= file.data + file.size && (sum > 0 || sum <= 0));
        }
        content_free(&file);
    }
    printf("%d spoilt archives, %zu could be read\n", SPOILT, opened);
    bytes_free(&archive);
}

int main(int argc, char **argv)
{
    seed_from(argc, argv);
    pictures();
    spoilt_pictures();
    arrays();
    spoilt_arrays();
    return 0;
}
