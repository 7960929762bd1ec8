/* SPDX-License-Identifier: Apache-2.0 */
/* parse - what the parsers of expressions and statements share. */
#pragma once
#include "codec/template/lex.h"

#define PARSE_DEPTH_MAX 60	/* about 1.3 KB of stack each */

struct parser {
	struct template *t;
	struct lexer lex;
	struct tok tok;		/* the one to look at */
	struct arena *a;
	int depth, loops;
	bool in_macro;
};

int parse_advance(struct parser *p) WARN_UNUSED;
bool parse_is_op(const struct parser *p, const char *op);
bool parse_is_name(const struct parser *p, const char *name);
int parse_unexpected(struct parser *p, const char *expected);	/* "unexpected X[, expected Y]" */
int parse_need_op(struct parser *p, const char *op) WARN_UNUSED;
int parse_need_name(struct parser *p, struct slice *out) WARN_UNUSED;
int parse_deeper(struct parser *p) WARN_UNUSED;
bool parse_skip_op(struct parser *p, const char *op, int *rc);	/* advances when it is there */
bool parse_skip_name(struct parser *p, const char *name, int *rc);

struct expr *parse_new(struct parser *p, enum expr_kind kind);
int parse_expr(struct parser *p, struct expr **out) WARN_UNUSED;
int parse_expr_noif(struct parser *p, struct expr **out) WARN_UNUSED;
int parse_filters(struct parser *p, struct expr **e, bool required) WARN_UNUSED;	/* "name(args)|…" on *E, the first "|" read */

/* Growing arrays in the arena: room for one more element behind N. */
void *parse_grow(struct arena *a, void *items, size_t n, size_t size);
