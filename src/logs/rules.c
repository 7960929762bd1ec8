/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "logs/rules.h"
#include <pcre2.h>
#include <stdatomic.h>
#include <stdlib.h>
#ifdef HAVE_HYPERSCAN
#include <hs/hs.h>
#endif
#include "base/buf.h"
#include "base/utf8.h"
#include "base/xalloc.h"

#define MATCH_LIMIT 1000000

struct rule {
	char *pattern;
	struct slice value;
	pcre2_code *code;
	bool fast;		/* in the automaton */
};
struct rules {
	_Atomic uint32_t refs;
	struct rule *rules;
	unsigned n, slow;
#ifdef HAVE_HYPERSCAN
	hs_database_t *db;
#endif
};

struct rules *rules_create(void)
{
	struct rules *r = xzalloc(sizeof *r);
	atomic_init(&r->refs, 1);
	return r;
}

struct rules *rules_ref(struct rules *r)
{
	atomic_fetch_add(&r->refs, 1);
	return r;
}

void rules_unref(struct rules **rp)
{
	struct rules *r = *rp;
	*rp = NULL;
	if (r == NULL || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < r->n; i++) {
		free(r->rules[i].pattern);
		free((char *)r->rules[i].value.ptr);
		pcre2_code_free(r->rules[i].code);
	}
#ifdef HAVE_HYPERSCAN
	hs_free_database(r->db);
#endif
	free(r->rules);
	free(r);
}

int rules_add(struct rules *r, struct slice pattern, struct slice value)
{
	int error;
	PCRE2_SIZE at;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &error, &at, NULL);
	if (code == NULL) {
		PCRE2_UCHAR text[256];
		pcre2_get_error_message(error, text, sizeof text);
		return err_set(E_INVAL, "compiling rules: %.*s: %s at offset %zu", SLICE_ARG(pattern), (const char *)text, (size_t)at);
	}
	r->rules = xreallocarray(r->rules, r->n + 1, sizeof *r->rules);
	r->rules[r->n++] = (struct rule){ xmemdup0(pattern.ptr, pattern.len), { xmemdup0(value.ptr, value.len), value.len }, code, false };
	r->slow++;
	return 0;
}

#ifdef HAVE_HYPERSCAN
/*
 * The automaton works on bytes and sees ASCII texts only, where classes like \w and \b mean the same with and without Unicode. Compiled
 * for Unicode it lacks \b, and takes seconds to minutes for what operators write every day: 78 s for a\w{1,40}b, against 2 ms.
 */
#define SET_FLAGS (HS_FLAG_SINGLEMATCH | HS_FLAG_ALLOWEMPTY)

static bool is_for_set(const char *pattern)
{
	hs_expr_info_t *info = NULL;
	hs_compile_error_t *e = NULL;
	bool fits = utf8_is_ascii(slice_from_cstr(pattern));

	for (const char *c = pattern; fits && (c = strchr(c, '\\')) != NULL && c[1] != '\0'; c += 2)
		fits = strchr("xXpPN", c[1]) == NULL; /* may be about what is not ASCII: a letter there may be the other case of one here */
	fits = fits && hs_expression_info(pattern, SET_FLAGS, &info, &e) == HS_SUCCESS;
	free(info);
	hs_free_compile_error(e);
	return fits;
}

/* Compiles the rules that are marked as fast; one that does not go is unmarked. True when done. */
static bool compile_set(struct rules *r)
{
	const char **patterns = xcalloc(r->n, sizeof *patterns);
	unsigned *flags = xcalloc(r->n, sizeof *flags), *ids = xcalloc(r->n, sizeof *ids), n = 0;
	for (unsigned i = 0; i < r->n; i++) {
		if (!r->rules[i].fast)
			continue;
		patterns[n] = r->rules[i].pattern;
		flags[n] = SET_FLAGS;
		ids[n++] = i;
	}
	hs_compile_error_t *e = NULL;
	bool done = n == 0 || hs_compile_multi(patterns, flags, ids, n, HS_MODE_BLOCK, NULL, &r->db, &e) == HS_SUCCESS;
	if (!done && e->expression >= 0 && (unsigned)e->expression < n)
		r->rules[ids[e->expression]].fast = false;
	else if (!done)
		for (unsigned i = 0; i < r->n; i++)
			r->rules[i].fast = false;
	hs_free_compile_error(e);
	free(patterns);
	free(flags);
	free(ids);
	return done;
}
#endif

void rules_compile(struct rules *r)
{
#ifdef HAVE_HYPERSCAN
	if (r->n == 0 || hs_valid_platform() != HS_SUCCESS)
		return;
	for (unsigned i = 0; i < r->n; i++)
		r->rules[i].fast = is_for_set(r->rules[i].pattern);
	while (!compile_set(r)) {
	}
	for (unsigned i = 0; i < r->n; i++)
		r->slow -= r->rules[i].fast;
#endif
}

bool rules_is_fast(const struct rules *r)
{
	return r->slow == 0;
}

#ifdef HAVE_HYPERSCAN
static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *arg)
{
	unsigned *best = arg;
	*best = MIN(*best, id);
	return *best == 0;	/* nothing comes before the first rule: stop */
}
#endif

static unsigned match_set(const struct rules *r, struct slice text)
{
	unsigned best = r->n;
#ifdef HAVE_HYPERSCAN
	static _Thread_local hs_scratch_t *scratch;	/* grows to what the largest set needs */
	if (r->db != NULL && hs_alloc_scratch(r->db, &scratch) == HS_SUCCESS)
		hs_scan(r->db, text.ptr, (unsigned)text.len, 0, scratch, on_match, &best);
#endif
	return best;
}

static bool match_one(const struct rule *rule, struct slice text)
{
	static _Thread_local pcre2_match_data *md;
	static _Thread_local pcre2_match_context *mc;
	if (md == NULL) {
		md = pcre2_match_data_create(1, NULL);
		mc = pcre2_match_context_create(NULL);
		pcre2_set_match_limit(mc, MATCH_LIMIT);
	}
	return pcre2_match(rule->code, (PCRE2_SPTR)text.ptr, text.len, 0, PCRE2_NO_UTF_CHECK, md, mc) >= 0;
}

bool rules_match(const struct rules *r, struct slice text, struct slice *value)
{
	struct buf clean = { 0 };
	if (!utf8_valid(text)) {
		utf8_put_lossy(&clean, text);
		text = buf_view(&clean);
	}
	if (text.ptr == NULL)
		text = SLICE("");
	bool with_set = utf8_is_ascii(text) && !slice_ends(text, SLICE("\n")); /* "$" is the very end, and not before a line end */
	unsigned best = with_set ? match_set(r, text) : r->n;
	for (unsigned i = 0; (r->slow > 0 || !with_set) && i < best; i++)
		if (!(with_set && r->rules[i].fast) && match_one(&r->rules[i], text))
			best = i;
	buf_fini(&clean);
	if (best < r->n)
		*value = r->rules[best].value;
	return best < r->n;
}
