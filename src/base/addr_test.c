/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/addr.h"
#include "base/err.h"

static void check_ip(const char *in, const char *out)
{
	struct ipaddr a;
	struct buf b = { 0 };

	assert_int_equal(ipaddr_parse(slice_from_cstr(in), &a), out ? 0 : -E_INVAL);
	if (out) {
		ipaddr_put(&b, &a);
		assert_string_equal(buf_cstr(&b), out);
	}
	buf_fini(&b);
}

static void ips(void **state)
{
	check_ip("1.2.3.4", "1.2.3.4");
	check_ip("::1", "::1");
	check_ip("[::1]", "::1");
	check_ip("2001:DB8:0:0::1", "2001:db8::1");
	check_ip("::ffff:1.2.3.4", "1.2.3.4");
	check_ip("fe80::1%1", "fe80::1%lo");
	check_ip("[1.2.3.4]", NULL);
	check_ip("1.2.3", NULL);
	check_ip("", NULL);
	check_ip("1.2.3.4%1", NULL);
	check_ip("localhost", NULL);
	struct ipaddr a, b;
	assert_int_equal(ipaddr_parse(slice_new("1.2.3.4\0", 8), &a), -E_INVAL);
	assert_int_equal(ipaddr_parse(SLICE("127.9.9.9"), &a), 0);
	assert_int_equal(ipaddr_parse(SLICE("::1"), &b), 0);
	assert_false(ipaddr_eq(&a, &b));
}

static void check_net(const char *in, const char *out)
{
	struct netaddr a, back;
	struct sockaddr_storage ss;
	char text[128];

	assert_int_equal(netaddr_parse(slice_from_cstr(in), 25, &a), out ? 0 : -E_INVAL);
	if (!out)
		return;
	assert_string_equal(netaddr_text(&a, text), out);
	socklen_t len = netaddr_to_sockaddr(&a, &ss);
	netaddr_from_sockaddr(&ss, len, &back);
	assert_string_equal(netaddr_text(&back, text), out);
}

static void endpoints(void **state)
{
	check_net("1.2.3.4:26", "1.2.3.4:26");
	check_net("1.2.3.4", "1.2.3.4:25");
	check_net("[::1]:26", "[::1]:26");
	check_net("[::1]", "[::1]:25");
	check_net("::1", "[::1]:25");
	check_net("localhost:0", "127.0.0.1:0");
	check_net("/run/x.sock", "/run/x.sock");
	check_net("@abstract", "@abstract");
	check_net("1.2.3.4:", NULL);
	check_net("1.2.3.4:65536", NULL);
	check_net("1.2.3.4:-1", NULL);
	check_net(":25", NULL);
	check_net("nonsense", NULL);
	check_net(":25000x", NULL);
}

static bool in_net(const char *net, const char *ip)
{
	struct cidr c;
	struct ipaddr a;

	assert_int_equal(cidr_parse(slice_from_cstr(net), &c), 0);
	assert_int_equal(ipaddr_parse(slice_from_cstr(ip), &a), 0);
	return cidr_has(&c, &a);
}

static void networks(void **state)
{
	struct cidr c;

	assert_true(in_net("10.0.0.0/8", "10.255.0.1"));
	assert_false(in_net("10.0.0.0/8", "11.0.0.1"));
	assert_true(in_net("0.0.0.0/0", "11.0.0.1"));
	assert_false(in_net("0.0.0.0/0", "::1"));
	assert_true(in_net("10.0.0.1", "10.0.0.1"));
	assert_false(in_net("10.0.0.1", "10.0.0.2"));
	assert_true(in_net("10.0.0.128/25", "10.0.0.200"));
	assert_false(in_net("10.0.0.128/25", "10.0.0.100"));
	assert_true(in_net("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(in_net("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(in_net("::ffff:10.0.0.0/104", "10.1.2.3"));
	assert_true(in_net("::1", "::1"));
	assert_int_equal(cidr_parse(SLICE("10.0.0.1/8"), &c), -E_INVAL);
	assert_string_equal(err_text(), "10.0.0.1/8 is not a valid CIDR: host part of address was not zero. Did you mean 10.0.0.0/8?");
	assert_int_equal(cidr_parse(SLICE("10.0.0.0/33"), &c), -E_INVAL);
	assert_int_equal(cidr_parse(SLICE("10.0.0.0/"), &c), -E_INVAL);
	assert_int_equal(cidr_parse(SLICE("localhost"), &c), -E_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ips), cmocka_unit_test(endpoints), cmocka_unit_test(networks) };
	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
