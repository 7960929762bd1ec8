/* SPDX-License-Identifier: Apache-2.0 */
/* Names, zone texts, mail exchangers and their site names, against a resolver of zone texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "net/dns.h"
#include "rt/loop.h"
#include <pthread.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const ZONES[] = {
	"$ORIGIN ex.example.\n@ 60 MX 10 mx1\n@ 60 MX 10 mx2\n@ 60 MX 20 backup.other.example.\n@ 60 TXT \"v=spf1 -all\" \"second\"\n"
	"mx1 60 A 192.0.2.1\nmx1 60 AAAA 2001:db8::1\nmx2 60 A 192.0.2.2\nalias 60 CNAME mx1\nnull 60 MX 0 .\nonlya 60 A 192.0.2.9\n"
	"google 60 MX 5 gmail-smtp-in.l.google.com.\ngoogle 60 MX 10 ALT1.gmail-smtp-in.l.google.com.\ngoogle 60 MX 20 alt2.gmail-smtp-in.l.google.com.\n"
	"loop1 60 CNAME loop2\nloop2 60 CNAME loop1\naway 60 CNAME backup.other.example.\n",
	"$ORIGIN other.example.\n$TTL 60\nbackup IN A 198.51.100.1\n",
	"$ORIGIN xn--bcher-kva.example.\n@ 60 MX 10 mx\n  MX 20 my\n",
};

static int use_zones(const char *const *zones, size_t n)
{
	struct arena *a = arena_create();
	struct val list = val_list();
	struct dns_resolver *r;

	for (size_t i = 0; i < n; i++)
		val_push(a, &list, val_cstr(a, zones[i]));
	int rc = dns_resolver_from_test(&list, &r);
	if (rc == 0)
		dns_resolver_set_default(r);
	arena_destroy(&a);
	return rc;
}

static void check_site(const char *domain, int status, const char *site, const char *hosts)
{
	struct mx_site *m, *again;
	assert_int_equal(mx_resolve(SLICE("Ex.Example"), &m), 0);
	assert_string_equal(m->domain.ptr, "ex.example.");
	assert_int_equal(mx_resolve(SLICE("ex.example"), &again), 0);
	assert_ptr_equal(again, m);	/* from the cache */
	mx_site_unref(&again);
	mx_site_unref(&m);
	struct buf b = { 0 };

	assert_int_equal(mx_resolve(slice_from_cstr(domain), &m), 0);
	assert_int_equal(m->status, status);
	for (uint32_t i = 0; i < m->n; i++)
		buf_printf(&b, "%s%u %.*s", i ? ", " : "", m->hosts[i].preference, SLICE_ARG(m->hosts[i].name));
	assert_string_equal(buf_cstr(&b), hosts);
	assert_string_equal(m->site_name.ptr, site);
	buf_fini(&b);
	mx_site_unref(&m);
}

static void run_mx(void)
{
	check_site("ex.example", MX_OK, "(mx1|mx2|backup).(ex|other).example", "10 mx1.ex.example., 10 mx2.ex.example., 20 backup.other.example.");
	check_site("EX.example.", MX_OK, "(mx1|mx2|backup).(ex|other).example", "10 mx1.ex.example., 10 mx2.ex.example., 20 backup.other.example.");
	check_site("null.ex.example", MX_NULL, "", "0 .");
	check_site("onlya.ex.example", MX_OK, "onlya.ex.example", "1 onlya.ex.example.");
	check_site("onlya.ex.example:26", MX_OK, "onlya.ex.example:26", "1 onlya.ex.example.:26");
	check_site("google.ex.example", MX_OK, "(alt1|alt2)?.gmail-smtp-in.l.google.com",
		   "5 gmail-smtp-in.l.google.com., 10 alt1.gmail-smtp-in.l.google.com., 20 alt2.gmail-smtp-in.l.google.com.");
	check_site("nosuch.example", MX_NXDOMAIN, "", "");
	check_site("b\303\274cher.example", MX_OK, "(mx|my).xn--bcher-kva.example", "10 mx.xn--bcher-kva.example., 20 my.xn--bcher-kva.example.");
	check_site("[192.0.2.1]", MX_OK, "192.0.2.1", "1 192.0.2.1");
	check_site("[IPv6:2001:db8::1]", MX_OK, "2001:db8::1", "1 2001:db8::1");
	check_site("[192.0.2.1]:25", MX_OK, "192.0.2.1:25", "1 192.0.2.1:25");

	struct mx_site *m;
	static const char *const BAD[] = { "[192.0.2.999]", "[]", "[x]", "[192.0.2.1", "[IPv6:192.0.2.1]", "bad name", "a..example" };
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++)
		assert_int_equal(mx_resolve(slice_from_cstr(BAD[i]), &m), -E_INVAL);
}

