/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MIME against the messages of mime4j, CPython, MikelLindsaar/mail, MimeKit and php-mime-mail-parser. All are read, looked through, mended and
 * written back unchanged to the byte. Where mime4j tells what a part decodes to (NAME_decoded_1_2.txt: the second part of the first) it must
 * be found there, a message in a message/rfc822 being its only part.
 */
#include "base/encode.h"
#include "codec/mime.h"
#include "suite.h"

#define LAST "the last boundary is missing or ends without a line end: it is written, as KumoMTA does"
#define EMPTY "the empty line behind a header is missing: it is written"
#define BLANKS "blanks behind a boundary are not kept"
#define BASE64 "what is no base64 is not decoded"
#define WORDS "KumoMTA refuses it in the same words"
static const struct suite_exception EXCEPTIONS[] = {
	{ "python-email/msg_47.txt", LAST }, { "python-email/msg_37.txt", EMPTY }, { "python-email/msg_35.txt", EMPTY }, { "python-email/msg_38.txt", LAST },
	{ "mime4j/mimetools-testmsgs/jt-0498.msg", LAST }, { "mime4j/mimetools-testmsgs/multi-frag.msg", LAST },
	{ "mime4j/mimetools-testmsgs/multi-weirdspace.msg", BLANKS }, { "mime4j/mimetools-testmsgs/multi-bad.msg", LAST },
	{ "mime4j/mimetools-testmsgs/2002_06_12_doublebound.msg", EMPTY }, { "mime4j/mimetools-testmsgs/double-bound.msg", EMPTY },
	{ "mime4j/testmsgs/malformedHeaderStartsBody-noheader.msg", EMPTY }, { "mime4j/testmsgs/malformedHeader-noheader.msg", EMPTY },
	{ "mime4j/testmsgs/intermediate-boundaries.msg", BLANKS }, { "mime4j/testmsgs/multipartemptypart.msg", EMPTY },
	{ "mikel-mail/attachment_emails/attachment_with_quoted_filename.eml", LAST }, { "mikel-mail/mime_emails/two_from_in_message.eml", LAST },
	{ "mikel-mail/mime_emails/raw_email_encoded_stack_level_too_deep.eml", LAST }, { "mikel-mail/mime_emails/raw_email4.eml", LAST },
	{ "mikel-mail/multi_charset/japanese_attachment.eml", LAST }, { "mikel-mail/multi_charset/japanese_attachment_long_name.eml", LAST },
	{ "mikel-mail/sample_output_multipart", EMPTY }, { "mimekit/messages/delivery-status-multiple-blank-lines.txt", LAST },
	{ "mimekit/messages/bounce.txt", LAST }, { "mimekit/messages/rfc2060.txt", LAST }, { "php-mime-mail-parser/failure.eml", LAST },
	{ "php-mime-mail-parser/m0027", EMPTY }, { "php-mime-mail-parser/m0124", EMPTY }, { "php-mime-mail-parser/issue250", EMPTY },
	{ "python-email/msg_19.txt", WORDS }, { "mime4j/testmsgs/obsolete.msg", WORDS }, { "mikel-mail/rfc2822/example13.eml", WORDS },
	{ "mimekit/messages/feedback-report.txt", WORDS }, { "php-mime-mail-parser/m0012", WORDS }, { "php-mime-mail-parser/m0011", WORDS },
	{ "mime4j/mimetools-testmsgs/frag_decoded_1_2_1_2_1_2_1_2.bin", BASE64 }, { "mime4j/mimetools-testmsgs/multi-frag_decoded_1_3_2.bin", BASE64 },
	{ "mime4j/testmsgs/missing-inner-boundary_decoded_1_2_1.txt", "a multipart without its boundary is read as a body" },
	{ "mime4j/testmsgs/multipartemptypart_decoded_1_2.txt", "there is one empty part between two boundaries, not two" },
	{ "mime4j/testmsgs/ending-boundaries_decoded_1_1.txt", "a line with more than the boundary and blanks is none" },
	{ "mime4j/testmsgs/malformedHeaderStartsBody-noheader_decoded_1.txt", "a line without a colon is a field without a value, as KumoMTA has it" },
	{ "mime4j/testmsgs/malformedHeaderStartsBody-nocrlfcrlf_decoded_1.txt", "the same" },
	{ NULL }
};

static struct arena *A;
static struct suite S = { .exceptions = EXCEPTIONS };

static struct slice name_of(const char *path)
{
	return slice_from_cstr(path + strlen(S.folder) + 1);
}

/* --- every message ------------------------------------------------------------------------------------------------------------------- */

/* How many parts; all that there is to a part is asked for. */
static int look(struct mime_part *p)
{
	struct mime_info info;
	struct slice body;
	bool text;
	int n = 1;
	mime_info(p, A, &info);
	if (mime_body(p, A, &body, &text) < 0)
		err_clear();
	for (uint32_t i = 0; i < p->n_headers; i++) {
		const struct mail_field *f = mail_field_find(p->headers[i].name);
		struct val v;
		if (mail_parse_kind(f != NULL ? f->kind : MAIL_UNSTRUCTURED, p->headers[i].value, A, &v) < 0)
			err_clear();
	}
	for (uint32_t i = 0; i < p->n_parts; i++)
		n += look(p->parts[i]);
	return n;
}

