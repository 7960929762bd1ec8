/* SPDX-License-Identifier: Apache-2.0 */
/* tls - the stream: OpenSSL between the buffers of two rt_io. */
#include "tls/tls.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/fiber.h"
#include "tls/tls_int.h"

#define RECORD_MAX 16384	/* what one TLS record holds */

#define STREAM_MAGIC OBJ_MAGIC('T', 'L', 'S', 'S')
struct stream {
	uint32_t magic;
	SSL *ssl;
	struct rt_io *below;
	struct tls_ctx *ctx;
};

/* -- the BIO: reads what the stream below has buffered, gathers what is to be sent -- */

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static int bio_read(BIO *b, char *out, size_t len, size_t *got)
{
	struct rt_io *io = BIO_get_data(b);
	struct slice in = rt_io_buffered(io);

	BIO_clear_retry_flags(b);
	if (in.len == 0) {
		BIO_set_retry_read(b);
		return 0;
	}
	*got = MIN(len, in.len);
	memcpy(out, in.ptr, *got);
	rt_io_consume(io, *got);
	return 1;
}

static int bio_write(BIO *b, const char *in, size_t len, size_t *done)
{
	BIO_clear_retry_flags(b);
	rt_io_put(BIO_get_data(b), slice_new(in, len));
	*done = len;
	return 1;
}

