/* SPDX-License-Identifier: Apache-2.0 */
/* nearest - the valid name that somebody most likely meant. Damerau-Levenshtein, at most a third of the name's length off. */
#pragma once
#include "base/slice.h"

/* NAMES ends with NULL. NULL when nothing is near. */
const char *nearest_name(struct slice given, const char *const *names);