static void run_message(const char *path, struct slice text)
{
	struct mime_doc *d, *mended;
	struct mime_structure s;
	struct buf b = { 0 };
	if (mime_parse(text, &d) < 0) {
		suite_case(&S, name_of(path), false, "%s", err_text());
		return;
	}
	int n = look(d->root);
	mime_structure(d->root, A, &s);
	mime_put(&b, d->root);
	suite_case(&S, name_of(path), n > 0 && slice_eq(buf_view(&b), text), "%d parts, %zu bytes from %zu", n, b.len, text.len);
	(void)mime_check(d->root);
	if (mime_rebuild(d->root, NULL, &mended) == 0)
		mime_doc_unref(&mended);
	mime_doc_unref(&d);
	buf_fini(&b);
}

static void run_any(const char *path, void *arg)
{
	static const char *const NO_MESSAGE[] = { ".xml", ".json", ".out", ".bin", ".qp", "LICENSE", "LICENSE.txt", "NOTICE", "README.txt", "wikipedia.txt", ".mbox.txt", "summary.txt" };
	struct slice text, name = slice_from_cstr(path);
	if (strstr(path, "_decoded") != NULL)
		return;
	for (size_t i = 0; i < ARRAY_LEN(NO_MESSAGE); i++)
		if (slice_ends(name, slice_from_cstr(NO_MESSAGE[i])))
			return;
	if (suite_read(path, &text)) {
		run_message(path, text);
		suite_free(text);
		arena_reset(A);
	}
}

/* --- decoded parts --------------------------------------------------------------------------------------------------------------------- */

static struct slice decoded(const struct mime_part *p)
{
	struct mime_info info;
	struct buf b = { 0 };
	mime_info(p, A, &info);
	if (info.encoding == MIME_QUOTED_PRINTABLE)
		qp_decode(&b, p->body);
	else if (info.encoding != MIME_BASE64 || mime_base64_decode(&b, p->body) < 0)
		buf_slice(&b, p->body);
	struct slice s = arena_dup(A, buf_view(&b));
	buf_fini(&b);
	return s;
}

static struct slice type_of(const struct mime_part *p)
{
	struct mime_info info = { 0 };
	if (p != NULL)
		mime_info(p, A, &info);
	return info.has_type ? info.type.value : SLICE("");
}

/* RFC 2046 5.1.5: in a digest a part without a type is one too. */
static bool holds_message(const struct mime_part *p, const struct mime_part *parent)
{
	struct slice type = type_of(p);
	return slice_eq_nocase(type, SLICE("message/rfc822")) || (type.len == 0 && slice_eq_nocase(type_of(parent), SLICE("multipart/digest")));
}

/* The part that PATH ("_1_2.txt") leads to. Documents opened on the way are kept in DOCS. */
static const struct mime_part *part_at(const struct mime_part *p, const char *path, struct mime_doc **docs, size_t *n_docs)
{
	const struct mime_part *parent = NULL;
	while (*path == '_') {
		char *end;
		unsigned long i = strtoul(path + 1, &end, 10);
		path = end;
		if (i >= 1 && i <= p->n_parts) {
			parent = p;
			p = p->parts[i - 1];
		} else if (i == 1 && holds_message(p, parent) && *n_docs < 8 && mime_parse(decoded(p), &docs[*n_docs]) == 0) {
			p = docs[*n_docs]->root;
			++*n_docs;
		} else {
			return NULL;
		}
	}
	return p;
}

/* KumoMTA counts the line end in front of a boundary to the part before it. */
static bool same_content(struct slice got, struct slice want)
{
	struct slice behind = slice_starts(got, want) ? slice_sub(got, want.len, SIZE_MAX) : SLICE("?");
	return behind.len == 0 || slice_eq_cstr(behind, "\n") || slice_eq_cstr(behind, "\r\n");
}

static void run_decoded(const char *path, void *arg)
{
	const char *at = strstr(path, "_decoded_1");
	struct slice want, text;
	struct mime_doc *docs[8];
	size_t n_docs = 0;
	if (at == NULL)
		return;
	struct slice stem = slice_new(path, at - path);
	if (!suite_read(arena_printf(A, "%.*s.msg", SLICE_ARG(stem)), &text) || !suite_read(path, &want))
		return;
	if (mime_parse(text, &docs[0]) == 0) {
		n_docs = 1;
		const struct mime_part *p = part_at(docs[0]->root, at + strlen("_decoded_1"), docs, &n_docs);
		struct slice got = p != NULL ? decoded(p) : SLICE_NONE;
		suite_case(&S, name_of(path), p != NULL && same_content(got, want), p != NULL ? "%zu bytes, wanted %zu:\n%.*s" : "no such part", got.len, want.len, SLICE_ARG(slice_sub(got, 0, 200)));
	}
	while (n_docs > 0)
		mime_doc_unref(&docs[--n_docs]);
	suite_free(text);
	suite_free(want);
	arena_reset(A);
}

int main(int argc, char **argv)
{
	S.folder = suite_folder(argc, argv, "mime");
	if (S.folder == NULL)
		return SUITE_SKIP;
	A = arena_create();
	suite_walk(S.folder, run_any, NULL);
	suite_walk(S.folder, run_decoded, NULL);
	arena_destroy(&A);
	return suite_end(&S, 450);
}
