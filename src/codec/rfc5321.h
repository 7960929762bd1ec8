/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfc5321 - the words of SMTP: commands, paths, replies.
 *
 * The parser takes what KumoMTA has always taken, which is a little more than RFC 5321: UTF-8 in local parts and domains
 * (RFC 6531), underscores in domains, a path without angle brackets, white space before it. A source route is read and dropped.
 * A command that cannot be read still says which verb it was and what was wrong, because the replies differ.
 *
 * Thread:  any.
 * Memory:  slices point into the line given, or into the arena where text had to be normalized: domains in A-label form and lower case.
 * Yields:  never.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum smtp_verb {
	SMTP_VERB_NONE,			/* not even a word: see FAULT */
	SMTP_EHLO, SMTP_HELO, SMTP_LHLO,
	SMTP_MAIL, SMTP_RCPT, SMTP_DATA, SMTP_RSET, SMTP_QUIT,
	SMTP_NOOP, SMTP_HELP, SMTP_VRFY, SMTP_EXPN,
	SMTP_STARTTLS, SMTP_AUTH, SMTP_XCLIENT,
	SMTP_UNKNOWN,			/* a word that we do not know: 502 5.5.1 */
	SMTP_VERB_COUNT
};

enum smtp_fault {
	SMTP_FAULT_NONE,
	SMTP_FAULT_SYNTAX,		/* 501 Syntax error in command or arguments */
	SMTP_FAULT_SENDER,		/* 501 5.1.7 Bad sender's mailbox address syntax */
	SMTP_FAULT_RECIPIENT,		/* 501 5.1.3 Invalid recipient address syntax */
	SMTP_FAULT_COMMAND,		/* 501 Syntax error in command or arguments: EXPLANATION (err_text) */
};

enum smtp_path_kind {
	SMTP_PATH_NULL,			/* <> */
	SMTP_PATH_POSTMASTER,		/* <Postmaster>, recipients only */
	SMTP_PATH_MAILBOX,
};

struct smtp_path {
	enum smtp_path_kind kind;
	struct slice local;		/* as written, with its quotes */
	struct slice domain;		/* "a.example", "[127.0.0.1]", "[IPv6:::1]", "[tag:text]" */
	struct slice text;		/* local@domain, "Postmaster" or "": the form that is stored, logged and sent */
	bool ascii;			/* no SMTPUTF8 needed */
};

struct smtp_param {
	struct slice name, value;	/* value SLICE_NONE: no "=" */
};

struct smtp_cmd {
	enum smtp_verb verb;
	enum smtp_fault fault;
	struct slice line;		/* all of it, without its line end */
	struct slice arg;		/* EHLO: the domain, normalized; AUTH: the mechanism; NOOP HELP VRFY EXPN: the string; none otherwise */
	struct slice initial;		/* AUTH: the initial response; SLICE_NONE: none */
	struct smtp_path path;		/* MAIL, RCPT */
	uint32_t n_params;		/* MAIL, RCPT; XCLIENT with xtext decoded */
	struct smtp_param *params;
};

/* Reads one command line (a CRLF or LF at its end is ignored). 0, or -E_INVAL with OUT->verb and OUT->fault set. */
int smtp_cmd_parse(struct slice line, struct arena *a, struct smtp_cmd *out) WARN_UNUSED;
/* The reply to a command with a fault: "5.1.7 Bad …", to be sent with 501. */
const char *smtp_fault_text(enum smtp_fault f);

/* Paths as in MAIL FROM:/RCPT TO:, the whole slice. Reverse takes <>, forward <Postmaster>; both with or without brackets. */
int smtp_reverse_path_parse(struct slice s, struct arena *a, struct smtp_path *out) WARN_UNUSED;
int smtp_forward_path_parse(struct slice s, struct arena *a, struct smtp_path *out) WARN_UNUSED;
/* An envelope address from policy, API or spool: "", "<>", "Postmaster", "<Postmaster>", a mailbox with or without brackets. */
int smtp_address_parse(struct slice s, struct arena *a, struct smtp_path *out) WARN_UNUSED;
/* The local part without its quoting: "\f\oo" gives foo. "" for null, "postmaster" for Postmaster. */
struct slice smtp_path_user(const struct smtp_path *p, struct arena *a);
/* A domain name alone, as in EHLO without literals: lower case, A-labels, at most 253 octets and 63 a label. */
int smtp_domain_parse(struct slice s, struct arena *a, struct slice *out) WARN_UNUSED;

/* An SMTP reply, ours or a peer's: what records, the classifier and rewriting see. */
struct smtp_response {
	uint16_t code;
	bool has_enhanced;
	uint8_t enh_class;
	uint16_t enh_subject, enh_detail;
	struct slice content;		/* lines joined by LF, codes cut off */
	struct slice command;		/* the command answered; SLICE_NONE: null */
};

/* Gathers the lines of a server's reply. Zero-initialized is valid; smtp_reply_fini frees. */
#define SMTP_REPLY_MAX (64 * 1024)
struct smtp_reply_reader {
	struct smtp_response r;		/* content is a view of .text, valid once a line returned 1 */
	struct buf text;
	bool started;
};
/* One line without its CRLF. 1: that was the last one; 0: more to come; -E_PROTO: malformed, of another code, or over
   SMTP_REPLY_MAX. Octets that are no UTF-8 become U+FFFD. */
int smtp_reply_line(struct smtp_reply_reader *p, struct slice line) WARN_UNUSED;
void smtp_reply_reset(struct smtp_reply_reader *p);
void smtp_reply_fini(struct smtp_reply_reader *p);

/* Code and text ("5.7.1 no\nmore") as a response: enhanced code cut off every line, lines joined by LF; content in the arena. */
void smtp_response_from_text(struct smtp_response *r, uint16_t code, struct slice text, struct arena *a);
/* "550 5.1.1 text" with line breaks as blanks: how policies and logs see it. */
void smtp_response_put_line(struct buf *b, const struct smtp_response *r);
void smtp_single_line_put(struct buf *b, struct slice s);	/* CRLF, CR, LF each become one blank */

/* "250-first\r\n250 last\r\n" of a text whose lines are divided by LF (or CRLF); an empty text is one empty line. */
void smtp_reply_put(struct buf *b, unsigned code, struct slice text);

/* xtext of RFC 3461. */
int smtp_xtext_decode(struct buf *b, struct slice in) WARN_UNUSED;
