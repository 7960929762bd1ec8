/* SPDX-License-Identifier: Apache-2.0 */
/* tls_ctx - contexts: certificates, keys, ciphers, trust. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include "base/rand.h"
#include "base/xalloc.h"
#include "tls/tls.h"
#include "tls/tls_int.h"

static int ctx_error(const char *what)
{
	unsigned long e = ERR_peek_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;
	int rc = err_set(E_TLS, "%s: %s", what, reason ? reason : "not usable");

	ERR_clear_error();
	return rc;
}

static struct tls_ctx *ctx_create(const SSL_METHOD *method)
{
	struct tls_ctx *c = xzalloc(sizeof *c);

	ERR_clear_error();
	OBJ_INIT(c, TLS_CTX_MAGIC);
	atomic_init(&c->refs, 1);
	c->ssl = SSL_CTX_new(method);
	assert(c->ssl != NULL);
	SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_mode(c->ssl, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION);
	SSL_CTX_set_options(c->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_read_ahead(c->ssl, 1);
	return c;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c)
{
	OBJ_CHECK(c, TLS_CTX_MAGIC);
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void tls_ctx_unref(struct tls_ctx **cp)
{
	struct tls_ctx *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	OBJ_CHECK(c, TLS_CTX_MAGIC);
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	SSL_CTX_free(c->ssl);
	OBJ_FINI(c, TLS_CTX_MAGIC);
	free(c);
}

/* -- PEM -- */

static BIO *pem_bio(struct slice pem)
{
	BIO *b = BIO_new_mem_buf(pem.ptr ? pem.ptr : "", (int)MIN(pem.len, (size_t)INT32_MAX));
	assert(b != NULL);
	return b;
}

static int use_chain(SSL_CTX *ssl, struct slice pem)
{
	BIO *b = pem_bio(pem);
	X509 *cert = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL);
	int rc = 0;

	if (cert == NULL || SSL_CTX_use_certificate(ssl, cert) != 1)
		rc = ctx_error("certificate");
	X509_free(cert);
	while (rc == 0 && (cert = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(ssl, cert) != 1) {
			X509_free(cert);
			rc = ctx_error("certificate chain");
		}
	BIO_free(b);
	ERR_clear_error(); /* that the chain ends is one, too */
	return rc;
}

static int no_password(char *out, int size, int writing, void *arg)
{
	return 0;
}

static int use_key(SSL_CTX *ssl, struct slice pem)
{
	BIO *b = pem_bio(pem);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, no_password, NULL);
	int rc = 0;

	BIO_free(b);
	if (key == NULL)
		return ctx_error("private key");
	if (SSL_CTX_use_PrivateKey(ssl, key) != 1 || SSL_CTX_check_private_key(ssl) != 1)
		rc = ctx_error("private key");
	EVP_PKEY_free(key);
	return rc;
}

static int trust(SSL_CTX *ssl, struct slice pem, bool announce)
{
	BIO *b = pem_bio(pem);
	X509 *cert;
	int n = 0;

	while ((cert = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), cert);
		if (announce)
			SSL_CTX_add_client_CA(ssl, cert);
		X509_free(cert);
		n++;
	}
	BIO_free(b);
	ERR_clear_error();
	return n ? 0 : err_set(E_TLS, "certificate authority: no certificate in PEM form");
}

/* -- self-made certificates -- */

static bool cert_fill(X509 *x, EVP_PKEY *key, const char *host)
{
	struct buf alt = { 0 };
	struct ipaddr ip;
	uint64_t serial = rand_u64() >> 1;
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 10L * 365 * 86400);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)host, -1, -1, 0);
	X509_set_issuer_name(x, name);
	bool is_ip = ipaddr_parse(slice_from_cstr(host), &ip) == 0;
	buf_cstr_put(&alt, is_ip ? "IP:" : "DNS:");
	buf_cstr_put(&alt, host);
	X509_EXTENSION *ext = strpbrk(host, ",\n") ? NULL : X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, buf_cstr(&alt));
	buf_fini(&alt);
	if (ext) {
		X509_add_ext(x, ext, -1);
		X509_EXTENSION_free(ext);
	}
	ERR_clear_error();
	return X509_sign(x, key, EVP_sha256()) > 0;
}

