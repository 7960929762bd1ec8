/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dkim_canon - RFC 6376 3.4: header and body canonicalization.
 *
 * Thread:  any.   Memory: appends to the caller's buffer.   Yields: never.
 */
#pragma once
#include "codec/rfc5322.h"
#include "tls/digest.h"

enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED };

void dkim_canon_header(struct buf *out, enum dkim_canon c, const struct mail_header *h);	/* with CRLF */
/* The same for a field that is not in the message: its name and raw value. Without the CRLF. */
void dkim_canon_field(struct buf *out, enum dkim_canon c, struct slice name, struct slice value);
/* Hashes the canonical body, at most LIMIT octets of it. */
size_t dkim_body_hash(enum dkim_canon c, enum tls_md md, struct slice body, uint64_t limit, uint8_t out[TLS_MD_MAX]);
