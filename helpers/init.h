/* The two halves of rpod-init: what it does for a container (init.c) and the built-in image (hello.c). */
#ifndef RPOD_INIT_H
#define RPOD_INIT_H

#include "common.h"

/* Prints what the container looks like from inside; the exit code. Needs nothing but /proc. */
int hello(void);

#endif
