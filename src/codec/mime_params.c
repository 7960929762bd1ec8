/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of MIME fields (RFC 2045 5.1, RFC 2231), and the encoded words that some put there. */
#include <stdlib.h>
#include "base/utf8.h"
#include "codec/charset.h"
#include "codec/rfc5322_int.h"

#define PARAMS_MAX 256

static bool is_attr(unsigned char c)
{
	return mail_is_token(c) && c != '*' && c != '\'' && c != '%';
}

static bool lex_attr(struct scan *s, struct slice *out)
{
	const char *q = s->p;
	while (q < s->end && is_attr(*q))
		q++;
	*out = slice_new(s->p, q - s->p);
	s->p = q;
	return out->len > 0;
}

static bool lex_equals(struct scan *s)
{
	lex_cfws(s);
	if (!lex_char(s, '='))
		return false;
	lex_cfws(s);
	return true;
}

/* Attribute characters and %XX, as they are. */
static void lex_extended(struct scan *s, struct slice *out)
{
	const char *q = s->p;
	while (q < s->end) {
		if (is_attr(*q))
			q++;
		else if (*q == '%' && s->end - q > 2 && strchr("0123456789abcdefABCDEF", q[1]) && strchr("0123456789abcdefABCDEF", q[2]) && q[1] && q[2])
			q += 3;
		else
			break;
	}
	*out = slice_new(s->p, q - s->p);
	s->p = q;
}

/* name=word and name="word" */
static bool lex_word_param(struct scan *s, struct mime_param *p, bool quoted)
{
	const char *start = s->p;
	struct buf b = { 0 };
	bool ok = lex_attr(s, &p->name) && lex_equals(s) && (!quoted || lex_char(s, '"')) && lex_encoded_word(s, &b) && (!quoted || lex_char(s, '"'));
	if (ok) {
		p->encoding = quoted ? MIME_PARAM_QUOTED_WORD : MIME_PARAM_WORD;
		p->value = scan_take(s, &b);
	} else {
		s->p = start;
	}
	buf_fini(&b);
	return ok;
}

static bool lex_plain_param(struct scan *s, struct mime_param *p)
{
	const char *start = s->p;
	struct buf b = { 0 };
	bool ok = lex_attr(s, &p->name) && lex_equals(s) && lex_value(s, &b);
	if (ok)
		p->value = scan_take(s, &b);
	else
		s->p = start;
	buf_fini(&b);
	return ok;
}

static void lex_section(struct scan *s, struct mime_param *p)
{
	const char *start = s->p;
	if (lex_char(s, '*') && lex_u32(s, &p->section))
		p->has_section = true;
	else
		s->p = start;
}

static struct slice charset_name(struct scan *s)
{
	const char *q = s->p;
	while (q < s->end && mail_is_token(*q) && *q != '\'')
		q++;
	struct slice t = slice_new(s->p, q - s->p);
	s->p = q;
	return t;
}

/* name*0*=charset'language'text */
static bool lex_charset_param(struct scan *s, struct mime_param *p)
{
	const char *start = s->p;
	if (lex_attr(s, &p->name)) {
		lex_section(s, p);
		if (lex_char(s, '*') && lex_equals(s)) {
			p->charset = charset_name(s);
			if (lex_char(s, '\'')) {
				charset_name(s);
				if (lex_char(s, '\'')) {
					lex_extended(s, &p->value);
					p->encoding = MIME_PARAM_2231;
					return true;
				}
			}
		}
	}
	s->p = start;
	*p = (struct mime_param){ 0 };
	return false;
}

/* name*0=text, name*1*=text */
static bool lex_continued_param(struct scan *s, struct mime_param *p)
{
	const char *start = s->p;
	struct buf b = { 0 };
	bool ok = lex_attr(s, &p->name);
	if (ok) {
		lex_section(s, p);
		if (lex_char(s, '*'))
			p->encoding = MIME_PARAM_2231;
		ok = lex_equals(s);
	}
	if (ok) {
		if (lex_quoted(s, &b))
			p->value = scan_take(s, &b);
		else
			lex_extended(s, &p->value);
	} else {
		s->p = start;
	}
	buf_fini(&b);
	return ok;
}

static bool lex_param(struct scan *s, struct mime_param *p)
{
	*p = (struct mime_param){ 0 };
	if (lex_word_param(s, p, false) || lex_word_param(s, p, true) || lex_plain_param(s, p) || lex_charset_param(s, p))
		return true;
	*p = (struct mime_param){ 0 };
	return lex_continued_param(s, p);
}

static void add(struct mime_params *ps, struct arena *a, const struct mime_param *p)
{
	if (ps->n == ps->cap) {
		struct mime_param *old = ps->params;
		ps->cap = ps->cap ? ps->cap * 2 : 4;
		ps->params = arena_alloc(a, ps->cap * sizeof *old);
		if (ps->n > 0)
			memcpy(ps->params, old, ps->n * sizeof *old);
	}
	ps->params[ps->n++] = *p;
}

