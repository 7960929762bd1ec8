/* SPDX-License-Identifier: Apache-2.0 */
/*
 * normalize - SMTP responses without what differs from message to message, so that logs can be grouped.
 *
 * Words that look like an address, an identifier, a time or a duration become {ipaddr}, {email}, {uuid}, {hash}, {base64}, {timestamp} and
 * {duration}; "key=word" is looked into. Ordinary words are left alone: a word of letters in usual capitalization counts as one,
 * though its length may be that of base64.
 *
 * Source:  docs/reference/string/normalize_smtp_response.   Thread: any.   Memory: appends.   Yields: never.
 */
#pragma once
#include "base/buf.h"

void normalize_smtp_response(struct buf *b, struct slice text);
