/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/test_util.h"
#include "tls/digest.h"
#include "tls/tls.h"

static struct buf cert, key, other_cert, other_key;

struct side {
	struct rt_io *io;
	struct tls_ctx *ctx;
	struct tls_peer peer;
	struct tls_info info;
	int rc;
	char why[300];
	size_t bulk;
};

static struct tls_ctx *server_ctx(struct slice client_ca)
{
	struct tls_server_conf c = { .certificate = buf_view(&cert), .private_key = buf_view(&key), .required_client_ca = client_ca };
	struct tls_ctx *ctx;

	assert_int_equal(tls_ctx_server(&c, &ctx), 0);
	return ctx;
}

static struct tls_ctx *client_ctx(struct tls_client_conf c)
{
	struct tls_ctx *ctx;

	assert_int_equal(tls_ctx_client(&c, &ctx), 0);
	return ctx;
}

static void server(void *arg)
{
	struct side *s = arg;
	struct slice line;

	s->rc = tls_accept(s->ctx, &s->io, 2000, &s->info);
	if (s->rc < 0) {
		snprintf(s->why, sizeof s->why, "%s", err_text());
		return;
	}
	rt_io_set_timeout(s->io, 5000, 5000);
	while (rt_io_read_line(s->io, 100, &line, NULL) == 0) {
		rt_io_printf(s->io, "echo %.*s\r\n", SLICE_ARG(line));
		assert_int_equal(rt_io_flush(s->io), 0);
	}
	if (s->bulk == 0)
		return;
	while (s->bulk) {
		struct slice in = rt_io_buffered(s->io);
		for (size_t i = 0; i < in.len; i++)
			assert_int_equal(in.ptr[i], 'x');
		s->bulk -= in.len;
		rt_io_consume(s->io, in.len);
		if (s->bulk)
			assert_int_equal(rt_io_fill(s->io), 0);
	}
	rt_io_put(s->io, SLICE("done\n"));
	assert_int_equal(rt_io_shutdown(s->io), 0);
}

static void pair(struct side *a, struct side *b)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	a->io = rt_io_from_fd(fd[0]);
	b->io = rt_io_from_fd(fd[1]);
}

/* A handshake with both results in place. */
static void shake(struct side *c, struct side *s, const char *host)
{
	pair(c, s);
	struct rt_fiber *f = rt_fiber_start("server", server, s);
	c->peer.hostname = slice_from_cstr(host);
	c->peer.timeout_ms = 2000;
	c->rc = tls_connect(c->ctx, &c->io, &c->peer, &c->info);
	if (c->rc < 0)
		snprintf(c->why, sizeof c->why, "%s", err_text());
	if (c->rc == 0) {
		struct slice line;
		rt_io_set_timeout(c->io, 5000, 5000);
		int rc = rt_io_wait_readable(c->io, 30); /* session tickets are no data */
		if (rc == -E_TIMEOUT) {
			rt_io_printf(c->io, "hello\r\n");
			rc = rt_io_flush(c->io);
			if (rc == 0)
				rc = rt_io_read_line(c->io, 100, &line, NULL);
			assert_true(rc < 0 || slice_eq_cstr(line, "echo hello"));
		} else {
			rc = rt_io_fill(c->io);
			assert_true(rc < 0);
		}
		if (rc < 0)
			snprintf(c->why, sizeof c->why, "%s", err_text());
	}
	rt_io_close(&c->io);
	assert_int_equal(rt_fiber_join(f), 0);
	rt_fiber_unref(&f);
	rt_io_close(&s->io);
	tls_ctx_unref(&c->ctx);
	tls_ctx_unref(&s->ctx);
}

static void fini(struct side *c, struct side *s)
{
	tls_info_fini(&c->info);
	tls_info_fini(&s->info);
	*c = *s = (struct side){ 0 };
}

