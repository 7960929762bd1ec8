/* SPDX-License-Identifier: Apache-2.0 */
/* opt_int - what the files behind opt.h share. */
#pragma once
#include "codec/opt.h"

enum opt_type opt_element_type(const struct opt_desc *d);	/* of lists and maps whose element is no struct */
size_t opt_element_size(const struct opt_desc *d);
