/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data_reader - the text of a message as it comes after DATA: finds its end, takes doubled dots off, notices what is wrong with it.
 *
 * Only CRLF ends a line and only CRLF.CRLF ends the message (RFC 5321 4.1.1.4): a lone CR or LF is part of a line and is
 * remembered, so that no sequence can smuggle a second message in. After an error the text is still read to its end, but not kept.
 *
 * Thread:  one owner.   Memory: the text grows in OUT, never beyond MAX_BYTES.   Yields: never.
 */
#pragma once
#include "base/buf.h"

struct data_reader {
	struct buf out;			/* the text so far, CRLF line ends, dots undone */
	size_t max_bytes, max_line;	/* limits; of a line without its CRLF */
	bool mid_line;			/* the part before was the start of an overlong line */
	bool too_big, line_too_long, bare_line_end;
};

void data_reader_init(struct data_reader *r, size_t max_bytes, size_t max_line);
void data_reader_fini(struct data_reader *r);
/* Takes what it can of IN: *TAKEN octets. True when the message has ended (the rest of IN is what follows it). */
bool data_reader_feed(struct data_reader *r, struct slice in, size_t *taken);
/* Every lone CR or LF of TEXT made a CRLF ("\r\r\n" and "\n\r\n" are two line ends). */
void data_fix_line_ends(struct slice text, struct buf *out);