/* Each with an optional ";" before it, since some writers leave it out. LOOSE: with any number of them, also behind the last one. */
static void lex_params(struct scan *s, bool loose, struct mime_params *out)
{
	lex_cfws(s);
	while (out->n < PARAMS_MAX) {
		const char *start = s->p;
		struct mime_param p;
		while (lex_char(s, ';') && loose)
			lex_cfws(s);
		lex_cfws(s);
		if (loose)
			start = s->p;	/* what has been skipped is no fault */
		if (!lex_param(s, &p)) {
			s->p = start;
			return;
		}
		lex_cfws(s);
		add(out, s->a, &p);
	}
}

static int parse_content_type(struct slice value, bool loose, struct arena *a, struct mime_params *out)
{
	struct scan s = scan_new(value, a);
	struct buf b = { 0 };
	*out = (struct mime_params){ 0 };
	lex_cfws(&s);
	bool ok = lex_token(&s, &b) && lex_opt_cfws(&s) && lex_char(&s, '/');
	if (ok) {
		buf_putc(&b, '/');
		lex_cfws(&s);
		ok = lex_token(&s, &b);
	}
	if (ok) {
		out->value = scan_take(&s, &b);
		lex_params(&s, loose, out);
	}
	buf_fini(&b);
	return scan_finish(&s, ok);
}

int mime_parse_content_type(struct slice value, struct arena *a, struct mime_params *out)
{
	return parse_content_type(value, false, a, out);
}

int mime_parse_content_type_loosely(struct slice value, struct arena *a, struct mime_params *out)
{
	return parse_content_type(value, true, a, out);
}

int mime_parse_token_params(struct slice value, struct arena *a, struct mime_params *out)
{
	struct scan s = scan_new(value, a);
	struct buf b = { 0 };
	*out = (struct mime_params){ 0 };
	lex_cfws(&s);
	bool ok = lex_token(&s, &b);
	if (ok) {
		out->value = scan_take(&s, &b);
		lex_params(&s, false, out);
	}
	buf_fini(&b);
	return scan_finish(&s, ok);
}

static int hex(char c)
{
	return ascii_is_digit(c) ? c - '0' : ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f' ? ascii_lower(c) - 'a' + 10 : -1;
}

/* %XX decoded, then read in the charset; what is no text of it is left out. */
static void put_2231(struct buf *out, struct slice charset, struct slice in)
{
	struct buf bytes = { 0 };
	for (size_t i = 0; i < in.len; i++) {
		int hi = in.ptr[i] == '%' && i + 2 < in.len ? hex(in.ptr[i + 1]) : -1;
		int lo = hi >= 0 ? hex(in.ptr[i + 2]) : -1;
		if (lo >= 0)
			i += 2;
		buf_putc(&bytes, lo >= 0 ? hi << 4 | lo : in.ptr[i]);
	}
	if (charset_to_utf8(charset, buf_view(&bytes), out) < 0)
		err_clear();
	buf_fini(&bytes);
}

static int by_section(const void *a, const void *b)
{
	const struct mime_param *x = *(const struct mime_param *const *)a, *y = *(const struct mime_param *const *)b;
	if (x->has_section != y->has_section)
		return x->has_section - y->has_section;
	if (x->section != y->section)
		return x->section < y->section ? -1 : 1;
	return x < y ? -1 : x > y;
}

bool mime_params_get(const struct mime_params *p, struct slice name, struct arena *a, struct slice *out)
{
	const struct mime_param *parts[PARAMS_MAX];
	uint32_t n = 0;
	struct slice charset = SLICE_NONE;
	struct buf b = { 0 };

	for (uint32_t i = 0; i < p->n && n < PARAMS_MAX; i++)
		if (slice_eq_nocase(p->params[i].name, name))
			parts[n++] = &p->params[i];
	if (n == 0)
		return false;
	if (n == 1 && parts[0]->encoding != MIME_PARAM_2231) {
		*out = parts[0]->value;
		return true;
	}
	qsort(parts, n, sizeof parts[0], by_section);
	for (uint32_t i = 0; i < n; i++) {
		if (parts[i]->charset.len > 0)
			charset = charset_known(parts[i]->charset) ? parts[i]->charset : SLICE_NONE;
		if (parts[i]->encoding == MIME_PARAM_2231 && charset.len > 0)
			put_2231(&b, charset, parts[i]->value);
		else
			buf_slice(&b, parts[i]->value);
	}
	*out = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return true;
}

void mime_params_set(struct mime_params *p, struct arena *a, struct slice name, struct slice value)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < p->n; i++)
		if (!slice_eq_nocase(p->params[i].name, name))
			p->params[n++] = p->params[i];
	p->n = n;
	add(p, a, &(struct mime_param){ .name = name, .value = value });
}

