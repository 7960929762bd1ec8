/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls - TLS over a stream: a handshake turns an rt_io into another rt_io.
 *
 * OpenSSL works on the buffers of the stream below and never waits itself: when it wants input the fiber flushes what is gathered and waits,
 * so all records of one rt_io_writev leave in one system call, and other fibers' errors cannot get into OpenSSL's per-thread error queue
 * in the middle of a call. An idle session holds no buffers (SSL_MODE_RELEASE_BUFFERS, and rt/io's own).
 *
 * Contexts are made once from configuration and shared; making one parses certificates and the system's trust store.
 *
 * Thread:  contexts: any, immutable. Streams: as rt/io.
 * Memory:  tls_ctx_ref/_unref; a stream holds its context. A stream that was layered owns the one below.
 * Yields:  handshakes.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "rt/io.h"

struct tls_ctx;

struct tls_server_conf {
	struct slice certificate, private_key;	/* PEM text (a chain, leaf first). Both none: a self-signed certificate for HOSTNAME is made */
	struct slice hostname;
	struct slice required_client_ca;	/* PEM: clients must show a certificate by one of these. None: they are not asked */
};
int tls_ctx_server(const struct tls_server_conf *c, struct tls_ctx **out) WARN_UNUSED;

struct tls_client_conf {
	bool insecure;				/* the peer's certificate is not checked */
	struct slice certificate, private_key;	/* PEM of our own; none: we have none */
	struct slice extra_ca;			/* PEM trusted besides the system's */
	struct slice cipher_list;		/* TLS 1.2, OpenSSL's syntax */
	struct slice cipher_suites;		/* TLS 1.3, OpenSSL's syntax */
	struct slice options;			/* "NO_TLSV1_3|NO_TICKET": names of docs/reference …/openssl_options */
	const struct slice *rustls_suites;	/* "TLS13_AES_256_GCM_SHA384", …: exactly these, when there are any */
	size_t n_rustls_suites;
};
int tls_ctx_client(const struct tls_client_conf *c, struct tls_ctx **out) WARN_UNUSED;
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
void tls_ctx_unref(struct tls_ctx **c);
/* A new key and certificate for HOSTNAME as PEM, appended. */
int tls_self_signed(struct slice hostname, struct buf *certificate, struct buf *private_key) WARN_UNUSED;

struct tls_tlsa {				/* RFC 6698 */
	uint8_t usage, selector, matching;
	struct slice data;
};
struct tls_peer {
	struct slice hostname;			/* whom we believe to talk to: sent as SNI, checked against the certificate */
	const struct tls_tlsa *tlsa;		/* DANE: these decide, not the trust store (RFC 7672) */
	size_t n_tlsa;
	int64_t timeout_ms;			/* of the handshake */
};

/* What log records and policies show. */
struct tls_info {
	char cipher[64];			/* "TLS13_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_…": the names that upstream logs */
	char openssl_cipher[64];		/* "TLS_AES_256_GCM_SHA384" … as the RFCs name it: logged when OpenSSL is preferred */
	char protocol[16];			/* "TLSv1_3" */
	char openssl_protocol[16];		/* "TLSv1.3" */
	struct buf subject;			/* the peer's subject, an attribute an entry ("CN=host"), each with a NUL behind */
	bool authenticated;			/* the certificate was checked, and is good */
};
void tls_info_fini(struct tls_info *i);
bool tls_info_subject_next(const struct tls_info *i, size_t *pos, struct slice *entry);	/* start with *POS 0 */

/* The handshake over *IO. 0: *IO becomes the TLS stream. Otherwise *IO stays what it was, whatever state its peer is in:
   -E_TLS (OpenSSL's reason, or why the certificate is not good), -E_CLOSED, -E_IO, -E_TIMEOUT, -E_CANCELED. INFO may be NULL; if not, it is filled
   on success and needs tls_info_fini. Yields. */
int tls_accept(struct tls_ctx *c, struct rt_io **io, int64_t timeout_ms, struct tls_info *info) WARN_UNUSED;
int tls_connect(struct tls_ctx *c, struct rt_io **io, const struct tls_peer *peer, struct tls_info *info) WARN_UNUSED;
