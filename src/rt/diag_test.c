/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/err.h"
#include "rt/diag.h"

/* What of the target "lua" a filter shows (-1: nothing), as recorded; or the error. */
static const struct {
	const char *filter;
	int shown;
	const char *error;
} ROWS[] = {
	{ "", -1 }, { "info", DIAG_INFO }, { "INFO", DIAG_INFO }, { "error", DIAG_ERROR }, { "off", -1 }, { "none", -1 }, { "lua=info", DIAG_INFO },
	{ "lua=debug", DIAG_DEBUG }, { "lua=off", -1 }, { "error,lua=info", DIAG_INFO }, { "lua=info,error", DIAG_INFO }, { "lua", DIAG_TRACE },
	{ "kumod=debug", -1 }, { "lua=warn,lua=debug", DIAG_DEBUG }, { "lua=loud", 0, "error parsing level filter" }, { "=info", 0, "invalid filter directive" },
	{ "lua=", DIAG_TRACE }, { "lua=info,,", DIAG_INFO }, { ",", -1 }, { "lua=info;", 0, "error parsing level filter" }, { "lua[x]=debug", -1 },
	{ "[", 0, "invalid filter directive" }, { "3", DIAG_INFO }, { "lua=5", DIAG_TRACE }, { "0", -1 }, { "6", -1 }, { "a=b=c", 0, "error parsing level filter" },
};

static void filters(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
		int rc = diag_set_filter(ROWS[i].filter);
		assert_int_equal(rc, ROWS[i].error ? -E_INVAL : 0);
		if (ROWS[i].error) {
			assert_non_null(strstr(err_text(), ROWS[i].error));
			continue;
		}
		for (int l = DIAG_ERROR; l <= DIAG_TRACE; l++)
			assert_int_equal(diag_enabled(l, "lua"), l <= ROWS[i].shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(filters) };
	return cmocka_run_group_tests_name("diag", tests, NULL, NULL);
}