static void handshakes_body(void *arg)
{
	struct side c = { 0 }, s = { 0 };
	struct slice entry;
	size_t pos = 0;

	c.ctx = client_ctx((struct tls_client_conf){ .insecure = true });
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "mx.example.");
	assert_string_equal(c.why, "");
	assert_int_equal(c.rc, 0);
	assert_false(c.info.authenticated);
	assert_string_equal(c.info.cipher, "TLS13_AES_256_GCM_SHA384");
	assert_string_equal(c.info.openssl_cipher, "TLS_AES_256_GCM_SHA384");
	assert_string_equal(c.info.protocol, "TLSv1_3");
	assert_true(tls_info_subject_next(&c.info, &pos, &entry));
	assert_true(slice_eq_cstr(entry, "CN=mx.example"));
	assert_false(tls_info_subject_next(&c.info, &pos, &entry));
	fini(&c, &s);

	c.ctx = client_ctx((struct tls_client_conf){ .extra_ca = buf_view(&cert) });
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "mx.example");
	assert_int_equal(c.rc, 0);
	assert_true(c.info.authenticated);
	fini(&c, &s);

	c.ctx = client_ctx((struct tls_client_conf){ .extra_ca = buf_view(&cert) });
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "other.example");
	assert_int_equal(c.rc, -E_TLS);
	assert_non_null(strstr(c.why, "hostname mismatch"));
	assert_int_equal(s.rc, -E_TLS);
	fini(&c, &s);

	c.ctx = client_ctx((struct tls_client_conf){ 0 });
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "mx.example");
	assert_int_equal(c.rc, -E_TLS);
	assert_non_null(strstr(c.why, "self-signed certificate"));
	fini(&c, &s);
}

static void options_body(void *arg)
{
	struct side c = { 0 }, s = { 0 };
	struct slice suite = SLICE("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
	struct tls_ctx *bad;

	c.ctx = client_ctx((struct tls_client_conf){ .insecure = true, .options = SLICE("NO_TLSV1_3|NO_TICKET") });
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "mx.example");
	assert_string_equal(c.info.protocol, "TLSv1_2");
	fini(&c, &s);

	c.ctx = client_ctx((struct tls_client_conf){ .insecure = true, .rustls_suites = &suite, .n_rustls_suites = 1 });
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "mx.example");
	assert_string_equal(c.info.cipher, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
	fini(&c, &s);

	assert_int_equal(tls_ctx_client(&(struct tls_client_conf){ .options = SLICE("NONSENSE") }, &bad), -E_INVAL);
	assert_int_equal(tls_ctx_client(&(struct tls_client_conf){ .cipher_list = SLICE("nonsense") }, &bad), -E_TLS);
	assert_int_equal(tls_ctx_server(&(struct tls_server_conf){ .certificate = SLICE("x"), .private_key = SLICE("y") }, &bad), -E_TLS);
	assert_int_equal(tls_ctx_server(&(struct tls_server_conf){ .certificate = buf_view(&cert), .private_key = buf_view(&other_key) }, &bad), -E_TLS);
	assert_int_equal(tls_ctx_server(&(struct tls_server_conf){ .hostname = SLICE("self.example") }, &bad), 0);
	tls_ctx_unref(&bad);
}

static void client_certs_body(void *arg)
{
	struct side c = { 0 }, s = { 0 };
	struct slice entry;
	size_t pos = 0;

	c.ctx = client_ctx((struct tls_client_conf){ .insecure = true, .certificate = buf_view(&other_cert), .private_key = buf_view(&other_key) });
	s.ctx = server_ctx(buf_view(&other_cert));
	shake(&c, &s, "mx.example");
	assert_int_equal(s.rc, 0);
	assert_true(s.info.authenticated);
	assert_true(tls_info_subject_next(&s.info, &pos, &entry));
	assert_true(slice_eq_cstr(entry, "CN=client.example"));
	fini(&c, &s);

	c.ctx = client_ctx((struct tls_client_conf){ .insecure = true });
	s.ctx = server_ctx(buf_view(&other_cert));
	shake(&c, &s, "mx.example");
	assert_int_equal(s.rc, -E_TLS);
	assert_non_null(strstr(s.why, "peer did not return a certificate"));
	fini(&c, &s);
}

static void dane_body(void *arg)
{
	struct side c = { 0 }, s = { 0 };
	uint8_t digest[TLS_MD_MAX];
	unsigned char *der = NULL;
	BIO *b = BIO_new_mem_buf(cert.ptr, (int)cert.len);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	int len = i2d_X509(x, &der);

	BIO_free(b);
	X509_free(x);
	tls_digest(TLS_SHA256, slice_new(der, (size_t)len), digest);
	OPENSSL_free(der);
	struct tls_tlsa good = { 3, 0, 1, slice_new(digest, 32) }, unusable = { 9, 9, 9, SLICE("x") };

	c.ctx = client_ctx((struct tls_client_conf){ 0 });
	c.peer = (struct tls_peer){ .tlsa = &good, .n_tlsa = 1 };
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "another.name");
	assert_int_equal(c.rc, 0);
	assert_true(c.info.authenticated);
	fini(&c, &s);

	digest[0] ^= 1;
	c.ctx = client_ctx((struct tls_client_conf){ 0 });
	c.peer = (struct tls_peer){ .tlsa = &good, .n_tlsa = 1 };
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "mx.example");
	assert_int_equal(c.rc, -E_TLS);
	fini(&c, &s);

	c.ctx = client_ctx((struct tls_client_conf){ 0 });
	c.peer = (struct tls_peer){ .tlsa = &unusable, .n_tlsa = 1 };
	s.ctx = server_ctx(SLICE_NONE);
	shake(&c, &s, "mx.example");
	assert_int_equal(c.rc, -E_TLS);
	assert_non_null(strstr(c.why, "No usable DANE TLSA"));
	fini(&c, &s);
}

