/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_client.h"
#include "base/xalloc.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/io.h"
#include "rt/loop.h"
#include "rt/sync.h"
#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ANSWER_MAX (64 << 20)
#define HEADERS_MAX (256 << 10)

/* One for each shard; owned by it. */
struct driver {
	CURLM *multi;
	int epoll_fd;		/* libcurl's sockets, and kick_fd */
	int kick_fd;		/* a request was added */
	int64_t timer_ms;	/* when libcurl wants to be called; INT64_MAX: not */
	int active;		/* requests */
	bool running;		/* the fiber */
};

struct transfer {
	struct http_reply *reply;
	size_t max_bytes;
	bool too_long;
	struct rt_promise done;
	CURLcode code;
};

static _Thread_local struct driver *driver;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- libcurl's callbacks ----------------------------------------------------------------------------------------------- */

static int on_socket(CURL *h, curl_socket_t fd, int what, void *arg, void *known)
{
	struct driver *d = arg;
	struct epoll_event ev = { .data.fd = fd };

	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		curl_multi_assign(d->multi, fd, NULL);
		return 0;
	}
	ev.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (epoll_ctl(d->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0)
		return -1;
	curl_multi_assign(d->multi, fd, d);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
	struct driver *d = arg;

	d->timer_ms = ms < 0 ? INT64_MAX : rt_now_ms() + ms;
	return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	if (t->reply->body.len + size * n > t->max_bytes) {
		t->too_long = true;
		return 0;
	}
	buf_put(&t->reply->body, data, size * n);
	return size * n;
}

/* A new status line (after a redirect or 100) starts the fields anew. */
static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	struct slice line = slice_new(data, size * n);

	if (slice_starts(line, SLICE("HTTP/"))) {
		buf_clear(&t->reply->headers);
		buf_clear(&t->reply->body);
	} else if (slice_trim(line).len) {
		if (t->reply->headers.len + line.len > HEADERS_MAX)
			return 0;
		buf_slice(&t->reply->headers, slice_trim(line));
		buf_lit(&t->reply->headers, "\r\n");
	}
	return size * n;
}

static int on_debug(CURL *h, curl_infotype type, char *data, size_t len, void *arg)
{
	if (type == CURLINFO_TEXT || type == CURLINFO_HEADER_IN || type == CURLINFO_HEADER_OUT) {
		struct slice text = slice_trim(slice_new(data, len));
		diag_debug("http_client", "%.*s", SLICE_ARG(text));
	}
	return 0;
}

/* --- the driver -------------------------------------------------------------------------------------------------------- */

static void finish_done(struct driver *d)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(d->multi, &left)) != NULL) {
		struct transfer *t;
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		t->code = m->data.result;
		rt_promise_set(&t->done, 0, NULL);
	}
}

static void drive_once(struct driver *d)
{
	struct epoll_event events[16];
	uint64_t count;
	int running;
	int n = epoll_wait(d->epoll_fd, events, ARRAY_LEN(events), 0);

	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd, bits = 0;
		if (fd == d->kick_fd) {
			if (read(d->kick_fd, &count, sizeof count) < 0)
				count = 0;
			continue;
		}
		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			bits |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			bits |= CURL_CSELECT_OUT;
		curl_multi_socket_action(d->multi, fd, bits, &running);
	}
	if (d->timer_ms <= rt_now_ms()) {
		d->timer_ms = INT64_MAX;
		curl_multi_socket_action(d->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	finish_done(d);
}

static void drive(void *arg)
{
	struct driver *d = arg;
	int rc = 0;

	while (d->active > 0 && rc != -E_CANCELED) {
		int64_t wait = d->timer_ms == INT64_MAX ? 60000 : MAX(d->timer_ms - rt_now_ms(), (int64_t)0);
		rc = rt_fd_wait(d->epoll_fd, RT_READ, wait);
		drive_once(d);
	}
	d->running = false;
}

static struct driver *driver_get(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct driver *d = driver;

	if (d)
		return d;
	pthread_once(&once, init_curl);
	d = driver = xzalloc(sizeof *d);
	d->multi = curl_multi_init();
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	d->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(d->multi && d->epoll_fd >= 0 && d->kick_fd >= 0);
	d->timer_ms = INT64_MAX;
	ev.data.fd = d->kick_fd;
	epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, d->kick_fd, &ev);
	curl_multi_setopt(d->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(d->multi, CURLMOPT_SOCKETDATA, d);
	curl_multi_setopt(d->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(d->multi, CURLMOPT_TIMERDATA, d);
	return d;
}

static void wake(struct driver *d)
{
	uint64_t one = 1;

	if (d->running && write(d->kick_fd, &one, sizeof one) < 0)
		return;	/* full: it is awake */
}

static void kick(struct driver *d)
{
	if (!d->running) {
		d->running = true;
		rt_fiber_spawn("http_client", drive, d);
	}
	wake(d);
}

/* --- requests ---------------------------------------------------------------------------------------------------------- */

static void set_body(CURL *h, const struct http_fetch *f)
{
	if (f->body.ptr) {
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.len);
		curl_easy_setopt(h, CURLOPT_COPYPOSTFIELDS, f->body.len ? f->body.ptr : "");
	} else if (strcmp(f->method, "POST") == 0 || strcmp(f->method, "PUT") == 0) {
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, 0L);
		curl_easy_setopt(h, CURLOPT_COPYPOSTFIELDS, "");
	}
	if (strcmp(f->method, "HEAD") == 0)
		curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, f->method);
}

