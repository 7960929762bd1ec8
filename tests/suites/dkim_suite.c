/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DKIM against the collections of Mail::DKIM, MimeKit, mailauth and dkimpy: signatures of others, and keys of others that we sign with.
 * Of Mail::DKIM the rows about RFC 6376 are judged by pass or not; those about what was before it must only not crash.
 */
#include "base/encode.h"
#include "mailauth/dkim_sign.h"
#include "mailauth/dkim_verify.h"
#include "mailauth/test_zone.h"
#include "suite.h"

static const struct suite_exception EXCEPTIONS[] = {
	{ "badkey_8.txt", "is about the key tag g=, which RFC 6376 took out" },
	{ "dkimpy/test_nofrom.message", "KumoMTA asks for From among the names to sign, not in the message: h= says that there is none" },
	{ NULL }
};

static struct arena *A;
static struct suite S = { .exceptions = EXCEPTIONS };

static struct slice read_file(const char *name)
{
	struct slice s = suite_need(S.folder, name), copy = arena_dup(A, s);
	suite_free(s);
	return copy;
}

static struct slice read_message(const char *name)
{
	return suite_crlf(read_file(name), A);
}

/* "pass; permerror: reason": what each signature came to. */
static const char *verify(struct slice msg, const struct val *zone, bool weak, int64_t now_s)
{
	struct dkim_verify_opts o = { .dns = test_zone_dns(zone), .now_s = now_s, .allow_weak = weak };
	struct val v;
	struct buf b = { 0 };
	if (dkim_verify(msg, &o, A, &v) < 0)
		return err_text();
	for (uint32_t i = 0; i < v.n; i++) {
		struct slice reason = val_get_str(&v.items[i], SLICE("reason"));
		buf_printf(&b, "%s%.*s", i > 0 ? "; " : "", SLICE_ARG(val_get_str(&v.items[i], SLICE("result"))));
		if (reason.ptr != NULL)
			buf_printf(&b, ": %.*s", SLICE_ARG(reason));
	}
	const char *s = arena_strdup(A, buf_view(&b));
	buf_fini(&b);
	return s;
}

static void expect(const char *name, const char *got, const char *want)
{
	suite_case(&S, slice_from_cstr(name), strcmp(got, want) == 0, "wanted %s, got %s", want, got);
}

/* --- Mail::DKIM ------------------------------------------------------------------------------------------------------------------- */

/* Lines of "name value"; NXDOMAIN stands for a name that is none, ~~text~~ for a lookup that fails. */
static struct val read_zone(struct slice text)
{
	struct val zone = val_obj();
	struct slice line;
	while (slice_split_next(&text, '\n', &line)) {
		ptrdiff_t blank = slice_chr(line, ' ');
		struct slice value = blank < 0 ? SLICE("NXDOMAIN") : slice_trim(slice_sub(line, blank + 1, SIZE_MAX));
		if (!slice_eq_cstr(value, "NXDOMAIN"))
			test_zone_put_txt(&zone, slice_sub(line, 0, blank), slice_starts(value, SLICE("~~")) ? SLICE_NONE : value, A);
	}
	return zone;
}

static void run_row(struct slice row, const struct val *zone)
{
	struct slice col[4] = { { "" } };	/* file, kind, expected, scope */
	for (size_t i = 0; i < ARRAY_LEN(col) && slice_split_next(&row, '\t', &col[i]); i++)
		;
	struct slice m = read_message(arena_printf(A, "mail-dkim/corpus/%.*s", SLICE_ARG(col[0])));
	const char *got = verify(m, zone, !slice_eq_cstr(col[1], "strict"), 1200000000);
	if (!slice_starts(col[3], SLICE("legacy:")))
		suite_case(&S, col[0], (strstr(got, "pass") != NULL) == slice_eq_cstr(col[2], "pass"), "wanted %.*s, got %s", SLICE_ARG(col[2]), got);
}

static void run_mail_dkim(void)
{
	struct val zone = read_zone(read_file("mail-dkim/FAKE_DNS.dat"));
	struct slice rows = read_file("mail-dkim/expected.tsv"), row;
	while (slice_split_next(&rows, '\n', &row))
		if (row.len > 0 && row.ptr[0] != '#')
			run_row(row, &zone);
}

