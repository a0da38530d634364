/* How similar are two aligned faces? PAIR.raw: two chips, each height x width x 3 bytes (blue, green, red).
 *     cc similarity.c $(pkg-config --cflags --libs vultus) && ./a.out MODEL PAIR.raw */
#include <stdio.h>
#include <stdlib.h>
#include <vultus/vultus.h>

int main(int argc, char **argv)
{
    FILE *pair = argc == 3 ? fopen(argv[2], "rb") : NULL;
    vultus_error error = {.text = "usage: similarity MODEL PAIR.raw"};
    vultus_engine *engine;
    vultus_info info;
    double cosine = 0;

    if (!pair || vultus_open(&engine, argv[1], NULL, &error))
        return fprintf(stderr, "%s\n", error.text), 1;
    vultus_get_info(engine, &info);
    const size_t size = (size_t)2 * info.height * info.width * 3;
    unsigned char *chips = calloc(size, 1);
    float *y = calloc(2, info.dim * sizeof *y);

    if (!chips || !y || fread(chips, 1, size, pair) != size || vultus_embed_chips(engine, chips, 2, 0, y, &error))
        return fprintf(stderr, "%s holds no two chips\n", argv[2]), 1;
    for (size_t i = 0; i < info.dim; i++)
        cosine += y[i] * y[info.dim + i];
    printf("%.4f\n", cosine);
    vultus_close(&engine);
    free(chips);
    free(y);
    return fclose(pair);
}
