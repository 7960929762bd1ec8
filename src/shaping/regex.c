/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regex - the regular expressions of automation rules: PCRE2, compiled once, matched from any thread.
 *
 * Responses come from strangers, so a match has limits; one that runs into them is no match.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include "shaping/internal.h"

#define MATCH_LIMIT 100000
#define DEPTH_LIMIT 10000

int shaping_regex_compile(struct shaping *s, struct slice text, struct shaping_regex *out)
{
	int code;
	PCRE2_SIZE at;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)text.ptr, text.len, PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);

	if (!re) {
		PCRE2_UCHAR why[256];

		pcre2_get_error_message(code, why, sizeof(why));
		return err_set(E_INVAL, "invalid regex `%.*s`: %s at offset %zu", SLICE_ARG(text), (const char *)why, (size_t)at);
	}
	(void)pcre2_jit_compile(re, PCRE2_JIT_COMPLETE); /* without it the interpreter matches */
	out->text = arena_dup(s->arena, text);
	out->code = re;
	out->next = s->regexes;
	s->regexes = out;
	return 0;
}

bool shaping_regex_matches(const struct shaping_regex *re, struct slice line)
{
	pcre2_match_context *mc = pcre2_match_context_create(NULL);
	pcre2_match_data *md = pcre2_match_data_create(1, NULL);

	assert(mc && md);
	pcre2_set_match_limit(mc, MATCH_LIMIT);
	pcre2_set_depth_limit(mc, DEPTH_LIMIT);
	int rc = pcre2_match(re->code, (PCRE2_SPTR)line.ptr, line.len, 0, 0, md, mc);
	pcre2_match_data_free(md);
	pcre2_match_context_free(mc);
	return rc >= 0;
}

void shaping_regexes_free(struct shaping *s)
{
	for (struct shaping_regex *re = s->regexes; re; re = re->next)
		pcre2_code_free(re->code);
	s->regexes = NULL;
}