/* --- signatures of others ------------------------------------------------------------------------------------------------------------ */

/* The zone of the example in RFC 8463, as mailauth has it: {"name": {"TXT": [["…", "…"]]}}. */
static struct val rfc8463_zone(void)
{
	struct val from = suite_json(S.folder, "mailauth/dns.json", A), zone = val_obj();
	for (uint32_t i = 0; i < from.n; i++) {
		const struct val *strings = &val_get_lit(&from.members[i].val, "TXT")->items[0];
		struct buf b = { 0 };
		for (uint32_t k = 0; k < strings->n; k++)
			buf_slice(&b, strings->items[k].s);
		test_zone_put_txt(&zone, from.members[i].key, buf_view(&b), A);
		buf_fini(&b);
	}
	return zone;
}

/* A PEM public key as a key record. */
static struct slice pem_record(struct slice pem)
{
	struct slice line;
	struct buf b = { 0 };
	buf_lit(&b, "v=DKIM1; k=rsa; p=");
	while (slice_split_next(&pem, '\n', &line))
		if (!slice_starts(line, SLICE("-")))
			buf_slice(&b, slice_trim(line));
	struct slice s = arena_dup(A, buf_view(&b));
	buf_fini(&b);
	return s;
}

static struct val zone_of(const char *name, struct slice record)
{
	struct val zone = val_obj();
	test_zone_put_txt(&zone, slice_from_cstr(name), slice_trim(record), A);
	return zone;
}

static void run_signed(void)
{
	struct val rfc = rfc8463_zone();
	static const char *const TWICE[] = { "mimekit/rfc8463-example.msg", "mailauth/signed.eml", "dkimpy/rfc6376.signed.msg" };
	for (size_t i = 0; i < ARRAY_LEN(TWICE); i++)
		expect(TWICE[i], verify(read_message(TWICE[i]), &rfc, false, 1600000000), "pass; pass");
	struct val gmail = zone_of("20120113._domainkey.gmail.com", pem_record(read_file("mimekit/gmail.pub")));
	expect("mimekit/gmail.msg", verify(read_message("mimekit/gmail.msg"), &gmail, false, 1600000000), "pass");
	struct val exim = zone_of("sed._domainkey.test.ex", read_file("dkimpy/eximtest.dns"));
	expect("dkimpy/ed25519test2.msg", verify(read_message("dkimpy/ed25519test2.msg"), &exim, false, 1600000000), "pass");
}

/* --- keys of others --------------------------------------------------------------------------------------------------------------------- */

struct signing {
	const char *domain, *selector;
	struct tls_key *key;
};

static struct signing load_key(const char *domain, const char *selector, struct slice pem)
{
	struct signing s = { domain, selector, NULL };
	if (tls_key_load_private(pem, &s.key) < 0) {
		printf("the key of %s: %s\n", selector, err_text());
		exit(1);
	}
	return s;
}

/* MSG with a signature in front; empty: it could not be signed. CANON: bit 0 of the header, bit 1 of the body. */
static struct slice sign(const struct signing *by, struct slice msg, unsigned canon)
{
	static const struct slice NAMES[] = { SLICE_INIT("From"), SLICE_INIT("To"), SLICE_INIT("Subject"), SLICE_INIT("Date"), SLICE_INIT("Message-ID") };
	struct dkim_signer_opts o = { slice_from_cstr(by->domain), slice_from_cstr(by->selector), NAMES, ARRAY_LEN(NAMES), canon & 1, canon >> 1, true, 0 };
	struct dkim_signer *s;
	struct buf value = { 0 }, out = { 0 };
	if (dkim_signer_create(&o, by->key, &s) < 0)
		return SLICE("");
	if (dkim_sign(s, msg, 1500000000, NULL, &value) == 0)
		mail_prepend_header(&out, msg, SLICE("DKIM-Signature"), buf_view(&value));
	struct slice r = arena_dup(A, buf_view(&out));
	buf_fini(&value);
	buf_fini(&out);
	dkim_signer_unref(&s);
	return r;
}

