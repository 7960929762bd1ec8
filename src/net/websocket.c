/* SPDX-License-Identifier: Apache-2.0 */
#include "net/websocket.h"
#include "base/encode.h"
#include "base/rand.h"
#include "rt/clock.h"
#include "rt/io.h"
#include "tls/digest.h"

void ws_accept_key_put(struct buf *b, struct slice key)
{
	struct buf text = { 0 };
	uint8_t md[TLS_MD_MAX];

	buf_slice(&text, key);
	buf_lit(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	size_t n = tls_digest(TLS_SHA1, buf_view(&text), md);
	base64_put(b, slice_new(md, n), BASE64_STD);
	buf_fini(&text);
}

void ws_frame_put(struct buf *b, enum ws_op op, struct slice payload, bool mask)
{
	uint8_t head[14] = { 0x80 | op }, key[4];
	size_t n = 2;

	if (payload.len < 126) {
		head[1] = (uint8_t)payload.len;
	} else if (payload.len < 65536) {
		head[1] = 126;
		head[n++] = (uint8_t)(payload.len >> 8);
		head[n++] = (uint8_t)payload.len;
	} else {
		head[1] = 127;
		for (int shift = 56; shift >= 0; shift -= 8)
			head[n++] = (uint8_t)((uint64_t)payload.len >> shift);
	}
	if (mask) {
		rand_bytes(key, sizeof key);
		head[1] |= 0x80;
		memcpy(head + n, key, sizeof key);
		n += sizeof key;
	}
	buf_put(b, head, n);
	size_t start = b->len;
	buf_slice(b, payload);
	for (size_t i = 0; mask && i < payload.len; i++)
		b->ptr[start + i] ^= (char)key[i % 4];
}

struct frame {
	bool fin, masked;
	uint8_t op, key[4];
	uint64_t len;
};

static int read_head(struct rt_io *io, struct frame *f)
{
	int rc = rt_io_fill_until(io, 2);
	if (rc < 0)
		return rc;
	const uint8_t *p = (const uint8_t *)rt_io_buffered(io).ptr;
	f->fin = p[0] & 0x80;
	f->op = p[0] & 15;
	f->masked = p[1] & 0x80;
	f->len = p[1] & 127;
	if (p[0] & 0x70)
		return err_set(E_PROTO, "websocket: reserved bits");
	rt_io_consume(io, 2);
	size_t more = f->len == 126 ? 2 : f->len == 127 ? 8 : 0;
	if (more) {
		if ((rc = rt_io_fill_until(io, more)) < 0)
			return rc;
		p = (const uint8_t *)rt_io_buffered(io).ptr;
		f->len = 0;
		for (size_t i = 0; i < more; i++)
			f->len = f->len << 8 | p[i];
		rt_io_consume(io, more);
	}
	if (f->masked) {
		if ((rc = rt_io_fill_until(io, 4)) < 0)
			return rc;
		memcpy(f->key, rt_io_buffered(io).ptr, 4);
		rt_io_consume(io, 4);
	}
	return 0;
}

static int read_payload(struct rt_io *io, const struct frame *f, struct buf *payload)
{
	uint64_t done = 0;

	while (done < f->len) {
		struct slice in = slice_sub(rt_io_buffered(io), 0, f->len - done);
		if (in.len == 0) {
			int rc = rt_io_fill(io);
			if (rc < 0)
				return rc;
			continue;
		}
		size_t start = payload->len;
		buf_slice(payload, in);
		for (size_t i = 0; f->masked && i < in.len; i++)
			payload->ptr[start + i] ^= (char)f->key[(done + i) % 4];
		done += in.len;
		rt_io_consume(io, in.len);
	}
	return 0;
}

int ws_read(struct rt_io *io, size_t max, enum ws_op *op, struct buf *payload)
{
	struct frame f;
	bool first = true;
	int rc;

	buf_clear(payload);
	do {
		if ((rc = read_head(io, &f)) < 0)
			return rc;
		if (f.len > max || payload->len > max - f.len)
			return err_set(E_LIMIT, "websocket: message of more than %zu bytes", max);
		if (f.op >= 8 && !first) {	/* a ping between two fragments: read and forgotten */
			struct buf skip = { 0 };
			rc = read_payload(io, &f, &skip);
			buf_fini(&skip);
			f.fin = false;
		} else if (first != (f.op != 0)) {
			return err_set(E_PROTO, "websocket: fragments out of order");
		} else {
			if (first)
				*op = f.op;
			first = false;
			rc = read_payload(io, &f, payload);
		}
	} while (rc == 0 && !f.fin);
	return rc;
}

/* Bytes of the frame at the front of IN, 0 while too few of them are there to tell. */
static uint64_t frame_bytes(struct slice in)
{
	const uint8_t *p = (const uint8_t *)in.ptr;
	if (in.len < 2)
		return 0;
	uint64_t len = p[1] & 127, head = p[1] & 0x80 ? 6 : 2;
	size_t more = len == 126 ? 2 : len == 127 ? 8 : 0;
	if (in.len < 2 + more)
		return 0;
	for (size_t i = 0; i < more; i++)
		len = (i ? len << 8 : 0) | p[2 + i];
	return len > UINT64_MAX - head - more ? UINT64_MAX : head + more + len;
}

/* Whether IN begins with a message that ws_read can take, or refuse, without waiting. */
static bool is_whole(struct slice in, size_t max)
{
	struct slice rest = in;
	for (;;) {
		uint64_t n = frame_bytes(rest);
		if (n == 0 || n > rest.len)
			return n > max && in.len > max;
		bool fin = rest.ptr[0] & 0x80, control = rest.ptr[0] & 8;
		if (fin && (!control || rest.ptr == in.ptr))
			return true;
		rest = slice_sub(rest, n, SIZE_MAX);
	}
}

int ws_wait(struct rt_io *io, size_t max, int64_t timeout_ms)
{
	const int64_t now = rt_now_ms(), end = timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
	int rc = 0;

	while (rc == 0 && !is_whole(rt_io_buffered(io), max)) {
		int64_t left = end - rt_now_ms();
		rt_io_set_timeout(io, end == INT64_MAX ? INT64_MAX : MAX(left, 0), INT64_MAX);
		rc = left <= 0 ? -E_TIMEOUT : rt_io_fill(io);
	}
	rt_io_set_timeout(io, INT64_MAX, INT64_MAX);
	return rc;
}