static void run_addrs(void)
{
	struct mx_site *m;
	struct mx_addr *addrs;
	size_t n;

	assert_int_equal(mx_resolve(SLICE("ex.example"), &m), 0);
	assert_int_equal(mx_addrs(NULL, m, IP_V4_AND_V6, &addrs, &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(addrs[3].preference, 20);
	assert_string_equal(addrs[3].name.ptr, "backup.other.example.");
	free(addrs);
	assert_int_equal(mx_addrs(NULL, m, IP_V6_ONLY, &addrs, &n), 0);
	assert_int_equal(n, 1);
	free(addrs);
	mx_site_unref(&m);
}

static void run_lookups(void)
{
	struct dns_answer *a;
	struct dns_addrs ips;

	assert_int_equal(dns_lookup(NULL, SLICE("ex.example"), DNS_TXT, &a), 0);
	assert_int_equal(a->n, 1);
	assert_true(slice_eq_cstr(a->rrs[0].data, "v=spf1 -allsecond"));
	dns_answer_unref(&a);
	assert_int_equal(dns_lookup(NULL, SLICE("loop1.ex.example"), DNS_A, &a), 0);
	assert_int_equal(a->status, DNS_FAIL);
	dns_answer_unref(&a);
	assert_int_equal(dns_lookup_ip(NULL, SLICE("away.ex.example"), IP_V4_THEN_V6, &ips), 0);
	assert_int_equal(ips.n, 1);
	free(ips.addrs);
	assert_int_equal(dns_lookup_ip(NULL, SLICE("nosuch.example"), IP_V4_THEN_V6, &ips), 0);
	assert_int_equal(ips.n, 0);
}

/* A name server that answers every question for an address with 192.0.2.7, and all others with NXDOMAIN. */
static _Atomic int asked;

static void *name_server(void *arg)
{
	int fd = *(int *)arg;
	unsigned char q[1500];
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	ssize_t n;

	while ((n = recvfrom(fd, q, sizeof q - 16, 0, (struct sockaddr *)&from, &len)) > 12) {
		static const unsigned char RR[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7 };
		size_t end = 12;
		asked++;
		while (end < (size_t)n && q[end])
			end += q[end] + 1u;
		bool a = q[end + 2] == 1;
		end += 5;
		q[2] = 0x81;
		q[3] = a ? 0x80 : 0x83;
		memset(q + 6, 0, 6);
		q[7] = a;
		if (a)
			memcpy(q + end, RR, sizeof RR);
		if (sendto(fd, q, end + (a ? sizeof RR : 0), 0, (struct sockaddr *)&from, len) < 0)
			break;
		len = sizeof from;
	}
	return NULL;
}

static struct dns_resolver *forwarding_to(uint16_t port)
{
	struct arena *a = arena_create();
	struct val conf = val_obj(), servers = val_list();
	struct dns_resolver *r = NULL;

	val_push(a, &servers, val_cstr(a, arena_printf(a, "127.0.0.1:%u", port)));
	val_put_lit(a, &conf, "name_servers", servers);
	assert_int_equal(dns_resolver_from_config(&conf, "test", false, &r), 0);
	arena_destroy(&a);
	return r;
}

/* Questions leave for the network, names that libunbound would answer itself as well, and answers are kept. */
static void run_network(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	struct dns_answer *a;
	pthread_t thread;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(pthread_create(&thread, NULL, name_server, &fd), 0);
	struct dns_resolver *r = forwarding_to(ntohs(at.sin_port));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(dns_lookup(r, SLICE("Mail.Test"), DNS_A, &a), 0);
		assert_int_equal(a->status, DNS_OK);
		assert_int_equal(a->rrs[0].addr.bytes[3], 7);
		dns_answer_unref(&a);
	}
	assert_int_equal(asked, 1);
	assert_int_equal(dns_lookup(r, SLICE("no.test"), DNS_MX, &a), 0);
	assert_int_equal(a->status, DNS_NXDOMAIN);
	dns_answer_unref(&a);
	dns_resolver_unref(&r);
	shutdown(fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fd);
}

static void in_fiber(void *arg)
{
	assert_int_equal(use_zones(ZONES, ARRAY_LEN(ZONES)), 0);
	run_mx();
	run_addrs();
	run_lookups();
	run_network();
	dns_resolver_set_default(NULL);
}

static void test_zones(void **state)
{
	struct rt_conf conf = { .shards = 1, .offload_threads = 1 };

	assert_int_equal(rt_init(&conf), 0);
	rt_run(in_fiber, NULL);
	rt_fini();
}

static void test_zone_texts(void **state)
{
	static const char *const GOOD[] = { "$ORIGIN a.example.\n", "$ORIGIN a.example.\n@ 60 IN A 192.0.2.1\n", "$ORIGIN a.example.\n; comment\n@ 60 A 192.0.2.1 ; more\n",
					    "$ORIGIN a.example.\n@ 60 SOA ns. root. 1 2 3 4 5\n" };
	static const char *const BAD[] = { "", "nonsense zone", "$ORIGIN a.example.\n@ 60 A not-an-address\n", "$ORIGIN a.example.\n@ 60 NOPE x\n",
					   "$ORIGIN a.example.\n@ 60 MX x mx\n" };
	for (size_t i = 0; i < ARRAY_LEN(GOOD); i++)
		assert_int_equal(use_zones(&GOOD[i], 1), 0);
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++)
		assert_int_equal(use_zones(&BAD[i], 1), -E_INVAL);
	dns_resolver_set_default(NULL);
}

static void test_reverse(void **state)
{
	struct ipaddr ip;
	struct buf b = { 0 };

	assert_int_equal(ipaddr_parse(SLICE("192.0.2.1"), &ip), 0);
	dns_ptr_name_put(&b, &ip);
	assert_string_equal(buf_cstr(&b), "1.2.0.192.in-addr.arpa");
	buf_clear(&b);
	assert_int_equal(ipaddr_parse(SLICE("2001:db8::1"), &ip), 0);
	dns_reverse_put(&b, &ip);
	assert_string_equal(buf_cstr(&b), "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2");
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zones),
		cmocka_unit_test(test_zone_texts),
		cmocka_unit_test(test_reverse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
