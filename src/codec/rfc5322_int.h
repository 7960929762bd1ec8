/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens of header values. Each lex_ function takes its token off the front of the scan and appends what it means to OUT (which may
 * be NULL); on false both are as before.
 *
 * Thread: any.   Memory: the caller's.   Yields: never.
 */
#pragma once
#include "codec/rfc5322.h"

#define LEX_COMMENTS_MAX 32	/* nested comments; deeper ones do not parse */

struct scan {
	const char *p, *end;
	const char *begin;
	const char *far;	/* where parsing got furthest: the place that messages name */
	const char *expected;	/* … and what would have been right there */
	struct arena *a;
};

struct scan scan_new(struct slice s, struct arena *a);
static inline size_t scan_left(const struct scan *s) { return s->end - s->p; }
bool lex_char(struct scan *s, char c);
bool lex_fws(struct scan *s, struct buf *out);		/* appends the white space as it is */
bool lex_cfws(struct scan *s);
static inline bool lex_opt_cfws(struct scan *s) { lex_cfws(s); return true; }
bool lex_utf8(struct scan *s, struct buf *out);		/* one character beyond ASCII */
bool lex_quoted(struct scan *s, struct buf *out);
bool lex_word(struct scan *s, struct buf *out);
bool lex_dot_atom_text(struct scan *s, struct buf *out);
bool lex_local_part(struct scan *s, struct buf *out);
bool lex_domain(struct scan *s, struct buf *out);
bool lex_encoded_word(struct scan *s, struct buf *out);
bool lex_token(struct scan *s, struct buf *out);	/* RFC 2045 token, or UTF-8 */
bool lex_value(struct scan *s, struct buf *out);	/* token or quoted string */
bool lex_keyword(struct scan *s, struct buf *out);	/* letters, digits, hyphens */
bool lex_u32(struct scan *s, uint32_t *out);
bool mail_is_atext(unsigned char c);
bool mail_is_token(unsigned char c);

/* Ends a parse: 0 when everything was read and OK, else -E_INVAL "invalid header: Error at line …". */
int scan_finish(struct scan *s, bool ok);
/* The bytes of B as a string of the arena; B is empty again. */
struct slice scan_take(struct scan *s, struct buf *b);
