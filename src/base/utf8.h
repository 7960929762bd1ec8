/* SPDX-License-Identifier: Apache-2.0 */
/* utf8 - RFC 3629. Thread: any.   Memory: none.   Yields: never. */
#pragma once
#include "base/buf.h"

bool utf8_valid(struct slice s);
bool utf8_is_ascii(struct slice s);
/* Decodes one code point at the start of S: its length (1..4), or 0 for an invalid sequence or an empty slice. */
size_t utf8_decode(struct slice s, uint32_t *cp);
void utf8_put(struct buf *b, uint32_t cp);
void utf8_put_lossy(struct buf *b, struct slice s);	/* each maximal invalid part becomes U+FFFD, as WHATWG does */
size_t utf8_count(struct slice s);			/* code points of a valid text */
