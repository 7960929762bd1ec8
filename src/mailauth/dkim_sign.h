/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dkim_sign - DKIM signatures (RFC 6376, RFC 8463) and the signatures that ARC makes the same way.
 *
 * The header is scanned once a message and its body hashed once a canonicalization, however many signatures it gets: the caller keeps the
 * struct dkim_hashes. The layout of the field (order of tags, lines of 75) is KumoMTA's.
 *
 * Thread:  any; a signer is immutable.
 * Memory:  dkim_signer_ref/_unref; the signature is appended to the caller's buffer.
 * Yields:  never.
 */
#pragma once
#include <stdatomic.h>
#include "mailauth/dkim_canon.h"
#include "tls/key.h"

struct dkim_signer {
	uint32_t magic;
	_Atomic uint32_t refs;
	struct tls_key *key;		/* the signer's own reference */
	struct slice domain, selector;
	uint32_t n_headers;
	struct slice *headers;		/* lower case */
	enum dkim_canon header_canon, body_canon;
	bool over_sign;
	int64_t expiration_s;		/* 0: none */
	struct arena *arena;
};

struct dkim_signer_opts {
	struct slice domain, selector;
	const struct slice *headers;
	uint32_t n_headers;
	enum dkim_canon header_canon, body_canon;
	bool over_sign;
	int64_t expiration_s;
};
/* Copies OPTS and takes a reference of KEY. -E_INVAL: From is not among the headers, texts that no tag can hold, or a key of
   another kind. */
int dkim_signer_create(const struct dkim_signer_opts *opts, struct tls_key *key, struct dkim_signer **out) WARN_UNUSED;
struct dkim_signer *dkim_signer_ref(struct dkim_signer *s);
void dkim_signer_unref(struct dkim_signer **s);

/* Body hashes that are known already, by canonicalization. Zero-initialized: none. */
struct dkim_hashes {
	bool known[2];
	uint8_t sha256[2][32];
};

/* Appends the VALUE of the DKIM-Signature field for the message MSG (CRLF line ends) at time NOW_S. -E_INVAL: the header has bare LFs or
   cannot be read. HASHES may be NULL. */
int dkim_sign(const struct dkim_signer *s, struct slice msg, int64_t now_s, struct dkim_hashes *hashes, struct buf *out) WARN_UNUSED;

void dkim_metrics_register(void);	/* once, where metrics are shown */

/* For ARC: FIELD is "ARC-Message-Signature" or "ARC-Seal"; EXTRA tags come first ("i=1; cv=none"); a seal signs exactly SEALED. */
struct dkim_tag {
	const char *name;
	struct slice value;
};
struct dkim_sign_args {
	const char *field;
	const struct dkim_tag *extra;
	uint32_t n_extra;
	bool seal;
	const struct mail_header *sealed;
	uint32_t n_sealed;
};
int dkim_sign_as(const struct dkim_signer *s, struct slice msg, int64_t now_s, const struct dkim_sign_args *args, struct dkim_hashes *hashes,
		 struct buf *out) WARN_UNUSED;
