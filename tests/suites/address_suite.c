/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses against Dominic Sayers' collection: as sender and recipient of an envelope, where comments, folding and obsolete forms are
 * not allowed, and as mailbox in a header field, where they are.
 */
#include "base/utf8.h"
#include "codec/rfc5321.h"
#include "codec/rfc5322.h"
#include "suite.h"

/* What the collection calls wrong and we take, or the other way round, by its diagnosis. */
struct leniency {
	const char *diagnosis, *reason;
};
static const struct leniency ENVELOPE[] = {
	{ "ISEMAIL_RFC5322_LOCAL_TOOLONG", "a local part's length is left to the receiving side" },
	{ "ISEMAIL_ERR_DOMAINHYPHENEND", "so is a hyphen at the end of a label, as KumoMTA has always done" },
	{ "ISEMAIL_RFC5321_IPV6DEPRECATED", "one group as :: is legal, and not deprecated here" },
};

static const struct leniency HEADER[] = {
	{ "ISEMAIL_ERR_DOMAINHYPHENSTART", "domains in header fields are atoms, whatever DNS thinks of them" },
	{ "ISEMAIL_ERR_DOMAINHYPHENEND", "the same" },
};

#define TAG "reads as a literal with a tag (RFC 5321 4.1.3)"
#define EMPTY "an empty line ends a header before an address in it is read"
#define TOTAL "the length of the whole is left to the receiving side"
static const struct suite_exception EXCEPTIONS[] = {
	{ "sender tests.xml 39", TOTAL }, { "recipient tests.xml 39", TOTAL }, { "sender tests-original.xml 21", TOTAL }, { "recipient tests-original.xml 21", TOTAL },
	{ "sender tests.xml 66", TAG }, { "recipient tests.xml 66", TAG }, { "sender tests-original.xml 38", TAG }, { "recipient tests-original.xml 38", TAG },
	{ "header tests.xml 147", EMPTY }, { "header tests.xml 156", EMPTY }, { "header tests-original.xml 225", EMPTY },
	{ "header tests.xml 160", "a character beyond ASCII may be quoted too (RFC 6532)" },
	{ "header tests-original.xml 159", "a quoted CR is an obsolete pair, and a bare LF folds" },
	{ NULL }
};

static struct arena *A;
static struct suite S = { .exceptions = EXCEPTIONS };

/* --- the file ------------------------------------------------------------------------------------------------------------------------ */

static struct slice element(struct slice xml, const char *name)
{
	char open[32], close[32];
	snprintf(open, sizeof open, "<%s>", name);
	snprintf(close, sizeof close, "</%s>", name);
	ptrdiff_t from = slice_find(xml, slice_from_cstr(open));
	if (from < 0)
		return SLICE("");
	xml = slice_sub(xml, from + strlen(open), SIZE_MAX);
	return slice_sub(xml, 0, slice_find(xml, slice_from_cstr(close)));
}

/* One character of XML text; U+2400 and those behind it stand for control characters. */
static size_t read_char(struct slice s, uint32_t *cp)
{
	static const struct { const char *name; char c; } ENTITIES[] = { { "&amp;", '&' }, { "&lt;", '<' }, { "&gt;", '>' }, { "&quot;", '"' }, { "&apos;", '\'' } };
	for (size_t i = 0; i < ARRAY_LEN(ENTITIES); i++)
		if (slice_starts(s, slice_from_cstr(ENTITIES[i].name))) {
			*cp = ENTITIES[i].c;
			return strlen(ENTITIES[i].name);
		}
	if (slice_starts(s, SLICE("&#x"))) {
		char *end;
		*cp = strtoul(s.ptr + 3, &end, 16);
		return end + 1 - s.ptr;
	}
	return utf8_decode(s, cp);
}

static struct slice unescape(struct slice s)
{
	struct buf b = { 0 };
	while (s.len > 0) {
		uint32_t cp;
		s = slice_sub(s, read_char(s, &cp), SIZE_MAX);
		utf8_put(&b, cp >= 0x2400 && cp < 0x2480 ? cp - 0x2400 : cp);
	}
	struct slice r = arena_dup(A, buf_view(&b));
	buf_fini(&b);
	return r;
}

/* --- judging ------------------------------------------------------------------------------------------------------------------------- */

static bool is_one_of(struct slice s, const char *const *list)
{
	for (; *list != NULL; list++)
		if (slice_eq_cstr(s, *list))
			return true;
	return false;
}

static bool lenient(const struct leniency *list, size_t n, struct slice diagnosis)
{
	for (size_t i = 0; i < n; i++)
		if (slice_eq_cstr(diagnosis, list[i].diagnosis))
			return true;
	return false;
}

static bool is_envelope_address(struct slice s, int (*parse)(struct slice s, struct arena *a, struct smtp_path *out))
{
	struct smtp_path p;
	return s.len > 0 && s.ptr[0] != '<' && parse(s, A, &p) == 0 && p.kind == SMTP_PATH_MAILBOX;
}

static bool is_header_address(struct slice s)
{
	struct val v;
	return s.len > 0 && s.ptr[0] != '<' && mail_parse_mailbox(s, A, &v) == 0;
}

static void judge(const char *where, struct slice id, struct slice diagnosis, struct slice address, bool want, bool got)
{
	struct slice name = arena_slicef(A, "%s %.*s", where, SLICE_ARG(id));
	suite_case(&S, name, want == got, "%s: %.*s %.*s", got ? "accepted" : "refused", SLICE_ARG(diagnosis), SLICE_ARG(address));
}

static void run_test(struct slice xml, const char *file)
{
	static const char *const SMTP[] = { "ISEMAIL_VALID_CATEGORY", "ISEMAIL_DNSWARN", "ISEMAIL_RFC5321", NULL }, *const OBSOLETE[] = { "ISEMAIL_CFWS", "ISEMAIL_DEPREC", "ISEMAIL_RFC5322", NULL };
	struct slice id = slice_sub(xml, 0, slice_chr(xml, '"')), diagnosis = element(xml, "diagnosis"), category = element(xml, "category");
	struct slice address = unescape(element(xml, "address"));
	bool smtp = is_one_of(category, SMTP), envelope = smtp || lenient(ENVELOPE, ARRAY_LEN(ENVELOPE), diagnosis);
	id = arena_slicef(A, "%s %.*s", file, SLICE_ARG(id));
	judge("sender", id, diagnosis, address, envelope, is_envelope_address(address, smtp_reverse_path_parse));
	judge("recipient", id, diagnosis, address, envelope, is_envelope_address(address, smtp_forward_path_parse));
	judge("header", id, diagnosis, address, smtp || is_one_of(category, OBSOLETE) || lenient(HEADER, ARRAY_LEN(HEADER), diagnosis), is_header_address(address));
}

static void run_file(const char *file)
{
	struct slice all = suite_need(S.folder, file), xml = all;
	for (ptrdiff_t at; (at = slice_find(xml, SLICE("<test id=\""))) >= 0;) {
		xml = slice_sub(xml, at + 10, SIZE_MAX);
		run_test(slice_sub(xml, 0, slice_find(xml, SLICE("</test>"))), file);
	}
	suite_free(all);
}

int main(int argc, char **argv)
{
	S.folder = suite_folder(argc, argv, "address-isemail");
	if (S.folder == NULL)
		return SUITE_SKIP;
	A = arena_create();
	run_file("tests.xml");
	run_file("tests-original.xml");
	arena_destroy(&A);
	return suite_end(&S, 1200);
}
