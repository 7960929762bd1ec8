/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of rfc5321 share: each takes its part off the front of a slice. Thread: any.   Memory: arena.   Yields: never. */
#pragma once
#include "codec/rfc5321.h"

#define SMTP_FORM_NULL 1u	/* <> is one */
#define SMTP_FORM_POSTMASTER 2u	/* <Postmaster> is one */

bool smtp_take(struct slice *in, char c);
int smtp_take_domain(struct slice *in, struct arena *a, struct slice *out);
int smtp_take_path(struct slice *in, unsigned forms, struct arena *a, struct smtp_path *out);
size_t smtp_utf8_len(struct slice s);
size_t smtp_atom_len(struct slice s);
size_t smtp_quoted_len(struct slice s);
