/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery status notifications and feedback reports against the mails of sisimai and KumoMTA. Where a mail has a machine-readable part it
 * must be read: its recipients counted, their status and reply codes as sisimai has them (but not its filler x.0.9nn, which is in no
 * mail), the type of feedback. All others must only be told from reports.
 */
#include "codec/mime.h"
#include "codec/report.h"
#include "suite.h"

#define STATUS "the Status field counts; sisimai takes what the diagnostic text says"
#define MIXED "is multipart/mixed, which may hold a report that somebody passes on"
#define NO_MTA "has no Reporting-MTA, which RFC 3464 2.2.2 demands and policies rely on"
static const struct suite_exception EXCEPTIONS[] = {
	{ "lhost-amazonses-01.eml", STATUS }, { "lhost-amazonses-03.eml", STATUS }, { "lhost-amazonses-17.eml", STATUS }, { "lhost-courier-01.eml", STATUS },
	{ "lhost-courier-03.eml", STATUS }, { "lhost-sendmail-39.eml", STATUS }, { "lhost-sendmail-56.eml", STATUS }, { "rhost-franceptt-10.eml", STATUS },
	{ "lhost-mcafee-01.eml", MIXED }, { "lhost-mcafee-02.eml", MIXED }, { "lhost-mcafee-03.eml", MIXED }, { "lhost-mcafee-04.eml", MIXED },
	{ "lhost-opensmtpd-06.eml", MIXED }, { "lhost-opensmtpd-11.eml", MIXED }, { "lhost-opensmtpd-12.eml", MIXED }, { "lhost-opensmtpd-13.eml", MIXED },
	{ "lhost-opensmtpd-15.eml", MIXED }, { "lhost-opensmtpd-16.eml", MIXED }, { "rfc3464-09.eml", MIXED },
	{ "lhost-sendgrid-01.eml", NO_MTA }, { "lhost-sendgrid-02.eml", NO_MTA }, { "lhost-sendgrid-03.eml", NO_MTA },
	{ "lhost-surfcontrol-01.eml", NO_MTA }, { "lhost-surfcontrol-02.eml", NO_MTA }, { "lhost-surfcontrol-03.eml", NO_MTA },
	{ "lhost-sendmail-13.eml", "has ction instead of Action" },
	{ "lhost-x3-05.eml", "names its recipient in the text only" },
	{ "rfc3464-28.eml", "deliverable is no action" },
	{ "rhost-google-01.eml", "another boundary ends the part than begins it" },
	{ NULL }
};

static struct arena *A;
static struct suite S = { .exceptions = EXCEPTIONS };

struct row {
	struct slice file, index, status, reply, reason, hard, feedback;
};

static bool read_row(struct slice *rest, struct row *r)
{
	struct slice line, *const COLUMNS[] = { &r->file, &r->index, &r->status, &r->reply, &r->reason, &r->hard, &r->feedback };
	do {
		if (!slice_split_next(rest, '\n', &line))
			return false;
	} while (line.len == 0 || line.ptr[0] == '#');
	for (size_t i = 0; i < ARRAY_LEN(COLUMNS); i++) {
		*COLUMNS[i] = SLICE("");
		(void)!slice_split_next(&line, '\t', COLUMNS[i]);
	}
	return true;
}

/* --- sisimai ------------------------------------------------------------------------------------------------------------------------- */

static bool has_part(struct slice message, const char *type)
{
	struct mime_doc *d;
	bool found = false;
	if (mime_parse(message, &d) < 0)
		return false;
	for (uint32_t i = 0; i < d->root->n_parts; i++) {
		struct mime_info info;
		mime_info(d->root->parts[i], A, &info);
		found |= info.has_type && slice_eq_nocase(info.type.value, slice_from_cstr(type));
	}
	mime_doc_unref(&d);
	return found;
}

/* "x.0.9nn", or nothing, says that the mail has none. */
static bool status_fits(struct slice want, const struct val *recipient)
{
	const struct val *s = val_get_lit(recipient, "status");
	if (want.len < 5 || slice_starts(slice_sub(want, 1, SIZE_MAX), SLICE(".0.9")))
		return true;
	return slice_eq(want, arena_slicef(A, "%d.%d.%d", (int)val_get_lit(s, "class")->i, (int)val_get_lit(s, "subject")->i, (int)val_get_lit(s, "detail")->i));
}