static void bio_take(BIO *b, struct buf *out)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);
	buf_put(out, p, (size_t)n);
}

int tls_self_signed(struct slice hostname, struct buf *certificate, struct buf *private_key)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
	char *host = xmemdup0(hostname.ptr, hostname.len);
	int rc = 0;

	if (key == NULL || !cert_fill(x, key, host[0] ? host : "localhost") || PEM_write_bio_X509(c, x) != 1 ||
	    PEM_write_bio_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) != 1) {
		rc = ctx_error("making a certificate");
	} else {
		bio_take(c, certificate);
		bio_take(k, private_key);
	}
	free(host);
	X509_free(x);
	EVP_PKEY_free(key);
	BIO_free(c);
	BIO_free(k);
	return rc;
}

/* -- servers -- */

static int use_pair(struct tls_ctx *c, struct slice certificate, struct slice private_key)
{
	if (certificate.len == 0)
		return err_set(E_INVAL, "a private key is given without its certificate");
	int rc = use_chain(c->ssl, certificate);

	return rc < 0 ? rc : use_key(c->ssl, private_key);
}

static int use_self_signed(struct tls_ctx *c, struct slice hostname)
{
	struct buf cert = { 0 }, key = { 0 };
	int rc = tls_self_signed(hostname, &cert, &key);

	if (rc == 0)
		rc = use_pair(c, buf_view(&cert), buf_view(&key));
	buf_fini(&cert);
	if (key.ptr)
		OPENSSL_cleanse(key.ptr, key.len);
	buf_fini(&key);
	return rc;
}

