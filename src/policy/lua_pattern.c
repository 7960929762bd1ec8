/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include "policy/lua_pattern.h"

#define MAX_DEPTH 200	/* Lua's matcher calls itself as often at most */
#define SPAN 256	/* characters that are counted together */

/* What can be undone, or done differently, when the rest of the pattern does not match. */
enum choice_kind {
	OPENED,		/* a capture */
	CLOSED,		/* a capture */
	OPTIONAL,	/* item?  was there; it may be left out */
	LONGEST,	/* item* item+  may be shorter */
	SHORTEST,	/* item-  may be longer */
};
struct choice {
	enum choice_kind kind;
	unsigned capture;
	const char *s;		/* where the text stood, or for LONGEST and SHORTEST, stands */
	const char *rest;	/* of the pattern, behind the item */
	const char *other;	/* LONGEST: where the shortest would end; SHORTEST: the item */
};
struct run {
	struct lua_pattern *m;
	const char *p, *p_end, *s, *s_end;
	unsigned depth;
	struct choice choices[MAX_DEPTH];
};
enum step { FAIL, GO, BAD };	/* BAD: a mistake in the pattern, err_text says which */

#define bad(...) (err_put(__VA_ARGS__), BAD)

static inline void charge(struct lua_pattern *m, size_t n)
{
	if (n < m->steps->left) {
		m->steps->left -= (unsigned)n;
		return;
	}
	m->steps->left = PATTERN_STEPS;
	m->steps->spent(m->arg);
}

/* --- one character -------------------------------------------------------------------------------------------------- */

static bool in_class(unsigned char c, unsigned char class)
{
	bool yes;
	switch (tolower(class)) {
	case 'a': yes = isalpha(c); break;
	case 'c': yes = iscntrl(c); break;
	case 'd': yes = isdigit(c); break;
	case 'g': yes = isgraph(c); break;
	case 'l': yes = islower(c); break;
	case 'p': yes = ispunct(c); break;
	case 's': yes = isspace(c); break;
	case 'u': yes = isupper(c); break;
	case 'w': yes = isalnum(c); break;
	case 'x': yes = isxdigit(c); break;
	case 'z': yes = c == 0; break;	/* of earlier versions, still there */
	default: return c == class;
	}
	return yes != (isupper(class) != 0);
}

/* P: behind the '['; LAST: at the ']'. */
static bool in_set(unsigned char c, const char *p, const char *last)
{
	bool yes = true;
	if (*p == '^') {
		yes = false;
		p++;
	}
	while (p < last) {
		if (*p == '%') {
			if (in_class(c, (unsigned char)p[1]))
				return yes;
			p += 2;
		} else if (last - p > 2 && p[1] == '-') {
			if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
				return yes;
			p += 3;
		} else if ((unsigned char)*p++ == c) {
			return yes;
		}
	}
	return !yes;
}

/* Behind the set that begins at P (its '['); NULL: it has no end. */
static const char *set_end(const struct run *r, const char *p)
{
	p++;
	if (p < r->p_end && *p == '^')
		p++;
	for (bool first = true; p < r->p_end; p++, first = false) {
		if (*p == ']' && !first)
			return p + 1;
		if (*p == '%' && p + 1 < r->p_end)
			p++;
	}
	err_put("malformed pattern (missing ']')");
	return NULL;
}

/* Behind the item (what matches one character) at P; NULL: a mistake. */
static inline const char *item_end(const struct run *r, const char *p)
{
	if (*p == '[')
		return set_end(r, p);
	if (*p != '%')
		return p + 1;
	if (p + 1 < r->p_end)
		return p + 2;
	err_put("malformed pattern (ends with '%%')");
	return NULL;
}

static inline bool item_has(const char *item, const char *end, char c)
{
	switch (*item) {
	case '.':
		return true;
	case '%':
		return in_class((unsigned char)c, (unsigned char)item[1]);
	case '[':
		return in_set((unsigned char)c, item + 1, end - 1);
	}
	return *item == c;
}

/* Behind all characters from S on of which the item says HAS. */
static inline const char *span(const struct run *r, const char *item, const char *end, const char *s, bool has)
{
	size_t cost = 1 + (size_t)(end - item) / 16;
	if (*item == '.')
		return has ? r->s_end : s;
	for (;;) {
		const char *begin = s, *stop = r->s_end - s > SPAN ? s + SPAN : r->s_end;
		while (s < stop && item_has(item, end, *s) == has)
			s++;
		charge(r->m, (size_t)(s - begin) * cost);
		if (s < stop || s == r->s_end)
			return s;
	}
}

