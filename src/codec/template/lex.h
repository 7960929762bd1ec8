/* SPDX-License-Identifier: Apache-2.0 */
/* lex - the tokens of a Jinja template. */
#pragma once
#include "codec/template/tpl.h"

enum tok_kind { T_EOF, T_TEXT, T_VAR_BEGIN, T_VAR_END, T_BLOCK_BEGIN, T_BLOCK_END, T_NAME, T_STR, T_INT, T_FLOAT, T_OP };

struct tok {
	enum tok_kind kind;
	uint32_t line;
	struct slice text;	/* T_TEXT, T_NAME, T_STR (unescaped), T_OP (as written) */
	int128 i;
	double f;
};

struct lexer {
	const struct template *t;
	struct arena *a;
	struct slice src;
	size_t at;
	uint32_t line;
	enum { IN_TEXT, IN_VAR, IN_BLOCK } state;
	int balance;		/* open brackets: "}}" ends an expression only outside of them */
	bool trim;		/* the tag before ended with "-" */
};

void lex_init(struct lexer *l, const struct template *t);
int lex_next(struct lexer *l, struct tok *out) WARN_UNUSED;
int lex_fail(const struct lexer *l, uint32_t line, const char *fmt, ...) PRINTF(3, 4);
const char *tok_name(const struct tok *t, char buf[16]);
