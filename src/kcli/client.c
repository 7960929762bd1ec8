/* SPDX-License-Identifier: Apache-2.0 */
#include "kcli/client.h"
#include "base/encode.h"
#include "base/xalloc.h"
#include "codec/http1.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX (256 << 20)

int client_open(struct client *c, const struct args *a)
{
	const char *endpoint = args_global(a, "--endpoint");

	if (!endpoint)
		endpoint = getenv("KUMO_KCLI_ENDPOINT");
	if (!endpoint)
		endpoint = "http://127.0.0.1:8000";
	struct slice url = slice_from_cstr(endpoint);
	if (!slice_starts_nocase(url, SLICE("http://")) && !slice_starts_nocase(url, SLICE("https://"))) {
		bool relative = slice_find(url, SLICE("://")) < 0;
		fprintf(stderr, relative ? "Error: relative URL without a base\nThe endpoint '%s' should be like http://127.0.0.1:8000\n" :
					   "Error: the endpoint '%s' is neither http:// nor https://\n",
			endpoint);
		return -E_INVAL;
	}
	while (url.len && url.ptr[url.len - 1] == '/')
		url.len--;
	c->base = xmemdup0(url.ptr, url.len);
	c->arena = arena_create();
	curl_global_init(CURL_GLOBAL_DEFAULT);
	return 0;
}

void client_close(struct client *c)
{
	free(c->base);
	arena_destroy(&c->arena);
	curl_global_cleanup();
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;

	if (b->len + size * n > ANSWER_MAX)
		return 0;
	buf_put(b, data, size * n);
	return size * n;
}

static int perform(CURL *h, const char *url, struct buf *answer, long *status)
{
	char error[CURL_ERROR_SIZE] = "";

	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, answer);
	curl_easy_setopt(h, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 20L);
	curl_easy_setopt(h, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
	CURLcode code = curl_easy_perform(h);
	if (code != CURLE_OK) {
		fprintf(stderr, "Error: error sending request for url (%s): %s%s\n", url, error[0] ? error : curl_easy_strerror(code),
			code == CURLE_COULDNT_CONNECT ? ". Is kumod running, with an HTTP listener there? --endpoint or KUMO_KCLI_ENDPOINT name another one" : "");
		return -E_IO;
	}
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, status);
	return 0;
}

int client_request(struct client *c, const char *method, const char *path, const struct val *body, struct slice *answer)
{
	struct buf text = { 0 }, got = { 0 }, url = { 0 };
	struct curl_slist *headers = NULL;
	long status = 0;
	CURL *h = curl_easy_init();

	buf_printf(&url, "%s%s", c->base, path);
	curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
	if (body) {
		json_put(&text, body, JSON_COMPACT);
		headers = curl_slist_append(headers, "Content-Type: application/json");
		curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)text.len);
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, buf_cstr(&text));
	}
	int rc = perform(h, buf_cstr(&url), &got, &status);
	if (rc == 0 && (status < 200 || status > 299)) {
		fprintf(stderr, "Error: request status %ld: %s. Response body: %s\n", status, http1_reason((int)status), buf_cstr(&got));
		rc = -E_REJECT;
	}
	if (rc == 0)
		*answer = arena_dup(c->arena, buf_view(&got));
	curl_slist_free_all(headers);
	curl_easy_cleanup(h);
	buf_fini(&text);
	buf_fini(&got);
	buf_fini(&url);
	return rc;
}

int client_request_json(struct client *c, const char *method, const char *path, const struct val *body, struct val *answer)
{
	struct slice text;
	int rc = client_request(c, method, path, body, &text);

	if (rc == 0 && (rc = json_parse(text, c->arena, answer)) < 0)
		fprintf(stderr, "Error: the answer is no JSON: %s\n", err_text());
	return rc;
}

char *client_path(struct client *c, const char *path, const char *const *pairs)
{
	struct buf b = { 0 };
	char sep = '?';

	buf_cstr_put(&b, path);
	for (; *pairs; pairs += 2) {
		if (!pairs[1])
			continue;
		buf_printf(&b, "%c%s=", sep, pairs[0]);
		percent_put(&b, slice_from_cstr(pairs[1]), "-._~");
		sep = '&';
	}
	char *out = arena_strdup(c->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}
