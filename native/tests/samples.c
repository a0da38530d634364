/* Writes files for the tests of the command line and of the installed library into a folder: models, chips as PPM and raw,
 * and stored answers, which are plain C's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "random.h"
#include "vultus/vultus.h"

#define SIDE 112
#define FACES 2

static const char *folder;

static void write_file(const char *name, const void *head, size_t head_size, const void *data, size_t size)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "wb");
    if (!file || fwrite(head, 1, head_size, file) != head_size || fwrite(data, 1, size, file) != size || fclose(file)) {
        perror(path);
        exit(1);
    }
}

static void write_chips(void)
{
    static uint8_t chips[FACES][SIDE * SIDE][3], red_first[SIDE * SIDE][3];
    static const char head[] = "P6\n# noise\n112 112\n255\n";

    for (int i = 0; i < FACES; i++) {
        for (int p = 0; p < SIDE * SIDE; p++)
            for (int c = 0; c < 3; c++)
                red_first[p][2 - c] = chips[i][p][c] = (uint8_t)any();
        write_file(i ? "b.ppm" : "a.ppm", head, sizeof head - 1, red_first, sizeof red_first);
    }
    write_file("pair.raw", "", 0, chips, sizeof chips);
}

static void write_golden(const bytes *model)
{
    static float x[FACES * 3 * SIDE * SIDE], y[FACES * 8];
    const vultus_options options = {.threads = 1, .isa = VULTUS_ISA_SCALAR};
    const member members[] = {
        {"x", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 112, 112), }", x, sizeof x},
        {"y", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 8), }", y, sizeof y},
    };
    vultus_engine *engine;
    bytes archive;

    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = number();
    if (vultus_open_memory(&engine, model->data, model->size, &options, NULL) || vultus_embed(engine, x, FACES, 0, y, NULL))
        exit(1);
    vultus_close(&engine);
    archive = write_npz(members, 2);
    write_file("golden.npz", "", 0, archive.data, archive.size);
    bytes_free(&archive);
    y[3] += 1e-3f;
    archive = write_npz(members, 2);
    write_file("wrong.npz", "", 0, archive.data, archive.size);
    bytes_free(&archive);
}

int main(int argc, char **argv)
{
    bytes models[4];
    static const char *const names[] = {"embedder.efm3", "embedder.onnx", "detector.onnx", "int8.efm3"};

    if (argc < 2)
        return 2;
    folder = argv[1];
    seed_from(argc - 1, argv + 1);
    models[0] = write_efm3();
    models[1] = write_onnx();
    models[2] = write_detector();
    models[3] = write_efm3_int8(6);
    write_chips();
    write_golden(&models[0]);
    for (int i = 0; i < 4; i++) {
        write_file(names[i], "", 0, models[i].data, models[i].size);
        bytes_free(&models[i]);
    }
    return 0;
}
