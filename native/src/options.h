/* What an engine and a network check of their options. */
#ifndef VT_OPTIONS_H
#define VT_OPTIONS_H

#include "error.h"

/* options may be NULL for the defaults. */
int vt_options_check(const vultus_options *options, vultus_isa *isa, unsigned *threads, vultus_error *error);

#endif