static struct curl_slist *header_list(const struct http_fetch *f)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	bool typed = false;

	for (size_t i = 0; i < f->n_headers; i++) {
		const struct http1_header *h = &f->headers[i];
		char *line = xasprintf(h->value.len ? "%.*s: %.*s" : "%.*s;", SLICE_ARG(h->name), SLICE_ARG(h->value));
		list = curl_slist_append(list, line);
		typed = typed || slice_eq_nocase(h->name, SLICE("content-type"));
		free(line);
	}
	return typed ? list : curl_slist_append(list, "Content-Type:");	/* none of libcurl's own */
}

static void set_options(CURL *h, const struct http_fetch *f, struct transfer *t, struct curl_slist *headers, char *error)
{
	curl_easy_setopt(h, CURLOPT_URL, f->url);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, f->no_redirects ? 0L : 1L);
	curl_easy_setopt(h, CURLOPT_MAXREDIRS, 10L);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)f->timeout_ms);
	curl_easy_setopt(h, CURLOPT_MAXAGE_CONN, f->idle_ms ? (long)MAX(f->idle_ms / 1000, (int64_t)1) : 90L);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(h, CURLOPT_PRIVATE, t);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, t);
	if (f->user_agent)
		curl_easy_setopt(h, CURLOPT_USERAGENT, f->user_agent);
	if (f->insecure) {
		curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (f->verbose) {
		curl_easy_setopt(h, CURLOPT_VERBOSE, 1L);
		curl_easy_setopt(h, CURLOPT_DEBUGFUNCTION, on_debug);
	}
	set_body(h, f);
}

static int explain(const struct http_fetch *f, const struct transfer *t, const char *error)
{
	enum err_code code = E_IO;

	switch (t->code) {
	case CURLE_OPERATION_TIMEDOUT:
		code = E_TIMEOUT;
		break;
	case CURLE_COULDNT_RESOLVE_HOST:
		code = E_DNS;
		break;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		code = E_INVAL;
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
		code = E_TLS;
		break;
	default:
		break;
	}
	if (t->too_long)
		return err_set(E_LIMIT, "%s: the answer is longer than %zu bytes", f->url, t->max_bytes);
	return err_set(code, "error sending request for url (%s): %s", f->url, error[0] ? error : curl_easy_strerror(t->code));
}

int http_fetch(const struct http_fetch *f, struct http_reply *out)
{
	struct driver *d = driver_get();
	struct transfer t = { .reply = out, .max_bytes = f->max_bytes ? f->max_bytes : ANSWER_MAX };
	struct curl_slist *headers = header_list(f);
	char error[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURL *h = curl_easy_init();

	*out = (struct http_reply){ 0 };
	rt_promise_init(&t.done);
	set_options(h, f, &t, headers, error);
	d->active++;
	curl_multi_add_handle(d->multi, h);
	kick(d);
	int rc = rt_promise_wait(&t.done, NULL);
	curl_multi_remove_handle(d->multi, h);
	d->active--;
	wake(d);	/* to end it when this was the last */
	if (rc == 0 && t.code != CURLE_OK)
		rc = explain(f, &t, error);
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
	out->status = (int)status;
	curl_easy_cleanup(h);
	curl_slist_free_all(headers);
	rt_promise_fini(&t.done);
	if (rc < 0)
		http_reply_fini(out);
	return rc;
}

void http_reply_fini(struct http_reply *r)
{
	buf_fini(&r->body);
	buf_fini(&r->headers);
}

bool http_reply_header_next(struct slice *rest, struct http1_header *out)
{
	struct slice line;

	while (rest->ptr && slice_split_next(rest, '\n', &line)) {
		ptrdiff_t colon = slice_chr(line, ':');
		if (colon <= 0)
			continue;
		out->name = slice_sub(line, 0, colon);
		out->value = slice_trim(slice_sub(line, colon + 1, SIZE_MAX));
		return true;
	}
	return false;
}

struct slice http_reply_header(const struct http_reply *r, struct slice name)
{
	struct slice rest = buf_view(&r->headers);
	struct http1_header h;

	while (http_reply_header_next(&rest, &h)) {
		if (slice_eq_nocase(h.name, name))
			return h.value;
	}
	return SLICE_NONE;
}
