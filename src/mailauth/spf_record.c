/* SPDX-License-Identifier: Apache-2.0 */
/* Records of RFC 7208 4.6, 5, 6 and 12. */
#include "mailauth/spf_int.h"

#define TERMS_MAX 512

static const struct mechanism {
	const char *name;
	enum spf_kind kind;
	bool has_domain, needs_domain, has_cidr;
} MECHANISMS[] = {
	{ "all", SPF_K_ALL, false, false, false }, { "include", SPF_K_INCLUDE, true, true, false }, { "a", SPF_K_A, true, false, true },
	{ "mx", SPF_K_MX, true, false, true }, { "ptr", SPF_K_PTR, true, false, false }, { "ip4", SPF_K_IP4, true, true, false },
	{ "ip6", SPF_K_IP6, true, true, false }, { "exists", SPF_K_EXISTS, true, true, false },
};

static int bad(struct slice term)
{
	return err_set(E_INVAL, "invalid token '%.*s'", (int)MIN(term.len, (size_t)200), term.ptr);
}

/* "24" up to MAX, no leading zeros. */
static bool read_bits(struct slice s, uint8_t max, uint8_t *out)
{
	uint64_t n;
	if (s.len == 0 || (s.len > 1 && s.ptr[0] == '0') || slice_to_u64(s, &n) < 0 || n > max)
		return false;
	*out = (uint8_t)n;
	return true;
}

/* Cuts "/24//64" off the end of *S; a slash within a macro is no prefix length. */
static bool cut_cidr(struct slice *s, struct spf_term *t)
{
	size_t end = s->len, i = end;
	while (i > 0 && (ascii_is_digit(s->ptr[i - 1]) || s->ptr[i - 1] == '/'))
		i--;
	/* digits at the end of a name are the name's */
	while (i < end && s->ptr[i] != '/')
		i++;
	if (i == end)
		return true;
	struct slice cidr = slice_sub(*s, i, SIZE_MAX);
	s->len = i;
	ptrdiff_t dual = slice_find(cidr, SLICE("//"));
	if (dual >= 0 && !read_bits(slice_sub(cidr, dual + 2, SIZE_MAX), 128, &t->bits6))
		return false;
	if (dual >= 0)
		cidr.len = dual;
	return cidr.len == 0 || read_bits(slice_sub(cidr, 1, SIZE_MAX), 32, &t->bits4);
}

static bool read_network(struct slice s, struct spf_term *t)
{
	ptrdiff_t slash = slice_chr(s, '/');
	uint8_t family = t->kind == SPF_K_IP4 ? 4 : 6, bits = family == 4 ? 32 : 128;
	struct slice ip = slice_sub(s, 0, slash < 0 ? s.len : (size_t)slash);
	bool colon = slice_chr(ip, ':') >= 0;
	if (slash >= 0 && !read_bits(slice_sub(s, slash + 1, SIZE_MAX), bits, &bits))
		return false;
	/* a mapped address is folded to IPv4 when it is read, here as in the client's */
	if (colon != (family == 6) || ip.len == 0 || ip.ptr[0] == '[' || ipaddr_parse(ip, &t->net) < 0)
		return false;
	if (family == 6 && t->net.family == 4) {
		if (bits < 96)
			return true;
		bits -= 96;
	}
	*(t->net.family == 4 ? &t->bits4 : &t->bits6) = bits;
	return true;
}

static enum spf_disposition read_qualifier(struct slice *term)
{
	static const struct { char c; enum spf_disposition d; } QUALIFIERS[] = { { '+', SPF_PASS }, { '-', SPF_FAIL }, { '~', SPF_SOFTFAIL }, { '?', SPF_NEUTRAL } };
	for (size_t i = 0; i < ARRAY_LEN(QUALIFIERS); i++)
		if (term->ptr[0] == QUALIFIERS[i].c) {
			*term = slice_sub(*term, 1, SIZE_MAX);
			return QUALIFIERS[i].d;
		}
	return SPF_PASS;
}

static int read_directive(struct slice term, struct spf_term *t)
{
	struct slice s = term;
	size_t n = 0;
	*t = (struct spf_term){ .text = term, .domain = SLICE_NONE, .bits4 = 32, .bits6 = 128 };
	t->when = read_qualifier(&s);
	while (n < s.len && s.ptr[n] != ':' && s.ptr[n] != '/')
		n++;
	const struct mechanism *m = NULL;
	for (size_t i = 0; i < ARRAY_LEN(MECHANISMS); i++)
		if (slice_eq_nocase(slice_sub(s, 0, n), slice_from_cstr(MECHANISMS[i].name)))
			m = &MECHANISMS[i];
	if (m == NULL)
		return bad(term);
	t->kind = m->kind;
	s = slice_sub(s, n, SIZE_MAX);
	bool has = s.len > 0 && s.ptr[0] == ':';
	if (has)
		s = slice_sub(s, 1, SIZE_MAX);
	if ((has && !m->has_domain) || (!has && m->needs_domain))
		return bad(term);
	if (m->kind == SPF_K_IP4 || m->kind == SPF_K_IP6)
		return read_network(s, t) ? 0 : bad(term);
	if (m->has_cidr && !cut_cidr(&s, t))
		return bad(term);
	if (has && !spf_macro_valid(s, false, true))
		return bad(term);
	if (!has && s.len > 0)
		return bad(term);
	if (has)
		t->domain = s;
	return 0;
}

/* name=value: 1; anything else: 0. */
static int read_modifier(struct slice term, struct spf_record *out)
{
	ptrdiff_t eq = slice_chr(term, '=');
	struct slice name = slice_sub(term, 0, eq < 0 ? 0 : (size_t)eq), value = slice_sub(term, eq + 1, SIZE_MAX);
	if (eq <= 0 || !ascii_is_alpha(name.ptr[0]))
		return 0;
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && strchr("-_.", name.ptr[i]) == NULL)
			return 0;
	bool redirect = slice_eq_nocase(name, SLICE("redirect")), exp = slice_eq_nocase(name, SLICE("exp"));
	struct slice *place = redirect ? &out->redirect : &out->exp;
	if (!redirect && !exp)
		return spf_macro_valid(value, true, false) ? 1 : bad(term);
	if (place->ptr != NULL)
		return err_set(E_INVAL, "duplicate %s modifier", redirect ? "redirect" : "explanation");
	if (!spf_macro_valid(value, false, true))
		return bad(term);
	*place = value;
	return 1;
}

int spf_record_parse(struct slice text, struct arena *a, struct spf_record *out)
{
	struct slice term;
	uint32_t cap = 1;
	for (size_t i = 0; i < text.len; i++)
		cap += text.ptr[i] == ' ';
	if (cap > TERMS_MAX)
		return err_set(E_INVAL, "over %d terms", TERMS_MAX);
	*out = (struct spf_record){ .terms = arena_alloc(a, cap * sizeof *out->terms), .redirect = SLICE_NONE, .exp = SLICE_NONE };
	slice_split_next(&text, ' ', &term);	/* the version */
	while (slice_split_next(&text, ' ', &term)) {
		if (term.len == 0)
			continue;
		int rc = read_modifier(term, out);
		if (rc == 0)
			rc = read_directive(term, &out->terms[out->n++]);
		if (rc < 0)
			return rc;
	}
	return 0;
}
