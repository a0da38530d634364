/* The ONNX reader, fusion, planning and computing, as an engine and as a network. mutate_onnx.c keeps the messages whole. */
#include "attempt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    attempt_engine(data, size);
    attempt_network(data, size);
    return 0;
}