static void judge_status(struct slice file, struct slice message, const struct row *rows, uint32_t n)
{
	struct val v;
	struct report_failure *failures;
	struct buf why = { 0 };
	if (report_parse_dsn(message, A, &v) < 0) {
		suite_case(&S, file, false, "%s", err_text());
		return;
	}
	const struct val *list = val_get_lit(&v, "per_recipient");
	uint32_t failed = report_dsn_failures(&v, A, &failures);
	if (list->n != n)
		buf_printf(&why, "%u recipients, not %u; ", list->n, n);
	for (uint32_t i = 0; i < n && i < list->n; i++)
		if (!status_fits(rows[i].status, &list->items[i]))
			buf_printf(&why, "not %.*s; ", SLICE_ARG(rows[i].status));
	for (uint32_t i = 0; i < n && i < failed && failed == list->n; i++) {
		uint64_t reply;
		if (slice_to_u64(rows[i].reply, &reply) == 0 && reply != failures[i].response.code)
			buf_printf(&why, "%u, not %.*s; ", failures[i].response.code, SLICE_ARG(rows[i].reply));
	}
	suite_case(&S, file, why.len == 0, "%.*s", SLICE_ARG(buf_view(&why)));
	buf_fini(&why);
}

static void judge_feedback(struct slice file, struct slice message, struct slice want)
{
	struct val v;
	int rc = report_parse_arf(message, A, &v);
	struct slice got = rc == 0 ? val_get_str(&v, SLICE("feedback_type")) : slice_from_cstr(err_text());
	suite_case(&S, file, rc == 0 && slice_eq_nocase(got, want), "%.*s, not %.*s", SLICE_ARG(got), SLICE_ARG(want));
}

static void judge_none(struct slice file, struct slice message)
{
	struct val v;
	bool ok = report_parse_dsn(message, A, &v) < 0 && report_parse_arf(message, A, &v) < 0;
	err_clear();
	suite_case(&S, file, ok, "is read as a report");
}

static void run_mail(const struct row *rows, uint32_t n)
{
	struct slice text = suite_need(S.folder, arena_printf(A, "sisimai/%.*s", SLICE_ARG(rows[0].file))), message = suite_crlf(text, A);
	suite_free(text);
	if (rows[0].feedback.len > 0 && has_part(message, "message/feedback-report"))
		judge_feedback(rows[0].file, message, rows[0].feedback);
	else if (has_part(message, "message/delivery-status"))
		judge_status(rows[0].file, message, rows, n);
	else
		judge_none(rows[0].file, message);
}

static void run_sisimai(void)
{
	struct slice text = suite_need(S.folder, "sisimai/expected.tsv"), rest = text;
	struct row rows[64], next;
	uint32_t n = 0;
	while (read_row(&rest, &next)) {
		if (n > 0 && (n == ARRAY_LEN(rows) || !slice_eq(rows[0].file, next.file))) {
			run_mail(rows, n);
			n = 0;
		}
		rows[n++] = next;
	}
	if (n > 0)
		run_mail(rows, n);
	suite_free(text);
}

/* --- KumoMTA -------------------------------------------------------------------------------------------------------------------------- */

static void run_kumomta(const char *path, void *arg)
{
	const struct { const char *folder; int (*parse)(struct slice message, struct arena *a, struct val *out); } KINDS[] = { { "/rfc3464/", report_parse_dsn }, { "/rfc5965/", report_parse_arf } };
	struct slice text;
	struct val v;
	for (size_t i = 0; i < ARRAY_LEN(KINDS); i++)
		if (strstr(path, KINDS[i].folder) != NULL && suite_read(path, &text)) {
			int rc = KINDS[i].parse(suite_crlf(text, A), A, &v);
			suite_case(&S, slice_from_cstr(path + strlen(S.folder) + 1), rc == 0, "%s", err_text());
			suite_free(text);
		}
}

int main(int argc, char **argv)
{
	S.folder = suite_folder(argc, argv, "bounces-arf");
	if (S.folder == NULL)
		return SUITE_SKIP;
	A = arena_create();
	run_sisimai();
	suite_walk(S.folder, run_kumomta, NULL);
	arena_destroy(&A);
	return suite_end(&S, 300);
}