/* --- steps forward -------------------------------------------------------------------------------------------------- */

static inline enum step remember(struct run *r, struct choice c)
{
	if (r->depth == MAX_DEPTH - 1)
		return bad("pattern too complex");
	r->choices[r->depth++] = c;
	return GO;
}

static enum step open_capture(struct run *r)
{
	struct lua_pattern *m = r->m;
	bool position = r->p + 1 < r->p_end && r->p[1] == ')';
	if (m->n_captures == PATTERN_CAPTURES)
		return bad("too many captures");
	m->captures[m->n_captures++] = (struct pattern_capture){ r->s, position ? PATTERN_POSITION : PATTERN_OPEN };
	r->p += position ? 2 : 1;
	return remember(r, (struct choice){ .kind = OPENED });
}

static enum step close_capture(struct run *r)
{
	struct lua_pattern *m = r->m;
	for (unsigned i = m->n_captures; i-- > 0;)
		if (m->captures[i].len == PATTERN_OPEN) {
			m->captures[i].len = r->s - m->captures[i].at;
			r->p++;
			return remember(r, (struct choice){ .kind = CLOSED, .capture = i });
		}
	return bad("invalid pattern capture");
}

/* %bxy */
static enum step balance(struct run *r)
{
	if (r->p_end - r->p < 4)
		return bad("malformed pattern (missing arguments to '%%b')");
	char open = r->p[2], close = r->p[3];
	if (r->s == r->s_end || *r->s != open)
		return FAIL;
	size_t level = 1;
	for (r->s++; r->s < r->s_end; r->s++) {
		charge(r->m, 1);
		if (*r->s == close) {
			if (--level == 0) {
				r->s++;
				r->p += 4;
				return GO;
			}
		} else if (*r->s == open) {
			level++;
		}
	}
	return FAIL;
}

/* %f[set]: the text's ends count as characters 0 */
static enum step frontier(struct run *r)
{
	const char *set = r->p + 2, *s = r->s;
	if (set == r->p_end || *set != '[')
		return bad("missing '[' after '%%f' in pattern");
	const char *end = set_end(r, set);
	if (!end)
		return BAD;
	charge(r->m, (size_t)(end - set) / 16);
	if (item_has(set, end, s == r->m->text.ptr ? 0 : s[-1]) || !item_has(set, end, s == r->s_end ? 0 : *s))
		return FAIL;
	r->p = end;
	return GO;
}

/* %1 to %9 */
static enum step repeated(struct run *r)
{
	int i = r->p[1] - '1';
	if (i < 0 || i >= (int)r->m->n_captures || r->m->captures[i].len == PATTERN_OPEN)
		return bad("invalid capture index %%%d", i + 1);
	const struct pattern_capture *c = &r->m->captures[i];
	if (c->len == PATTERN_POSITION || r->s_end - r->s < c->len)
		return FAIL;
	charge(r->m, (size_t)c->len / 16);
	if (memcmp(r->s, c->at, (size_t)c->len) != 0)
		return FAIL;
	r->s += c->len;
	r->p += 2;
	return GO;
}

/* An item and what says how often. */
static inline enum step item(struct run *r)
{
	const char *it = r->p, *end = item_end(r, it), *from = r->s;
	if (!end)
		return BAD;
	if (end - it > 16)
		charge(r->m, (size_t)(end - it) / 16);
	char suffix = end < r->p_end ? *end : 0;
	r->p = end;
	if (from == r->s_end || !item_has(it, end, *from)) {
		if (suffix != '*' && suffix != '?' && suffix != '-')
			return FAIL;
		r->p++;
		return GO;
	}
	switch (suffix) {
	case '*':
	case '+':
		r->s = span(r, it, end, from + 1, true);
		return remember(r, (struct choice){ LONGEST, .s = r->s, .rest = ++r->p, .other = suffix == '+' ? from + 1 : from });
	case '-':
		return remember(r, (struct choice){ SHORTEST, .s = from, .rest = ++r->p, .other = it });
	case '?':
		r->s++;
		return remember(r, (struct choice){ OPTIONAL, .s = from, .rest = ++r->p });
	}
	r->s++;
	return GO;
}

static enum step escape(struct run *r)
{
	char c = r->p + 1 < r->p_end ? r->p[1] : 0;
	if (c == 'b')
		return balance(r);
	if (c == 'f')
		return frontier(r);
	return isdigit((unsigned char)c) ? repeated(r) : item(r);
}

