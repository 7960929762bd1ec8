/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "codec/regex.h"
#include <pcre2.h>
#include <stdlib.h>
#include "base/utf8.h"
#include "base/xalloc.h"

#define MAGIC OBJ_MAGIC('R', 'e', 'g', 'x')
#define MATCH_LIMIT 1000000
#define HEAP_LIMIT_KIB 20000
#define JIT_STACK_MAX (512 * 1024)

struct regex {
	uint32_t magic;
	pcre2_code *code;
	size_t n_groups;
	const uint8_t *names;		/* PCRE2's table: number (2 bytes), name, NUL */
	uint32_t n_names, name_size;
};

static struct thread_ctx {
	pcre2_match_context *match;
	pcre2_match_data *data;
} *make_thread_ctx(void)
{
	static __thread struct thread_ctx ctx;
	if (!ctx.match) {
		ctx.match = pcre2_match_context_create(NULL);
		ctx.data = pcre2_match_data_create(REGEX_GROUPS_MAX, NULL);
		assert(ctx.match && ctx.data);
		pcre2_set_match_limit(ctx.match, MATCH_LIMIT);
		pcre2_set_heap_limit(ctx.match, HEAP_LIMIT_KIB);
		pcre2_jit_stack_assign(ctx.match, NULL, pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL));
	}
	return &ctx;
}

/* What only REGEX_FULL knows: the offset of the first such construct, or -1. */
static ptrdiff_t find_fancy(struct slice p)
{
	static const char *const groups[] = { "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?P=", "(?(", "(?R", "(?&", "(?|", "(?#" };
	bool class = false;
	for (size_t i = 0; i < p.len; i++) {
		char c = p.ptr[i];
		if (c == '\\' && i + 1 < p.len) {
			char d = p.ptr[++i];
			if (!class && ((d >= '1' && d <= '9') || strchr("kgKGXRC", d)))
				return (ptrdiff_t)i - 1;
		} else if (class) {
			class = c != ']';
		} else if (c == '[') {
			class = true;
			if (i + 1 < p.len && p.ptr[i + 1] == '^')
				i++;
			if (i + 1 < p.len && p.ptr[i + 1] == ']')
				i++;
		} else if (c == '(') {
			for (size_t g = 0; g < ARRAY_LEN(groups); g++)
				if (slice_starts(slice_sub(p, i, SIZE_MAX), slice_from_cstr(groups[g])))
					return (ptrdiff_t)i;
		}
	}
	return -1;
}

int regex_create(struct slice pattern, enum regex_dialect dialect, struct regex **out)
{
	int code;
	PCRE2_SIZE at;
	if (!utf8_valid(pattern))
		return err_set(E_INVAL, "the expression is not UTF-8");
	ptrdiff_t fancy = dialect == REGEX_PLAIN ? find_fancy(pattern) : -1;
	if (fancy >= 0)
		return err_set(E_INVAL, "look-around and backreferences are not supported here, at offset %td of `%.*s`", fancy, SLICE_ARG(pattern));
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)(pattern.ptr ? pattern.ptr : ""), pattern.len,
				       PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_DUPNAMES | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
	if (!re) {
		char text[128] = "";
		pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
		return err_set(E_INVAL, "Parsing error at position %zu: %s", (size_t)at, text);
	}
	pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);	/* where there is no JIT the interpreter serves */
	struct regex *r = xzalloc(sizeof *r);
	OBJ_INIT(r, MAGIC);
	r->code = re;
	uint32_t groups;
	pcre2_pattern_info(re, PCRE2_INFO_CAPTURECOUNT, &groups);
	pcre2_pattern_info(re, PCRE2_INFO_NAMECOUNT, &r->n_names);
	pcre2_pattern_info(re, PCRE2_INFO_NAMEENTRYSIZE, &r->name_size);
	pcre2_pattern_info(re, PCRE2_INFO_NAMETABLE, &r->names);
	r->n_groups = (size_t)groups + 1;
	if (r->n_groups > REGEX_GROUPS_MAX) {
		regex_destroy(&r);
		return err_set(E_LIMIT, "the expression has more than %d groups", REGEX_GROUPS_MAX - 1);
	}
	*out = r;
	return 0;
}

void regex_destroy(struct regex **rp)
{
	struct regex *r = *rp;
	*rp = NULL;
	if (!r)
		return;
	OBJ_FINI(r, MAGIC);
	pcre2_code_free(r->code);
	free(r);
}

int regex_find(const struct regex *r, struct slice s, size_t from, struct regex_match *m)
{
	OBJ_CHECK(r, MAGIC);
	struct thread_ctx *t = make_thread_ctx();
	if (from > s.len)
		return 0;
	int n = pcre2_match(r->code, (PCRE2_SPTR)(s.ptr ? s.ptr : ""), s.len, from, 0, t->data, t->match);
	if (n == PCRE2_ERROR_NOMATCH)
		return 0;
	if (n < 0) {
		char text[128] = "";
		pcre2_get_error_message(n, (PCRE2_UCHAR *)text, sizeof text);
		return err_set(n <= PCRE2_ERROR_UTF8_ERR1 && n >= PCRE2_ERROR_UTF8_ERR21 ? E_INVAL : E_LIMIT, "matching a regular expression: %s", text);
	}
	if (!m)
		return 1;
	const PCRE2_SIZE *o = pcre2_get_ovector_pointer(t->data);
	m->n = r->n_groups;
	for (size_t i = 0; i < m->n; i++) {
		bool took_part = i < (size_t)n && o[2 * i] != PCRE2_UNSET && o[2 * i] <= o[2 * i + 1];
		m->group[i] = took_part ? slice_new((s.ptr ? s.ptr : "") + o[2 * i], o[2 * i + 1] - o[2 * i]) : SLICE_NONE;
	}
	return 1;
}

bool regex_is_match(const struct regex *r, struct slice s)
{
	return regex_find(r, s, 0, NULL) > 0;
}

size_t regex_n_groups(const struct regex *r)
{
	return r->n_groups;
}

struct slice regex_group_name(const struct regex *r, size_t group)
{
	for (uint32_t i = 0; i < r->n_names; i++) {
		const uint8_t *e = r->names + (size_t)i * r->name_size;
		if (((size_t)e[0] << 8 | e[1]) == group)
			return slice_from_cstr((const char *)e + 2);
	}
	return SLICE_NONE;
}
