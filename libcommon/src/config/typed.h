/* Texts that were checked become the settings struct: libcyaml loads them by a schema made from the table. */
#ifndef CONFIG_TYPED_H
#define CONFIG_TYPED_H

#include "config/internal.h"

struct config *typed_load(struct loading *loading,
                          void *settings); /* NULL, and the message, for what only we can have done wrong */

#endif