static long bio_ctrl(BIO *b, int cmd, long n, void *p)
{
	return cmd == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

static void bio_method_make(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
	assert(bio_method != NULL);
	BIO_meth_set_read_ex(bio_method, bio_read);
	BIO_meth_set_write_ex(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
	BIO_meth_set_create(bio_method, bio_create);
}

static SSL *session_create(struct tls_ctx *c, struct rt_io *below)
{
	SSL *ssl = SSL_new(c->ssl);

	assert(ssl != NULL);
	pthread_once(&bio_once, bio_method_make);
	BIO *b = BIO_new(bio_method);
	assert(b != NULL);
	BIO_set_data(b, below);
	SSL_set_bio(ssl, b, b);
	return ssl;
}

/* -- input and output -- */

static int tls_error(const char *doing)
{
	char text[256];
	unsigned long e = ERR_peek_last_error();

	if (e == 0)
		return err_set(E_TLS, "%s: unexpected end", doing);
	const char *reason = ERR_reason_error_string(e);
	if (reason == NULL) {
		ERR_error_string_n(e, text, sizeof text);
		reason = text;
	}
	int rc = err_set(E_TLS, "%s: %s", doing, reason);
	ERR_clear_error();
	return rc;
}

/* More input for OpenSSL, after what it has to say is sent. */
static int stream_fill(struct rt_io *below)
{
	int rc = rt_io_flush(below);

	return rc < 0 ? rc : rt_io_fill(below);
}

static ssize_t stream_read(void *layer, void *buf, size_t len, int64_t timeout_ms)
{
	struct stream *s = layer;
	size_t got = 0;
	int rc;

	OBJ_CHECK(s, STREAM_MAGIC);
	for (;;) {
		ERR_clear_error();
		rc = SSL_read_ex(s->ssl, buf, len, &got);
		if (rc == 1)
			return (ssize_t)got;
		switch (SSL_get_error(s->ssl, rc)) {
		case SSL_ERROR_WANT_READ:
			rt_io_set_timeout(s->below, timeout_ms, timeout_ms);
			if ((rc = stream_fill(s->below)) < 0)
				return rc;
			break;
		case SSL_ERROR_ZERO_RETURN:
			return err_set(E_CLOSED, "connection closed by peer");
		default:
			return tls_error("reading over TLS");
		}
	}
}

static int stream_wait(void *layer, int64_t timeout_ms)
{
	struct stream *s = layer;
	char byte;
	size_t got;
	int rc;

	OBJ_CHECK(s, STREAM_MAGIC);
	for (;;) {
		ERR_clear_error();
		rc = SSL_peek_ex(s->ssl, &byte, 1, &got);
		if (rc == 1 || SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_READ)
			return 0; /* data, end or error: the next read tells */
		if ((rc = rt_io_flush(s->below)) < 0)
			return rc;
		rc = rt_io_wait_readable(s->below, timeout_ms);
		if (rc < 0)
			return rc;
		if (rt_io_buffered(s->below).len == 0)
			return 0; /* the stream below has ended */
	}
}

static int put_record(struct stream *s, const void *data, size_t len)
{
	size_t done;

	ERR_clear_error();
	if (SSL_write_ex(s->ssl, data, len, &done) != 1)
		return tls_error("writing over TLS");
	assert(done == len); /* the BIO takes everything */
	return 0;
}

/* Small parts are gathered into full records. */
static int put_records(struct stream *s, const struct iovec *iov, int n, size_t *total)
{
	static __thread char scratch[RECORD_MAX]; /* nothing waits between filling it and SSL_write */
	size_t used = 0;
	int rc;

	for (int i = 0; i < n; i++) {
		const char *p = iov[i].iov_base;
		size_t left = iov[i].iov_len;
		*total += left;
		while (left) {
			if (used == 0 && left >= RECORD_MAX) {
				if ((rc = put_record(s, p, RECORD_MAX)) < 0)
					return rc;
				p += RECORD_MAX;
				left -= RECORD_MAX;
				continue;
			}
			size_t take = MIN(left, RECORD_MAX - used);
			memcpy(scratch + used, p, take);
			used += take;
			p += take;
			left -= take;
			if (used == RECORD_MAX) {
				if ((rc = put_record(s, scratch, used)) < 0)
					return rc;
				used = 0;
			}
		}
	}
	return used ? put_record(s, scratch, used) : 0;
}

static ssize_t stream_writev(void *layer, const struct iovec *iov, int n, int64_t timeout_ms)
{
	struct stream *s = layer;
	size_t total = 0;
	int rc;

	OBJ_CHECK(s, STREAM_MAGIC);
	if ((rc = put_records(s, iov, n, &total)) < 0)
		return rc;
	rt_io_set_timeout(s->below, timeout_ms, timeout_ms);
	if ((rc = rt_io_flush(s->below)) < 0)
		return rc;
	return (ssize_t)total;
}

static int stream_shutdown(void *layer)
{
	struct stream *s = layer;

	OBJ_CHECK(s, STREAM_MAGIC);
	ERR_clear_error();
	SSL_shutdown(s->ssl);
	ERR_clear_error();
	return rt_io_shutdown(s->below);
}

static void stream_close(void *layer)
{
	struct stream *s = layer;

	OBJ_CHECK(s, STREAM_MAGIC);
	SSL_free(s->ssl);
	ERR_clear_error();
	rt_io_close(&s->below);
	tls_ctx_unref(&s->ctx);
	OBJ_FINI(s, STREAM_MAGIC);
	free(s);
}

static const struct rt_io_ops STREAM_OPS = {
	.read = stream_read, .writev = stream_writev, .wait = stream_wait, .shutdown = stream_shutdown, .close = stream_close,
};

/* -- what is known of the peer -- */

static void put_subject(struct buf *b, X509 *cert)
{
	X509_NAME *name = X509_get_subject_name(cert);

	for (int i = 0; i < X509_NAME_entry_count(name); i++) {
		X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
		int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
		unsigned char *utf8 = NULL;
		int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
		if (len < 0)
			continue;
		if (nid != NID_undef && memchr(utf8, 0, (size_t)len) == NULL)
			buf_printf(b, "%s=%.*s%c", OBJ_nid2sn(nid), len, utf8, '\0');
		OPENSSL_free(utf8);
	}
}

void tls_info_fini(struct tls_info *i)
{
	buf_fini(&i->subject);
	*i = (struct tls_info){ 0 };
}

bool tls_info_subject_next(const struct tls_info *i, size_t *pos, struct slice *entry)
{
	if (*pos >= i->subject.len)
		return false;
	*entry = slice_from_cstr(i->subject.ptr + *pos);
	*pos += entry->len + 1;
	return true;
}

static void info_fill(struct tls_info *i, SSL *ssl, bool authenticated)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	const char *name = cipher ? SSL_CIPHER_standard_name(cipher) : NULL;

	*i = (struct tls_info){ .authenticated = authenticated };
	if (name == NULL)
		name = cipher ? SSL_CIPHER_get_name(cipher) : "";
	bool v13 = SSL_version(ssl) == TLS1_3_VERSION;
	snprintf(i->openssl_cipher, sizeof i->openssl_cipher, "%s", name);
	snprintf(i->cipher, sizeof i->cipher, "%s%s", v13 ? "TLS13" : "", v13 && strncmp(name, "TLS", 3) == 0 ? name + 3 : name);
	snprintf(i->openssl_protocol, sizeof i->openssl_protocol, "%s", SSL_get_version(ssl));
	snprintf(i->protocol, sizeof i->protocol, "%s", SSL_get_version(ssl));
	for (char *p = i->protocol; *p; p++)
		if (*p == '.')
			*p = '_';
	X509 *cert = SSL_get0_peer_certificate(ssl);
	if (cert)
		put_subject(&i->subject, cert);
}

/* -- handshakes -- */

static int handshake_error(SSL *ssl, bool client)
{
	long verify = SSL_get_verify_result(ssl);
	unsigned long e = ERR_peek_last_error();

	if (client && ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK) {
		ERR_clear_error();
		return err_set(E_TLS, "invalid peer certificate: %s", X509_verify_cert_error_string(verify));
	}
	return tls_error("TLS handshake");
}

static int handshake(SSL *ssl, struct rt_io *below, bool client)
{
	int rc;

	for (;;) {
		ERR_clear_error();
		rc = SSL_do_handshake(ssl);
		if (rc == 1)
			return rt_io_flush(below);
		if (SSL_get_error(ssl, rc) != SSL_ERROR_WANT_READ) {
			rc = handshake_error(ssl, client);
			struct rt_deadline d;
			char *why = xstrdup(err_text());
			rt_deadline_push(&d, 1000);
			(void)!rt_io_flush(below); /* the alert; whoever does not take it misses nothing */
			rt_deadline_pop(&d);
			(void)!err_set(E_TLS, "%s", why);
			free(why);
			return rc;
		}
		if ((rc = stream_fill(below)) < 0)
			return rc;
	}
}

static int run_handshake(struct tls_ctx *c, SSL *ssl, struct rt_io **io, int64_t timeout_ms, bool client, struct tls_info *info)
{
	struct rt_deadline d;

	rt_deadline_push(&d, timeout_ms);
	int rc = handshake(ssl, *io, client);
	if (rt_deadline_pop(&d) && rc == -E_TIMEOUT)
		err_set(E_TIMEOUT, "TLS handshake timed out after %g s", (double)timeout_ms / 1000);
	if (rc < 0) {
		SSL_free(ssl);
		return rc;
	}
	if (info)
		info_fill(info, ssl, client ? !c->insecure || SSL_get0_dane_authority(ssl, NULL, NULL) >= 0 : SSL_get_verify_result(ssl) == X509_V_OK && c->asks_client);
	struct stream *s = xzalloc(sizeof *s);
	OBJ_INIT(s, STREAM_MAGIC);
	s->ssl = ssl;
	s->below = *io;
	s->ctx = tls_ctx_ref(c);
	*io = rt_io_layer(&STREAM_OPS, s);
	return 0;
}

int tls_accept(struct tls_ctx *c, struct rt_io **io, int64_t timeout_ms, struct tls_info *info)
{
	SSL *ssl = session_create(c, *io);

	SSL_set_accept_state(ssl);
	return run_handshake(c, ssl, io, timeout_ms, false, info);
}

/* Whom to expect: a name is sent as SNI, an address is not (RFC 6066); both are checked. */
static int set_peer(SSL *ssl, const char *host, const struct tls_peer *peer, bool insecure)
{
	struct ipaddr ip;

	if (ipaddr_parse(peer->hostname, &ip) == 0) {
		if (!insecure)
			X509_VERIFY_PARAM_set1_ip(SSL_get0_param(ssl), ip.bytes, ip.family == 4 ? 4 : 16);
		return 0;
	}
	err_clear();
	if (SSL_set_tlsext_host_name(ssl, host) != 1)
		return tls_error("setting the server name");
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (!insecure && SSL_set1_host(ssl, host) != 1)
		return tls_error("setting the expected name");
	return 0;
}

static int set_dane(SSL *ssl, const char *host, const struct tls_peer *peer)
{
	int usable = 0;

	if (SSL_dane_enable(ssl, host) <= 0)
		return tls_error("enabling DANE");
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS); /* RFC 7672 3.1.1 */
	for (size_t i = 0; i < peer->n_tlsa; i++) {
		const struct tls_tlsa *t = &peer->tlsa[i];
		if (SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching, (const unsigned char *)t->data.ptr, t->data.len) > 0)
			usable++;
	}
	ERR_clear_error();
	if (usable == 0)
		return err_set(E_TLS, "No usable DANE TLSA records for %s", host);
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	return 0;
}

int tls_connect(struct tls_ctx *c, struct rt_io **io, const struct tls_peer *peer, struct tls_info *info)
{
	SSL *ssl = session_create(c, *io);
	struct slice name = slice_ends(peer->hostname, SLICE(".")) ? slice_sub(peer->hostname, 0, peer->hostname.len - 1) : peer->hostname;
	char *host = xmemdup0(name.ptr, name.len);
	struct tls_peer p = *peer;

	p.hostname = name;
	SSL_set_connect_state(ssl);
	int rc = p.n_tlsa ? set_dane(ssl, host, &p) : 0;
	if (rc == 0)
		rc = set_peer(ssl, host, &p, c->insecure);
	free(host);
	if (rc < 0) {
		SSL_free(ssl);
		return rc;
	}
	return run_handshake(c, ssl, io, p.timeout_ms, true, info);
}