static bool first_of_name(const struct mime_params *p, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (slice_eq_nocase(p->params[i].name, p->params[at].name))
			return false;
	return true;
}

void mime_params_to_val(const struct mime_params *p, struct arena *a, struct val *out)
{
	struct val params = val_obj();
	struct slice v;
	for (uint32_t i = 0; i < p->n; i++)
		if (first_of_name(p, i) && mime_params_get(p, p->params[i].name, a, &v))
			val_put(a, &params, p->params[i].name, val_str(a, v));
	*out = val_obj();
	val_put_lit(a, out, "value", val_str(a, p->value));
	val_put_lit(a, out, "parameters", params);
}

int mime_params_from_val(const struct val *v, struct arena *a, struct mime_params *out)
{
	*out = (struct mime_params){ 0 };
	if (v->type != VAL_OBJ)
		return err_set(E_INVAL, "deserialize error: invalid type: %s, expected table", val_type_name(v->type));
	const struct val *value = val_get_lit(v, "value"), *params = val_get_lit(v, "parameters");
	if (value == NULL)
		return err_set(E_INVAL, "deserialize error: missing field `value`");
	if (value->type != VAL_STR)
		return err_set(E_INVAL, "deserialize error: value: invalid type: %s, expected a string", val_type_name(value->type));
	out->value = value->s;
	for (uint32_t i = 0; params != NULL && params->type == VAL_OBJ && i < params->n; i++) {
		if (params->members[i].val.type != VAL_STR)
			return err_set(E_INVAL, "deserialize error: parameters.%.*s: expected a string", SLICE_ARG(params->members[i].key));
		mime_params_set(out, a, params->members[i].key, params->members[i].val.s);
	}
	return 0;
}

/* --- writing ---------------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return slice_cmp(((const struct mime_param *)a)->name, ((const struct mime_param *)b)->name);
}

static bool is_quotable(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < 0 || s.ptr[i] == '\t')
			return false;
	return true;
}

/* One parameter's line; SECTION -1: the only one. */
static void put_section(struct buf *b, struct slice name, int section, bool quoted, struct slice text)
{
	buf_lit(b, ";\r\n\t");
	buf_slice(b, name);
	if (section >= 0)
		buf_printf(b, "*%d", section);
	buf_cstr_put(b, quoted ? "=\"" : "*=");
	if (!quoted && section <= 0)
		buf_lit(b, "UTF-8''");
	buf_slice(b, text);
	if (quoted)
		buf_putc(b, '"');
}

static void put_param(struct buf *b, struct slice name, struct slice value)
{
	bool quoted = is_quotable(value);
	struct buf part = { 0 };
	size_t used = name.len + 4 + (quoted ? 1 : 7), limit = used < 73 ? 74 - used : 1;
	int section = 0;

	if (value.len == 0)
		return;
	while (value.len > 0) {
		uint32_t cp;
		size_t n = utf8_decode(value, &cp);
		char c = value.ptr[0];
		if (n == 0)
			n = 1;
		if (quoted) {
			if (c == '"' || c == '\\')
				buf_putc(&part, '\\');
			buf_putc(&part, c);
		} else if (n == 1 && mail_is_token(c) && c != '%') {
			buf_putc(&part, c);
		} else {
			for (size_t i = 0; i < n; i++)
				buf_printf(&part, "%%%02X", (unsigned char)value.ptr[i]);
		}
		value = slice_sub(value, n, SIZE_MAX);
		if (part.len >= limit && value.len > 0) {
			put_section(b, name, section++, quoted, buf_view(&part));
			buf_clear(&part);
			if (!quoted && section == 1)	/* the charset stands in the first only */
				limit = MAX(limit, 74 - (MIN(name.len, 60) + 4));
		}
	}
	put_section(b, name, section == 0 ? -1 : section, quoted, buf_view(&part));
	buf_fini(&part);
}

void mime_params_put(struct buf *b, const struct mime_params *p)
{
	struct arena *a = arena_create();
	struct mime_param *names = arena_alloc(a, (p->n + 1) * sizeof *names);
	uint32_t n = 0;
	struct slice v;

	buf_slice(b, p->value);
	for (uint32_t i = 0; i < p->n; i++)
		if (first_of_name(p, i))
			names[n++] = p->params[i];
	qsort(names, n, sizeof *names, by_name);
	for (uint32_t i = 0; i < n; i++) {
		if (!mime_params_get(p, names[i].name, a, &v))
			continue;
		if (names[i].encoding == MIME_PARAM_WORD || names[i].encoding == MIME_PARAM_QUOTED_WORD) {
			const char *q = names[i].encoding == MIME_PARAM_QUOTED_WORD ? "\"" : "";
			buf_printf(b, ";\r\n\t%.*s=%s", SLICE_ARG(names[i].name), q);
			mail_put_word(b, v);
			buf_cstr_put(b, q);
		} else {
			put_param(b, names[i].name, v);
		}
	}
	arena_destroy(&a);
}
