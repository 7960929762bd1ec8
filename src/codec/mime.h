/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mime - messages as trees of parts: reading, changing, building, and mending what does not conform.
 *
 * Only policies that look inside messages pay for this; relaying never does. An unchanged tree is written back as it was read, line ends
 * and preamble included, but for what KumoMTA's layout adds: an empty line behind each header, the last boundary. Bodies stay encoded until
 * somebody asks.
 *
 * Thread:  one owner at a time.
 * Memory:  a document owns its bytes and all parts (one arena, freed with the last reference); parts stay valid while it lives, also when
 *          they are cut out of the tree.
 * Yields:  never.
 */
#pragma once
#include "codec/rfc5322.h"

struct mime_part {
	uint32_t n_headers, cap_headers;
	struct mail_header *headers;	/* name, sep, value, conformance; raw is not kept up */
	struct slice body;		/* transfer-encoded; of a multipart: only where it has no parts */
	uint32_t n_parts, cap_parts;
	struct mime_part **parts;
	struct slice intro, outro;	/* of a multipart: what stands before the first and behind the last boundary */
	unsigned conformance;		/* of this part and those in it */
};

struct mime_doc {
	uint32_t magic;
	_Atomic uint32_t refs;
	struct arena *arena;
	struct mime_part *root;
};

#define MIME_DEPTH_MAX 50
#define MIME_PARTS_MAX 10000

/* Copies BYTES. -E_INVAL: a header block cannot be read; -E_LIMIT: nested deeper, or more parts, than above. */
int mime_parse(struct slice bytes, struct mime_doc **out) WARN_UNUSED;
struct mime_doc *mime_doc_create(void);			/* with an empty root; refs 1 */
struct mime_doc *mime_doc_ref(struct mime_doc *d);
void mime_doc_unref(struct mime_doc **d);
void mime_put(struct buf *b, const struct mime_part *p);	/* the whole text of a part */
struct mime_part *mime_copy(struct mime_doc *to, const struct mime_part *p);	/* deep */
void mime_append_part(struct mime_doc *d, struct mime_part *to, struct mime_part *p);	/* P must live in D */

/* Header fields of a part. Values are raw (encoded); slices are copied. */
const struct mail_header *mime_header_find(const struct mime_part *p, const char *name);
void mime_header_append(struct mime_doc *d, struct mime_part *p, struct slice name, struct slice value);
void mime_header_prepend(struct mime_doc *d, struct mime_part *p, struct slice name, struct slice value);
void mime_header_set(struct mime_doc *d, struct mime_part *p, struct slice name, struct slice value);	/* the first one, else appended */
void mime_header_remove(struct mime_part *p, struct slice name);
void mail_header_put(struct buf *b, const struct mail_header *h);	/* with its line end */

/* What the fields say about a part (RFC 2045). */
enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QUOTED_PRINTABLE, MIME_BASE64 };
struct mime_info {
	enum mime_encoding encoding;
	bool has_type;
	struct mime_params type;	/* when has_type */
	bool is_text, is_multipart;	/* no type: text */
	struct slice charset;
	bool is_attachment;		/* one of these three is given */
	bool is_inline;
	struct slice file_name, content_id;	/* SLICE_NONE */
	bool invalid;			/* some field does not parse */
};
void mime_info(const struct mime_part *p, struct arena *a, struct mime_info *out);

/* The decoded body. Text comes as UTF-8; what is no text of its charset, or no text at all, as bytes. Fails for bad base64 and unknown charsets. */
int mime_body(const struct mime_part *p, struct arena *a, struct slice *out, bool *is_text) WARN_UNUSED;

/* The parts that a reader would see: main text, main HTML, the rest. */
struct mime_structure {
	struct mime_part *text, *html, *amp_html, *header;
	uint32_t n_attachments, cap;
	struct mime_part **attachments;
};
void mime_structure(struct mime_part *p, struct arena *a, struct mime_structure *out);
/* "0.1": the way from ROOT to P; "" for the root itself. false: it is not in the tree. */
bool mime_part_id(const struct mime_part *root, const struct mime_part *p, struct buf *out);

/* --- building ----------------------------------------------------------------------------------------------------------------- */

struct mime_attachment {
	bool given;			/* there are options at all */
	struct slice file_name, content_id;	/* SLICE_NONE: not given */
	bool is_inline;
};
struct mime_part *mime_new_text(struct mime_doc *d, struct slice type, struct slice content);
struct mime_part *mime_new_binary(struct mime_doc *d, struct slice type, struct slice content, const struct mime_attachment *opts);
struct mime_part *mime_new_multipart(struct mime_doc *d, struct slice type, struct slice boundary);	/* SLICE_NONE: a random one */
void mime_replace_text(struct mime_doc *d, struct mime_part *p, struct slice type, struct slice content);
void mime_replace_binary(struct mime_doc *d, struct mime_part *p, struct slice type, struct slice content);

/* Puts a message together: alternatives, then related inline parts, then attachments; Mime-Version and Date unless given. */
struct mime_builder {
	struct mime_doc *doc;		/* where the parts are made */
	bool stable;			/* fixed boundaries and date, for tests */
	struct mime_part *text, *html, *amp_html;
	struct mime_part *headers;	/* header fields of the message; may be NULL */
	uint32_t n_inline, n_attached, cap_inline, cap_attached;
	struct mime_part **inline_parts, **attached;
};
void mime_builder_init(struct mime_builder *b);			/* makes the document */
void mime_builder_fini(struct mime_builder *b);			/* drops its reference */
void mime_builder_attach(struct mime_builder *b, struct mime_part *p);	/* P lives in b->doc; its Content-Disposition says where it goes */
int mime_build(struct mime_builder *b, int64_t now_us) WARN_UNUSED;	/* b->doc->root is the message then */

/* --- mending -------------------------------------------------------------------------------------------------------------------- */

struct mime_fix {
	bool detect_encoding;
	const struct slice *include, *exclude;	/* charsets */
	uint32_t n_include, n_exclude;
	struct slice message_id;		/* without brackets; for a missing one */
	int64_t now_us;				/* for a missing Date */
};
/* A new document in which every field and body is written anew, in the builder's layout. */
int mime_rebuild(const struct mime_part *p, const struct mime_fix *fix, struct mime_doc **out) WARN_UNUSED;
/* All that is wrong, texts decoded to see. */
unsigned mime_check(const struct mime_part *p);
/* -E_REJECT: it has problems of CHECK that FIX does not mend ("Message has conformance issues: A|B"). 0: *OUT is the mended text's
   document, or NULL where there was nothing to mend. BYTES: what DOC was made of. */
int mime_check_fix(struct mime_doc *doc, struct slice bytes, unsigned check, unsigned fix, const struct mime_fix *how, struct mime_doc **out) WARN_UNUSED;

/* Transfer encodings. */
void qp_encode(struct buf *b, struct slice in);
void qp_decode(struct buf *b, struct slice in);				/* bad escapes stay as they are */
void mime_base64_put(struct buf *b, struct slice in);			/* lines of 76 with CRLF */
int mime_base64_decode(struct buf *b, struct slice in) WARN_UNUSED;	/* white space is skipped; anything else that is no base64 is refused */