static void sign_and_verify(struct signing by, const struct val *zone, const char *const *messages)
{
	for (; *messages != NULL; messages++)
		for (unsigned canon = 0; canon < 4; canon++) {
			const char *got = verify(sign(&by, read_message(*messages), canon), zone, false, 1600000000);
			size_t n = strlen(got);
			suite_case(&S, slice_from_cstr(*messages), strncmp(got, "pass", 4) == 0 && (n == 4 || got[4] == ';'), "signed by %s, canonicalization %u: %s",
				   by.selector, canon, got);
		}
	tls_key_unref(&by.key);
}

static void run_signing(void)
{
	static const char *const DKIMPY[] = { "dkimpy/test.message", "dkimpy/test2.message", "dkimpy/test_extra.message", NULL },
		*const MIMEKIT[] = { "mimekit/related.msg", "mimekit/multipart-no-end-boundary.msg", NULL }, *const EXAMPLE[] = { "dkimpy/rfc6376.msg", NULL };
	struct val zone = zone_of("test._domainkey.example.com", read_file("dkimpy/test.txt")), rfc = rfc8463_zone();
	struct val mimekit = zone_of("example._domainkey.example.com", pem_record(read_file("mimekit/example.pub")));
	sign_and_verify(load_key("example.com", "test", read_file("dkimpy/test.private")), &zone, DKIMPY);
	sign_and_verify(load_key("example.com", "example", read_file("mimekit/example.pem")), &mimekit, MIMEKIT);
	sign_and_verify(load_key("football.example.com", "test", read_file("mailauth/private-rsa.key")), &rfc, EXAMPLE);
	/* mailauth has its Ed25519 key as the bare 32 bytes in base64: this in front makes it PKCS #8 */
	struct slice seed = slice_trim(read_file("mailauth/private-ec.key"));
	struct buf der = { 0 }, pem = { 0 };
	buf_put(&der, "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20", 16);
	if (base64_decode(&der, seed, 0) < 0 || der.len != 48)
		suite_case(&S, SLICE("mailauth/private-ec.key"), false, "%zu bytes", der.len);
	buf_lit(&pem, "-----BEGIN PRIVATE KEY-----\n");
	base64_put(&pem, buf_view(&der), 0);
	buf_lit(&pem, "\n-----END PRIVATE KEY-----\n");
	sign_and_verify(load_key("football.example.com", "brisbane", buf_view(&pem)), &rfc, EXAMPLE);
	buf_fini(&der);
	buf_fini(&pem);
}

static void run_bad_records(void)
{
	static const char *const ROWS[][2] = {
		{ "dkimpy/badversion.txt", "permerror: key incompatible version" },
		{ "dkimpy/badk.txt", "permerror: inappropriate key algorithm" },
		{ "dkimpy/test_bad.txt", "permerror: key unavailable: failed to parse public key" },
		{ "dkimpy/test_tlsrpt.txt", "permerror: no key for signature" },
	};
	struct signing by = load_key("example.com", "test", read_file("dkimpy/test.private"));
	struct slice msg = sign(&by, read_message("dkimpy/test.message"), 0);
	for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
		struct val zone = zone_of("test._domainkey.example.com", read_file(ROWS[i][0]));
		expect(ROWS[i][0], verify(msg, &zone, false, 1600000000), ROWS[i][1]);
	}
	msg = sign(&by, read_message("dkimpy/test_nofrom.message"), 0);
	suite_case(&S, SLICE("dkimpy/test_nofrom.message"), msg.len == 0, "signed without a From: %.*s", SLICE_ARG(msg));
	tls_key_unref(&by.key);
}

int main(int argc, char **argv)
{
	S.folder = suite_folder(argc, argv, "dkim");
	if (S.folder == NULL)
		return SUITE_SKIP;
	A = arena_create();
	run_mail_dkim();
	run_signed();
	run_signing();
	run_bad_records();
	arena_destroy(&A);
	return suite_end(&S, 75);
}
