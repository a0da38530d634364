/* The public header compiles alone, first, and with the strictest warnings; its constants are what wrappers rely on. */
#include "vultus/vultus.h"

#include <string.h>

_Static_assert(VULTUS_OK == 0 && VULTUS_ERROR_FORKED == -8, "statuses are part of the interface");
_Static_assert(sizeof(vultus_options) == 64, "options keep their size as fields are added");

int main(void)
{
    return strcmp(vultus_version(), VULTUS_VERSION) != 0;
}
