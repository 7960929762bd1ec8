/* SPDX-License-Identifier: Apache-2.0 */
/* A time or duration that parses is printed, and that parses to the same. The input is also a format for times. */
#include "base/buf.h"
#include "base/err.h"
#include "base/timefmt.h"

static void check_format(struct slice fmt, struct buf *b)
{
	static const struct time_ns TIMES[] = { { 0, 0 }, { 1700000000, 123456789 }, { -1, 1999999999 }, { TIME_SEC_MIN, 0 }, { TIME_SEC_MAX, 1 } };

	for (size_t i = 0; i < ARRAY_LEN(TIMES); i++) {
		buf_clear(b);
		(void)!time_put_strftime_ns(b, fmt, TIMES[i], i % 2 ? 19800 : -3600);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size);
	struct buf b = { 0 };
	struct time_ns t, again;
	int64_t ns, ns2;

	if (time_parse_rfc3339_ns(in, &t) == 0) {
		assert(time_put_strftime_ns(&b, SLICE("%Y-%m-%dT%H:%M:%S%.fZ"), t, 0) == 0);
		assert(time_parse_rfc3339_ns(buf_view(&b), &again) == 0 && again.sec == t.sec && again.nsec == t.nsec);
	}
	buf_clear(&b);
	if (time_parse_rfc2822_ns(in, &t) == 0)
		assert(time_put_strftime_ns(&b, SLICE("%F %T%.f"), t, 0) == 0);
	buf_clear(&b);
	if (duration_parse(in, &ns) == 0) {
		duration_put(&b, ns);
		assert(duration_parse(buf_view(&b), &ns2) == 0 && ns2 == ns);
	}
	check_format(in, &b);
	buf_fini(&b);
	return 0;
}