static void talks_plain(void *arg)
{
	struct side *s = arg;

	rt_io_put(s->io, SLICE("554 what?\r\n"));
	assert_int_equal(rt_io_flush(s->io), 0);
	s->rc = rt_io_fill(s->io);
}

static void failures_body(void *arg)
{
	struct side c = { 0 }, s = { 0 };
	struct tls_ctx *ctx = client_ctx((struct tls_client_conf){ .insecure = true });
	struct tls_peer peer = { .hostname = SLICE("mx.example"), .timeout_ms = 30 };

	pair(&c, &s);
	assert_int_equal(tls_connect(ctx, &c.io, &peer, NULL), -E_TIMEOUT); /* silence */
	rt_io_close(&s.io);
	assert_int_equal(tls_connect(ctx, &c.io, &peer, NULL), -E_IO);
	rt_io_close(&c.io);
	pair(&c, &s);
	struct rt_fiber *f = rt_fiber_start("plain", talks_plain, &s);
	peer.timeout_ms = 2000;
	assert_int_equal(tls_connect(ctx, &c.io, &peer, NULL), -E_TLS);
	assert_non_null(c.io); /* still ours to go on with in the clear */
	assert_int_equal(rt_fiber_join(f), 0);
	rt_fiber_unref(&f);
	rt_io_close(&c.io);
	rt_io_close(&s.io);
	tls_ctx_unref(&ctx);
}

static void bulk_body(void *arg)
{
	struct side c = { 0 }, s = { 0 };
	struct slice parts[40], line;
	char *x = xmalloc(100000);
	size_t total = 0;

	memset(x, 'x', 100000);
	c.ctx = client_ctx((struct tls_client_conf){ .insecure = true });
	s.ctx = server_ctx(SLICE_NONE);
	pair(&c, &s);
	for (int i = 0; i < 40; i++) {
		parts[i] = slice_new(x, (size_t)i * 1250);
		total += parts[i].len;
	}
	s.bulk = total * 5;
	struct rt_fiber *f = rt_fiber_start("server", server, &s);
	c.peer = (struct tls_peer){ .hostname = SLICE("mx.example"), .timeout_ms = 2000 };
	assert_int_equal(tls_connect(c.ctx, &c.io, &c.peer, &c.info), 0);
	rt_io_set_timeout(c.io, 5000, 5000);
	for (int i = 0; i < 5; i++)
		assert_int_equal(rt_io_writev(c.io, parts, 40), 0);
	assert_int_equal(rt_io_read_line(c.io, 100, &line, NULL), 0);
	assert_true(slice_eq_cstr(line, "done"));
	assert_int_equal(rt_io_fill(c.io), -E_CLOSED);
	assert_int_equal(rt_fiber_join(f), 0);
	rt_fiber_unref(&f);
	rt_io_close(&c.io);
	rt_io_close(&s.io);
	tls_ctx_unref(&c.ctx);
	tls_ctx_unref(&s.ctx);
	fini(&c, &s);
	free(x);
}

#define IN_RUNTIME(name) \
	static void name(void **state) \
	{ \
		run_in_runtime(1, name##_body, NULL); \
	}
IN_RUNTIME(handshakes)
IN_RUNTIME(options)
IN_RUNTIME(client_certs)
IN_RUNTIME(dane)
IN_RUNTIME(failures)
IN_RUNTIME(bulk)

static int setup(void **state)
{
	return tls_self_signed(SLICE("mx.example"), &cert, &key) | tls_self_signed(SLICE("client.example"), &other_cert, &other_key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshakes), cmocka_unit_test(options), cmocka_unit_test(client_certs), cmocka_unit_test(dane),
		cmocka_unit_test(failures), cmocka_unit_test(bulk),
	};
	return cmocka_run_group_tests_name("tls", tests, setup, NULL);
}
