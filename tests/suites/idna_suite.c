/* SPDX-License-Identifier: Apache-2.0 */
/*
 * International domain names against Unicode's IdnaTestV2 and the Punycode vectors of rust-url: what resolvers look up (net/dns) and what
 * envelopes hold (codec/rfc5321). Columns for nontransitional processing. The conversion is libidn2's; names in ASCII are taken as they are.
 */
#include "base/utf8.h"
#include "codec/rfc5321.h"
#include "net/dns.h"
#include "suite.h"

/* What may differ, as it depends on the library's version and not on us; counted, and no more than a few in a hundred. */
enum tolerance { STRICT, BIDI, SHARP_S, N_TOLERANCES };
static const char *const REASONS[] = {
	[STRICT] = "refused: IDNA 2008 has no symbols, and the library's Unicode is older",
	[BIDI] = "not refused: the bidi rule is applied to labels of the other direction only",
	[SHARP_S] = "capital sharp s: ss until Unicode 15.0, U+00DF from 15.1",
};

static struct arena *A;
static struct suite S;
static int tolerated[N_TOLERANCES];

/* --- both ways to an A-label form; SLICE_NONE: refused -------------------------------------------------------------------------------- */

static struct slice by_dns(struct slice name)
{
	struct buf b = { 0 };
	struct slice r = SLICE_NONE;
	if (dns_name_put(&b, name) == 0)
		r = arena_dup(A, slice_sub(buf_view(&b), 0, b.len - 1));
	buf_fini(&b);
	return r;
}

static struct slice by_smtp(struct slice name)
{
	struct slice r;
	return smtp_domain_parse(name, A, &r) == 0 ? r : SLICE_NONE;
}

/* --- IdnaTestV2 ------------------------------------------------------------------------------------------------------------------------ */

/* "" is the empty string; \uXXXX and \x{XXXX} are code points. */
static struct slice unescape(struct slice s)
{
	struct buf b = { 0 };
	if (slice_eq_cstr(s, "\"\""))
		return SLICE("");
	for (size_t i = 0; i < s.len; i++) {
		char *end;
		if (s.ptr[i] == '\\' && i + 2 < s.len && (s.ptr[i + 1] == 'u' || s.ptr[i + 1] == 'x')) {
			bool braces = s.ptr[i + 1] == 'x';
			char digits[8] = "";
			memcpy(digits, s.ptr + i + 2 + braces, MIN((size_t)(braces ? 7 : 4), s.len - i - 2 - braces));
			utf8_put(&b, (uint32_t)strtoul(digits, &end, 16));
			i += 1 + (end - digits) + (braces ? 2 : 0);
		} else {
			buf_putc(&b, s.ptr[i]);
		}
	}
	struct slice r = arena_dup(A, buf_view(&b));
	buf_fini(&b);
	return r;
}

/* Which tolerance a difference falls under; N_TOLERANCES: none. */
static enum tolerance tolerance_of(struct slice source, struct slice got, struct slice status)
{
	if (got.ptr == NULL)
		return STRICT;
	if (slice_starts(status, SLICE("[B")))
		return BIDI;
	return slice_find(source, SLICE("\xe1\xba\x9e")) >= 0 ? SHARP_S : N_TOLERANCES;
}

static void judge(struct slice name, struct slice source, struct slice got, struct slice want, struct slice status)
{
	bool fits = status.len > 2 ? got.ptr == NULL : got.ptr != NULL && slice_eq(got, want);
	enum tolerance t = fits ? N_TOLERANCES : tolerance_of(source, got, status);
	if (t < N_TOLERANCES)
		tolerated[t]++;
	suite_case(&S, name, fits || t < N_TOLERANCES, "%.*s, wanted %.*s %.*s", got.ptr ? (int)got.len : 7, got.ptr ? got.ptr : "refused", SLICE_ARG(want), SLICE_ARG(status));
}

static void run_line(struct slice line, unsigned number)
{
	struct slice col[5] = { { "" } }, rest = slice_sub(line, 0, slice_chr(line, '#') >= 0 ? (size_t)slice_chr(line, '#') : line.len);
	for (size_t i = 0; i < ARRAY_LEN(col); i++) {
		if (!slice_split_next(&rest, ';', &col[i]))
			return;
		col[i] = slice_trim(col[i]);
	}
	struct slice source = unescape(col[0]), unicode = col[1].len > 0 ? unescape(col[1]) : source, want = col[3].len > 0 ? unescape(col[3]) : unicode;
	struct slice status = col[4].len > 0 ? col[4] : col[2];
	if (!utf8_valid(source) || (utf8_is_ascii(source) && status.len > 2))
		return;
	judge(arena_slicef(A, "smtp, line %u", number), source, by_smtp(source), want, status);
	if (slice_ends(want, SLICE(".")) && slice_eq_cstr(status, "[A4_2]")) {	/* the root's dot, which resolvers take */
		status = SLICE("");
		want.len--;
	}
	judge(arena_slicef(A, "dns, line %u", number), source, by_dns(source), want, status);
}

static void run_file(const char *file)
{
	struct slice text = suite_need(S.folder, file), rest = text, line;
	for (unsigned n = 1; slice_split_next(&rest, '\n', &line); n++)
		if (line.len > 0 && line.ptr[0] != '#')
			run_line(line, n);
	suite_free(text);
}

/* A label goes through all of the conversion: those that it maps to another one first tell nothing about Punycode. */
static void run_punycode(void)
{
	struct val good = suite_json(S.folder, "punycode_tests.json", A), bad = suite_json(S.folder, "bad_punycode_tests.json", A);
	for (uint32_t i = 0; i < good.n; i++) {
		struct slice decoded = val_get_str(&good.items[i], SLICE("decoded")), encoded = val_get_str(&good.items[i], SLICE("encoded")), got = by_dns(decoded);
		if (!utf8_is_ascii(decoded) && got.ptr != NULL)
			suite_case(&S, encoded, slice_eq_nocase(got, arena_slicef(A, "xn--%.*s", SLICE_ARG(encoded))), "%.*s", SLICE_ARG(got));
	}
	for (uint32_t i = 0; i < bad.n; i++)
		suite_case(&S, val_get_str(&bad.items[i], SLICE("description")), by_dns(val_get_str(&bad.items[i], SLICE("decoded"))).ptr == NULL, "is taken");
}

int main(int argc, char **argv)
{
	S.folder = suite_folder(argc, argv, "idna");
	if (S.folder == NULL)
		return SUITE_SKIP;
	A = arena_create();
	run_file("IdnaTestV2.txt");
	run_punycode();
	arena_destroy(&A);
	int all = 0;
	for (size_t i = 0; i < N_TOLERANCES; i++) {
		printf("%d %s\n", tolerated[i], REASONS[i]);
		all += tolerated[i];
	}
	return suite_end(&S, 8000) || all > S.cases / 20;
}
