/* What the harnesses do with a file: open it, and use it if that does not take long. */
#ifndef FUZZ_ATTEMPT_H
#define FUZZ_ATTEMPT_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer calls the first two, and offers the third to the second. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

void attempt_engine(const uint8_t *data, size_t size);
void attempt_network(const uint8_t *data, size_t size);

#endif