int tls_ctx_server(const struct tls_server_conf *conf, struct tls_ctx **out)
{
	struct tls_ctx *c = ctx_create(TLS_server_method());
	int rc;

	if (conf->certificate.len || conf->private_key.len)
		rc = use_pair(c, conf->certificate, conf->private_key);
	else
		rc = use_self_signed(c, conf->hostname);
	if (rc == 0 && conf->required_client_ca.len) {
		c->asks_client = true;
		rc = trust(c->ssl, conf->required_client_ca, true);
		SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	SSL_CTX_set_session_id_context(c->ssl, (const unsigned char *)"kumo", 4);
	SSL_CTX_set_options(c->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
	if (rc < 0) {
		tls_ctx_unref(&c);
		return rc;
	}
	*out = c;
	return 0;
}

/* -- clients -- */

static const struct {
	const char *name;
	uint64_t bits;
} OPTIONS[] = {
	{ "ALL", SSL_OP_ALL },
	{ "NO_QUERY_MTU", SSL_OP_NO_QUERY_MTU },
	{ "COOKIE_EXCHANGE", SSL_OP_COOKIE_EXCHANGE },
	{ "NO_TICKET", SSL_OP_NO_TICKET },
	{ "NO_SESSION_RESUMPTION_ON_RENEGOTIATION", SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION },
	{ "NO_COMPRESSION", SSL_OP_NO_COMPRESSION },
	{ "ALLOW_UNSAFE_LEGACY_RENEGOTIATION", SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION },
	{ "SINGLE_ECDH_USE", SSL_OP_SINGLE_ECDH_USE },
	{ "SINGLE_DH_USE", SSL_OP_SINGLE_DH_USE },
	{ "CIPHER_SERVER_PREFERENCE", SSL_OP_CIPHER_SERVER_PREFERENCE },
	{ "TLS_ROLLBACK_BUG", SSL_OP_TLS_ROLLBACK_BUG },
	{ "NO_SSLV2", SSL_OP_NO_SSLv2 },
	{ "NO_SSLV3", SSL_OP_NO_SSLv3 },
	{ "NO_TLSV1", SSL_OP_NO_TLSv1 },
	{ "NO_TLSV1_1", SSL_OP_NO_TLSv1_1 },
	{ "NO_TLSV1_2", SSL_OP_NO_TLSv1_2 },
	{ "NO_TLSV1_3", SSL_OP_NO_TLSv1_3 },
	{ "NO_DTLSV1", SSL_OP_NO_DTLSv1 },
	{ "NO_DTLSV1_2", SSL_OP_NO_DTLSv1_2 },
	{ "NO_SSL_MASK", SSL_OP_NO_SSL_MASK },
	{ "NO_RENEGOTIATION", SSL_OP_NO_RENEGOTIATION },
	{ "ENABLE_MIDDLEBOX_COMPAT", SSL_OP_ENABLE_MIDDLEBOX_COMPAT },
	{ "PRIORITIZE_CHACHA", SSL_OP_PRIORITIZE_CHACHA },
	{ "DONT_INSERT_EMPTY_FRAGMENTS", SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS },
};

static int set_options(SSL_CTX *ssl, struct slice names)
{
	struct slice part;

	while (slice_split_next(&names, '|', &part)) {
		size_t i = 0;
		part = slice_trim(part);
		while (i < ARRAY_LEN(OPTIONS) && !slice_eq_cstr(part, OPTIONS[i].name))
			i++;
		if (part.len && i == ARRAY_LEN(OPTIONS))
			return err_set(E_INVAL, "'%.*s' is not an OpenSSL option", SLICE_ARG(part));
		if (part.len)
			SSL_CTX_set_options(ssl, OPTIONS[i].bits);
	}
	return 0;
}

static int set_ciphers(SSL_CTX *ssl, struct slice list, struct slice suites)
{
	char *text = xmemdup0(list.ptr, list.len);
	int rc = 0;

	if (list.len && SSL_CTX_set_cipher_list(ssl, text) != 1)
		rc = ctx_error("cipher list");
	free(text);
	text = xmemdup0(suites.ptr, suites.len);
	if (rc == 0 && suites.len && SSL_CTX_set_ciphersuites(ssl, text) != 1)
		rc = ctx_error("cipher suites");
	free(text);
	return rc;
}

/* "TLS13_X" is TLS_X to OpenSSL, a TLS 1.2 name has one of OpenSSL's own. A version without a suite is not offered. */
static int set_rustls_suites(SSL_CTX *ssl, const struct slice *names, size_t n)
{
	struct buf v12 = { 0 }, v13 = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (slice_starts(names[i], SLICE("TLS13_"))) {
			buf_printf(&v13, "%sTLS_%.*s", v13.len ? ":" : "", (int)names[i].len - 6, names[i].ptr + 6);
			continue;
		}
		char *std = xmemdup0(names[i].ptr, names[i].len);
		const char *own = OPENSSL_cipher_name(std);
		if (own && strcmp(own, "(NONE)") != 0)
			buf_printf(&v12, "%s%s", v12.len ? ":" : "", own);
		free(std);
	}
	int rc = set_ciphers(ssl, buf_view(&v12), buf_view(&v13));
	if (v13.len == 0)
		SSL_CTX_set_max_proto_version(ssl, TLS1_2_VERSION);
	if (v12.len == 0)
		SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION);
	buf_fini(&v12);
	buf_fini(&v13);
	return rc;
}

static int set_trust(struct tls_ctx *c, const struct tls_client_conf *conf)
{
	if (SSL_CTX_dane_enable(c->ssl) != 1)
		return ctx_error("DANE");
	SSL_CTX_set_verify(c->ssl, conf->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	if (!conf->insecure && SSL_CTX_set_default_verify_paths(c->ssl) != 1)
		return ctx_error("the system's certificate authorities");
	return conf->extra_ca.len ? trust(c->ssl, conf->extra_ca, false) : 0;
}

int tls_ctx_client(const struct tls_client_conf *conf, struct tls_ctx **out)
{
	struct tls_ctx *c = ctx_create(TLS_client_method());
	int rc;

	c->insecure = conf->insecure;
	rc = set_trust(c, conf);
	if (rc == 0 && conf->certificate.len)
		rc = use_pair(c, conf->certificate, conf->private_key);
	if (rc == 0)
		rc = set_ciphers(c->ssl, conf->cipher_list, conf->cipher_suites);
	if (rc == 0 && conf->n_rustls_suites)
		rc = set_rustls_suites(c->ssl, conf->rustls_suites, conf->n_rustls_suites);
	if (rc == 0)
		rc = set_options(c->ssl, conf->options);
	if (rc < 0) {
		tls_ctx_unref(&c);
		return rc;
	}
	*out = c;
	return 0;
}
