/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - requests to the HTTP API of a daemon, one at a time, with libcurl.
 *
 * A failure is printed to stderr as "Error: …" here; callers only pass the exit status on.
 *
 * Thread:  main thread.   Memory: answers go into the arena given.   Yields: never (it blocks).
 */
#pragma once
#include "codec/val.h"
#include "kcli/args.h"

struct client {
	char *base;		/* "http://127.0.0.1:8000", without a final slash */
	struct arena *arena;
};
int client_open(struct client *c, const struct args *a) WARN_UNUSED;	/* the endpoint: option, environment, default */
void client_close(struct client *c);
/* BODY NULL: none. The answer as text; 0 or -E_… */
int client_request(struct client *c, const char *method, const char *path, const struct val *body, struct slice *answer) WARN_UNUSED;
int client_request_json(struct client *c, const char *method, const char *path, const struct val *body, struct val *answer) WARN_UNUSED;
char *client_path(struct client *c, const char *path, const char *const *pairs);	/* path?name=value&…, encoded; pairs end with NULL */