static inline enum step forward(struct run *r)
{
	switch (*r->p) {
	case '(':
		return open_capture(r);
	case ')':
		return close_capture(r);
	case '%':
		return escape(r);
	case '$':
		if (r->p + 1 == r->p_end) {
			r->p++;
			return r->s == r->s_end ? GO : FAIL;
		}
	}
	return item(r);
}

/* --- steps back ----------------------------------------------------------------------------------------------------- */

/* The choice C, which is the latest one, taken differently; FAIL: there is no other way. */
static enum step retry(struct run *r, struct choice *c)
{
	switch (c->kind) {
	case OPENED:
		r->m->n_captures--;
		return FAIL;
	case CLOSED:
		r->m->captures[c->capture].len = PATTERN_OPEN;
		return FAIL;
	case OPTIONAL:
		r->depth--;
		break;
	case LONGEST:
		if (c->s == c->other)
			return FAIL;
		c->s--;
		break;
	case SHORTEST:
		if (c->s == r->s_end || !item_has(c->other, c->rest - 1, *c->s))
			return FAIL;
		charge(r->m, (size_t)(c->rest - c->other) / 16);
		c->s++;
		break;
	}
	r->s = c->s;
	r->p = c->rest;
	return GO;
}

static enum step backward(struct run *r)
{
	for (; r->depth > 0; r->depth--)
		if (retry(r, &r->choices[r->depth - 1]) == GO)
			return GO;
	return FAIL;
}

/* --- matches -------------------------------------------------------------------------------------------------------- */

static int match_at(struct run *r, const char *s)
{
	struct lua_pattern *m = r->m;
	r->p = m->pattern.ptr;
	r->s = s;
	r->depth = 0;
	m->n_captures = 0;
	while (r->p < r->p_end) {
		enum step did = forward(r);
		charge(m, 1);
		if (did == FAIL)
			did = backward(r);
		if (did != GO)
			return did == BAD ? err_negative(E_INVAL) : 0;
	}
	m->end = r->s;
	return 1;
}

/* The item whose character each match begins with, its end in *END; NULL: there is none, or a mistake. */
static const char *first_item(const struct run *r, const char **end)
{
	const char *p = r->m->pattern.ptr;
	if (p == r->p_end || strchr("()$", *p) || (*p == '%' && p + 1 < r->p_end && (isdigit((unsigned char)p[1]) || p[1] == 'b' || p[1] == 'f')))
		return NULL;
	*end = item_end(r, p);
	return *end && (*end == r->p_end || !strchr("*?-", **end)) ? p : NULL;
}

/* Where a match might begin, at S or behind it; NULL: nowhere. */
static const char *candidate(const struct run *r, const char *item, const char *end, const char *s)
{
	bool literal = end - item == 1 ? *item != '.' : *item == '%' && ispunct((unsigned char)item[1]);
	if (literal) {
		const char *at = memchr(s, end[-1], (size_t)(r->s_end - s));
		charge(r->m, (size_t)((at ? at : r->s_end) - s) / 64);
		return at;
	}
	s = span(r, item, end, s, false);
	return s < r->s_end ? s : NULL;
}

int lua_pattern_find(struct lua_pattern *m, const char *from)
{
	const char *end = m->text.ptr + m->text.len, *item_end_at = NULL;
	struct run r;	/* the list needs no values yet */
	r.m = m;
	r.p_end = m->pattern.ptr + m->pattern.len;
	r.s_end = end;
	const char *item = m->anchored ? NULL : first_item(&r, &item_end_at);
	for (const char *s = from;; s++) {
		if (item && !(s = candidate(&r, item, item_end_at, s)))
			return 0;
		int rc = match_at(&r, s);
		if (rc < 0)
			return rc;
		if (rc > 0 && m->end != m->last) {
			m->start = s;
			m->last = m->end;
			return 1;
		}
		if (s == end || m->anchored)
			return 0;
	}
}

void lua_pattern_init(struct lua_pattern *m, struct slice text, struct slice pattern, bool may_anchor, struct pattern_steps *steps, void *arg)
{
	m->text = text;
	m->anchored = may_anchor && pattern.len > 0 && pattern.ptr[0] == '^';
	m->pattern = m->anchored ? slice_sub(pattern, 1, SIZE_MAX) : pattern;
	m->steps = steps;
	m->arg = arg;
	m->last = NULL;
	m->n_captures = 0;
}

bool lua_pattern_is_plain(struct slice pattern)
{
	for (size_t i = 0; i < pattern.len; i++)
		if (pattern.ptr[i] && strchr("^$*+?.([%-", pattern.ptr[i]))
			return false;
	return true;
}
