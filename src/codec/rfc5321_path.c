/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, mailboxes and domains of SMTP (RFC 5321 4.1.2, 4.1.3; RFC 6531). */
#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include "codec/rfc5321_int.h"
#include "base/utf8.h"

#define LABEL_MAX 63
#define DOMAIN_MAX 253

bool smtp_take(struct slice *in, char c)
{
	if (in->len == 0 || in->ptr[0] != c)
		return false;
	*in = slice_sub(*in, 1, SIZE_MAX);
	return true;
}

/* The length of one UTF-8 sequence beyond ASCII at the start of S, else 0. */
size_t smtp_utf8_len(struct slice s)
{
	uint32_t cp;
	if (s.len == 0 || (unsigned char)s.ptr[0] < 0x80)
		return 0;
	return utf8_decode(s, &cp);
}

static bool is_atext(char c)
{
	return ascii_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

size_t smtp_atom_len(struct slice s)
{
	size_t n = 0, u;
	while (n < s.len) {
		if (is_atext(s.ptr[n]))
			n++;
		else if ((u = smtp_utf8_len(slice_sub(s, n, SIZE_MAX))) > 0)
			n += u;
		else
			break;
	}
	return n;
}

/* The length of a quoted string with its quotes, or 0. */
size_t smtp_quoted_len(struct slice s)
{
	size_t n = 1, u;
	if (s.len < 2 || s.ptr[0] != '"')
		return 0;
	while (n < s.len) {
		unsigned char c = s.ptr[n];
		if (c == '"')
			return n + 1;
		if (c == '\\') {
			if (n + 1 >= s.len || s.ptr[n + 1] < 0x20 || s.ptr[n + 1] > 0x7e)
				return 0;
			n += 2;
		} else if (c >= 0x20 && c <= 0x7e) {
			n++;
		} else if ((u = smtp_utf8_len(slice_sub(s, n, SIZE_MAX))) > 0) {
			n += u;
		} else {
			return 0;
		}
	}
	return 0;
}

static size_t dot_string_len(struct slice s)
{
	size_t n = smtp_atom_len(s), a;
	if (n == 0)
		return 0;
	while (n + 1 < s.len && s.ptr[n] == '.' && (a = smtp_atom_len(slice_sub(s, n + 1, SIZE_MAX))) > 0)
		n += 1 + a;
	return n;
}

/* One label: a letter, digit or non-ASCII first, then also "-" and "_" (not in any RFC, but deployed). */
static size_t label_len(struct slice s)
{
	size_t n = 0, u;
	while (n < s.len) {
		char c = s.ptr[n];
		if (ascii_is_alnum(c) || (n > 0 && (c == '-' || c == '_')))
			n++;
		else if ((u = smtp_utf8_len(slice_sub(s, n, SIZE_MAX))) > 0)
			n += u;
		else
			break;
	}
	return n;
}

static size_t domain_len(struct slice s)
{
	size_t n = label_len(s), l;
	if (n == 0)
		return 0;
	while (n + 1 < s.len && s.ptr[n] == '.' && (l = label_len(slice_sub(s, n + 1, SIZE_MAX))) > 0)
		n += 1 + l;
	return n;
}

static bool domain_fits(struct slice s)
{
	struct slice rest = s, label;
	if (s.len > DOMAIN_MAX)
		return false;
	while (slice_split_next(&rest, '.', &label))
		if (label.len > LABEL_MAX)
			return false;
	return true;
}

/* S in A-labels and lower case. The common case, lower-case ASCII already, copies nothing. */
static int domain_normalize(struct slice s, struct arena *a, struct slice *out)
{
	bool ascii = true, lower = true;
	for (size_t i = 0; i < s.len; i++) {
		ascii &= (unsigned char)s.ptr[i] < 0x80;
		lower &= !(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z');
	}
	if (!ascii) {
		char *idn = NULL, *text = arena_strdup(a, s);
		int rc = idn2_lookup_u8((uint8_t *)text, (uint8_t **)&idn, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
		if (rc != IDN2_OK)
			return err_set(E_INVAL, "%.*s: not a domain name: %s", SLICE_ARG(s), idn2_strerror(rc));
		struct slice mapped = arena_dup(a, slice_from_cstr(idn));
		idn2_free(idn);
		if (mapped.len == 0 || domain_len(mapped) != mapped.len)	/* characters that map to nothing, or to dots */
			return err_set(E_INVAL, "%.*s: not a domain name: it maps to `%.*s`", SLICE_ARG(s), SLICE_ARG(mapped));
		s = mapped;
	} else if (!lower) {
		char *text = arena_strdup(a, s);
		for (size_t i = 0; i < s.len; i++)
			text[i] = ascii_lower(text[i]);
		s = slice_new(text, s.len);
	}
	if (!domain_fits(s))
		return err_set(E_INVAL, "%.*s: not a domain name: over %d octets, or %d in a label", SLICE_ARG(s), DOMAIN_MAX, LABEL_MAX);
	*out = s;
	return 0;
}

/* What stands between the brackets of an address literal. */
static int literal_parse(struct slice in, struct arena *a, struct slice *out)
{
	char text[64], norm[INET6_ADDRSTRLEN];
	struct in6_addr addr;
	bool v6 = slice_starts_nocase(in, SLICE("IPv6:"));
	struct slice ip = v6 ? slice_sub(in, 5, SIZE_MAX) : in;

	if (ip.len < sizeof text && memchr(ip.ptr, '\0', ip.len) == NULL) {
		memcpy(text, ip.ptr, ip.len);
		text[ip.len] = '\0';
		if (inet_pton(v6 ? AF_INET6 : AF_INET, text, &addr) == 1) {
			inet_ntop(v6 ? AF_INET6 : AF_INET, &addr, norm, sizeof norm);
			*out = arena_slicef(a, v6 ? "[IPv6:%s]" : "[%s]", norm);
			return 0;
		}
	}
	ptrdiff_t colon = slice_chr(in, ':');
	if (v6 || colon <= 0 || (size_t)colon + 1 == in.len)
		return err_set(E_INVAL, "[%.*s] is not an address literal", SLICE_ARG(in));
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = in.ptr[i];
		bool ok = i < (size_t)colon ? ascii_is_alnum(c) || c == '-' : (c >= 33 && c <= 90) || (c >= 94 && c <= 126);
		if (!ok)
			return err_set(E_INVAL, "[%.*s] is not an address literal", SLICE_ARG(in));
	}
	*out = arena_slicef(a, "[%.*s]", SLICE_ARG(in));
	return 0;
}

/* A domain or an address literal at the start of IN, which is moved behind it. */
int smtp_take_domain(struct slice *in, struct arena *a, struct slice *out)
{
	size_t n;
	int rc;

	if (in->len > 0 && in->ptr[0] == '[') {
		ptrdiff_t end = slice_chr(*in, ']');
		if (end < 0)
			return err_set(E_INVAL, "the address literal has no closing bracket");
		if ((rc = literal_parse(slice_sub(*in, 1, end - 1), a, out)) < 0)
			return rc;
		n = end + 1;
	} else {
		if ((n = domain_len(*in)) == 0)
			return err_set(E_INVAL, "expected a domain name or an address literal");
		if ((rc = domain_normalize(slice_sub(*in, 0, n), a, out)) < 0)
			return rc;
	}
	*in = slice_sub(*in, n, SIZE_MAX);
	return 0;
}

static int take_mailbox(struct slice *in, struct arena *a, struct smtp_path *out)
{
	size_t n = dot_string_len(*in);
	struct slice start = *in;
	int rc;

	if (n == 0)
		n = smtp_quoted_len(*in);
	if (n == 0)
		return err_set(E_INVAL, "expected a local part");
	out->local = slice_sub(*in, 0, n);
	*in = slice_sub(*in, n, SIZE_MAX);
	if (!smtp_take(in, '@'))
		return err_set(E_INVAL, "expected \"@\" behind the local part %.*s", SLICE_ARG(out->local));
	struct slice written = *in;
	if ((rc = smtp_take_domain(in, a, &out->domain)) < 0)
		return rc;
	out->kind = SMTP_PATH_MAILBOX;
	out->ascii = utf8_is_ascii(out->local);
	/* as written already: no copy */
	if (out->domain.ptr == written.ptr)
		out->text = slice_new(start.ptr, out->local.len + 1 + out->domain.len);
	else
		out->text = arena_slicef(a, "%.*s@%.*s", SLICE_ARG(out->local), SLICE_ARG(out->domain));
	return 0;
}

/* "@one.example,@two.example:", which RFC 5321 C wants accepted and ignored. */
static bool take_source_route(struct slice *in, struct arena *a)
{
	struct slice s = *in, ignored;
	do {
		if (!smtp_take(&s, '@') || s.len == 0 || s.ptr[0] == '[' || smtp_take_domain(&s, a, &ignored) < 0)
			return false;
	} while (smtp_take(&s, ','));
	if (!smtp_take(&s, ':'))
		return false;
	*in = s;
	return true;
}

static struct smtp_path fixed_path(enum smtp_path_kind kind, struct slice text)
{
	return (struct smtp_path){ .kind = kind, .text = text, .local = text, .domain = SLICE(""), .ascii = true };
}

static bool take_word(struct slice *in, struct slice word)
{
	if (!slice_starts_nocase(*in, word))
		return false;
	*in = slice_sub(*in, word.len, SIZE_MAX);
	return true;
}

int smtp_take_path(struct slice *in, unsigned forms, struct arena *a, struct smtp_path *out)
{
	int rc;
	if ((forms & SMTP_FORM_NULL) && take_word(in, SLICE("<>"))) {
		*out = fixed_path(SMTP_PATH_NULL, SLICE(""));
		return 0;
	}
	if ((forms & SMTP_FORM_POSTMASTER) && take_word(in, SLICE("<Postmaster>"))) {
		*out = fixed_path(SMTP_PATH_POSTMASTER, SLICE("Postmaster"));
		return 0;
	}
	if (!smtp_take(in, '<'))
		return take_mailbox(in, a, out);
	if (in->len > 0 && in->ptr[0] == '@')
		take_source_route(in, a);
	if ((rc = take_mailbox(in, a, out)) < 0)
		return rc;
	return smtp_take(in, '>') ? 0 : err_set(E_INVAL, "expected \">\" behind the address");
}

static int whole_path(struct slice s, unsigned forms, struct arena *a, struct smtp_path *out)
{
	struct slice in = s;
	struct smtp_path p = { 0 };
	int rc = smtp_take_path(&in, forms, a, &p);
	if (rc == 0 && in.len > 0)
		rc = err_set(E_INVAL, "unexpected text behind the address");
	if (rc < 0) {
		err_prefix("`%.*s` is not an address", (int)MIN(s.len, 320), s.ptr);
		return rc;
	}
	*out = p;
	return 0;
}

int smtp_reverse_path_parse(struct slice s, struct arena *a, struct smtp_path *out)
{
	return whole_path(s, SMTP_FORM_NULL, a, out);
}

int smtp_forward_path_parse(struct slice s, struct arena *a, struct smtp_path *out)
{
	return whole_path(s, SMTP_FORM_POSTMASTER, a, out);
}

int smtp_address_parse(struct slice s, struct arena *a, struct smtp_path *out)
{
	if (s.len == 0) {
		*out = fixed_path(SMTP_PATH_NULL, SLICE(""));
		return 0;
	}
	if (slice_eq_nocase(s, SLICE("postmaster"))) {
		*out = fixed_path(SMTP_PATH_POSTMASTER, SLICE("Postmaster"));
		return 0;
	}
	return whole_path(s, SMTP_FORM_NULL | SMTP_FORM_POSTMASTER, a, out);
}

struct slice smtp_path_user(const struct smtp_path *p, struct arena *a)
{
	size_t n = 0;
	if (p->kind == SMTP_PATH_POSTMASTER)
		return SLICE("postmaster");
	if (p->local.len == 0 || p->local.ptr[0] != '"')
		return p->local;
	char *out = arena_alloc(a, p->local.len + 1);
	for (size_t i = 1; i + 1 < p->local.len; i++) {
		if (p->local.ptr[i] == '\\' && i + 2 < p->local.len)
			i++;
		out[n++] = p->local.ptr[i];
	}
	return slice_new(out, n);
}

int smtp_domain_parse(struct slice s, struct arena *a, struct slice *out)
{
	if (s.len == 0 || domain_len(s) != s.len)
		return err_set(E_INVAL, "`%.*s` is not a domain name", (int)MIN(s.len, 320), s.ptr);
	return domain_normalize(s, a, out);
}
