/* SPDX-License-Identifier: Apache-2.0 */
/* Domain names as text: to lower-case A-labels with the final dot, and the names of reverse lookups. */
#include "net/dns.h"
#include "base/utf8.h"
#include <idn2.h>
#include <stdlib.h>

#define NAME_MAX_OCTETS 254	/* with the final dot */

static int check_labels(struct slice name)
{
	size_t label = 0;

	if (name.len > NAME_MAX_OCTETS)
		return err_set(E_INVAL, "domain name is longer than 253 octets");
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = name.ptr[i];
		if (c == '.') {
			if (label == 0)
				return err_set(E_INVAL, "domain name `%.*s` has an empty label", SLICE_ARG(name));
			label = 0;
			continue;
		}
		if (c <= ' ' || c == 127 || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';')
			return err_set(E_INVAL, "unrecognized char: %c", c);
		if (++label > 63)
			return err_set(E_INVAL, "label of domain name `%.*s` is longer than 63 octets", SLICE_ARG(name));
	}
	return 0;
}

static int put_idn(struct buf *b, struct slice name)
{
	char *in = NULL, *out = NULL;

	if (!utf8_valid(name) || name.len > 1024)
		return err_set(E_INVAL, "domain name is not valid UTF-8");
	if (slice_chr(name, '\0') >= 0)
		return err_set(E_INVAL, "unrecognized char: NUL");
	struct buf text = { 0 };
	buf_slice(&text, name);
	in = buf_take(&text, NULL);
	int rc = idn2_to_ascii_8z(in, &out, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	free(in);
	if (rc != IDN2_OK)
		return err_set(E_INVAL, "domain name `%.*s`: %s", SLICE_ARG(name), idn2_strerror(rc));
	buf_cstr_put(b, out);
	idn2_free(out);
	return 0;
}

int dns_name_put(struct buf *b, struct slice name)
{
	size_t start = b->len;
	int rc = 0;

	if (name.len && name.ptr[name.len - 1] == '.')
		name.len--;
	if (utf8_is_ascii(name))
		buf_slice(b, name);
	else
		rc = put_idn(b, name);
	for (size_t i = start; rc == 0 && i < b->len; i++)
		b->ptr[i] = ascii_lower(b->ptr[i]);
	if (rc == 0) {
		buf_putc(b, '.');
		if (b->len - start > 1)
			rc = check_labels(slice_new(b->ptr + start, b->len - start));
	}
	if (rc < 0)
		buf_truncate(b, start);
	return rc;
}

void dns_reverse_put(struct buf *b, const struct ipaddr *a)
{
	static const char HEX[] = "0123456789abcdef";

	if (a->family == 4) {
		buf_printf(b, "%u.%u.%u.%u", a->bytes[3], a->bytes[2], a->bytes[1], a->bytes[0]);
		return;
	}
	for (int i = 15; i >= 0; i--) {
		buf_putc(b, HEX[a->bytes[i] & 15]);
		buf_putc(b, '.');
		buf_putc(b, HEX[a->bytes[i] >> 4]);
		if (i)
			buf_putc(b, '.');
	}
}

void dns_ptr_name_put(struct buf *b, const struct ipaddr *a)
{
	dns_reverse_put(b, a);
	buf_cstr_put(b, a->family == 4 ? ".in-addr.arpa" : ".ip6.arpa");
}

bool dns_split_port(struct slice s, struct slice *label, uint16_t *port)
{
	ptrdiff_t at = slice_rchr(s, ':');
	uint64_t n;

	if (at < 0 || slice_chr(slice_sub(s, 0, at), ':') >= 0 || slice_to_u64(slice_sub(s, at + 1, SIZE_MAX), &n) < 0 || n > 65535)
		return false;
	*label = slice_sub(s, 0, at);
	*port = n;
	return true;
}

int ip_strategy_parse(struct slice s, enum ip_strategy *out)
{
	static const char *const NAMES[] = {
		[IP_V4_ONLY] = "Ipv4Only", [IP_V6_ONLY] = "Ipv6Only", [IP_V4_AND_V6] = "Ipv4AndIpv6",
		[IP_V6_THEN_V4] = "Ipv6ThenIpv4", [IP_V4_THEN_V6] = "Ipv4ThenIpv6",
	};
	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		if (slice_eq_cstr(s, NAMES[i])) {
			*out = i;
			return 0;
		}
	}
	return err_set(E_INVAL, "unknown variant `%.*s`, expected one of `Ipv4Only`, `Ipv6Only`, `Ipv4AndIpv6`, `Ipv6ThenIpv4`, `Ipv4ThenIpv6`", SLICE_ARG(s));
}
