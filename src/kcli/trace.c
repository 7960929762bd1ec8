/* SPDX-License-Identifier: Apache-2.0 */
/* trace-smtp-client and trace-smtp-server. */
#include "base/addr.h"
#include "kcli/commands.h"
#include <stdio.h>

static int check_networks(const struct args *a, const char *option)
{
	struct cidr net;

	for (size_t i = 0; i < args_count(a, option); i++) {
		if (cidr_parse(slice_from_cstr(args_at(a, option, i)), &net) < 0) {
			fprintf(stderr, "Error: %s %s: %s\n", option, args_at(a, option, i), err_text());
			return 1;
		}
	}
	return 0;
}

static int not_yet(void)
{
	fprintf(stderr, "Error: this version cannot trace sessions yet\n");
	return 1;
}

int kcli_trace_smtp_server(const struct args *a)
{
	return check_networks(a, "--source") ? 1 : not_yet();
}

int kcli_trace_smtp_client(const struct args *a)
{
	return check_networks(a, "--source") || check_networks(a, "--mx-addr") ? 1 : not_yet();
}
