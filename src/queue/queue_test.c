/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues against a naive model: messages come in, are delivered, fail, wait, are suspended, bounced and moved at random, for days of virtual
 * time; in the end each must have exactly one final record and the spool must be empty.
 */
#include "queue/queue.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/map.h"
#include "base/rand.h"
#include "base/xalloc.h"
#include "net/dns.h"
#include "queue/admin.h"
#include "queue/ready/dispatch.h"
#include "queue/record.h"
#include "rt/fiber.h"
#include "rt/metrics_shared.h"
#include "rt/test_util.h"

/* --- the spool and the log: in memory --------------------------------------------------------------------------------------------- */

static struct rt_lock lock = RT_LOCK_INIT(RANK_LOG);
static struct {
	struct map env, body;
} disk;
struct fate {
	unsigned records[LOG_TYPE_COUNT];
};
static struct map fates;	/* id -> struct fate */

static struct slice id_key(const struct uuid *id) { return slice_new(id, sizeof(*id)); }

static void drop(struct buf *b)
{
	if (b)
		buf_fini(b);
	free(b);
}

static int disk_store(struct uuid id, const struct msg_env *env, const struct msg_body *body, bool sync)
{
	rt_lock(&lock);
	if (env) {
		struct buf *b = xzalloc(sizeof(*b));
		msg_env_put_json(b, env);
		drop(map_put(&disk.env, id_key(&id), b));
	}
	if (body) {
		struct buf *b = xzalloc(sizeof(*b));
		buf_slice(b, msg_body_view(body));
		drop(map_put(&disk.body, id_key(&id), b));
	}
	rt_unlock(&lock);
	return 0;
}

static int disk_load_env(struct uuid id, struct msg_env **out)
{
	rt_lock(&lock);
	struct buf *b = map_get(&disk.env, id_key(&id));
	int rc = b ? msg_env_parse_json(buf_view(b), out) : err_set(E_NOENT, "not in the spool");
	rt_unlock(&lock);
	return rc;
}

static int disk_load_body(struct uuid id, struct msg_body **out)
{
	rt_lock(&lock);
	struct buf *b = map_get(&disk.body, id_key(&id));
	if (b)
		*out = msg_body_copy(buf_view(b));
	rt_unlock(&lock);
	return b ? 0 : err_set(E_NOENT, "not in the spool");
}

static int disk_remove(struct uuid id)
{
	rt_lock(&lock);
	drop(map_del(&disk.env, id_key(&id)));
	drop(map_del(&disk.body, id_key(&id)));
	rt_unlock(&lock);
	return 0;
}
static const struct msg_storage DISK = { disk_load_env, disk_load_body, disk_store, disk_remove };

int log_disposition(const struct log_event *ev)
{
	struct uuid id = msg_id(ev->msg);
	rt_lock(&lock);
	struct fate *f = map_get(&fates, id_key(&id));
	assert_non_null(f);
	f->records[ev->type]++;
	rt_unlock(&lock);
	return 0;
}

const char *log_type_name(enum log_type t) { return "record"; }

static unsigned finals(const struct fate *f)
{
	return f->records[LOG_DELIVERY] + f->records[LOG_BOUNCE] + f->records[LOG_EXPIRATION] + f->records[LOG_ADMIN_BOUNCE];
}

/* --- a protocol that fails as told -------------------------------------------------------------------------------------------------- */

static struct {
	int connect_fails, transfail, bounce, error, slow;	/* of 100 */
	int64_t slow_ms;
	unsigned open, most_open;
	_Atomic unsigned delivered;
	_Atomic int64_t latest_ms;
} peer;

static bool chance(int percent) { return rand_below(100) < (uint64_t)percent; }

static int fake_connect(struct dispatcher *d)
{
	if (d->state)
		return CONNECT_REUSED;
	if (rt_sleep_ms(1 + rand_below(5)) < 0)
		return -E_CANCELED;
	if (chance(peer.connect_fails))
		return err_set(E_IO, "refused");
	d->state = d;
	rt_lock(&lock);
	peer.open++;
	peer.most_open = MAX(peer.most_open, peer.open);
	rt_unlock(&lock);
	dispatch_connected(d);
	return CONNECT_NEW;
}

static bool fake_more(struct dispatcher *d) { return chance(30); }

static int fake_deliver(struct dispatcher *d)
{
	assert_int_equal(d->n_msgs, 1);
	if (rt_sleep_ms(chance(peer.slow) ? peer.slow_ms : 1) < 0)
		return -E_CANCELED;
	if (chance(peer.error))
		return err_set(E_IO, "connection reset");
	enum log_type type = chance(peer.transfail) ? LOG_TRANSIENT_FAILURE : chance(peer.bounce) ? LOG_BOUNCE : LOG_DELIVERY;
	struct smtp_response r = response_of(type == LOG_DELIVERY ? 250 : type == LOG_BOUNCE ? 550 : 451, 0, SLICE("as told"));
	struct log_event ev = dispatch_event(d, type, d->msgs[0], r);
	record_write(&ev);
	peer.latest_ms = rt_now_ms();
	if (type == LOG_DELIVERY) {
		peer.delivered++;
		dispatch_delivered(d, 0);
	} else if (type == LOG_BOUNCE) {
		dispatch_bounced(d, 0);
	} else {
		dispatch_transfail(d, 0, &r);
	}
	return 0;
}

static void fake_drop(struct dispatcher *d)
{
	if (!d->state)
		return;
	d->state = NULL;
	rt_lock(&lock);
	peer.open--;
	rt_unlock(&lock);
	dispatch_disconnected(d);
}
static bool fake_close(struct dispatcher *d)
{
	bool had = d->state != NULL;
	fake_drop(d);
	return had;
}
static const struct queue_protocol FAKE = { .connect = fake_connect, .more_candidates = fake_more, .deliver = fake_deliver, .close = fake_close, .fini = fake_drop };

/* --- parts ------------------------------------------------------------------------------------------------------------------------------ */

static struct uuid put_message(const char *domain, bool spooled)
{
	struct buf rcpt = { 0 }, name = { 0 };
	buf_printf(&rcpt, "user@%s", domain);
	struct slice r = buf_view(&rcpt);
	uint8_t node[6] = { 1, 2, 3, 4, 5, 6 };
	static uint16_t seq;
	struct uuid id = uuid_v1_at(rt_wall_us(), ++seq, node);
	struct msg *m = msg_create(id, msg_env_create(SLICE("s@from.example"), &r, 1), msg_body_copy(SLICE("Subject: x\r\n\r\nhi\r\n")));
	rt_lock(&lock);
	map_put(&fates, id_key(&id), xzalloc(sizeof(struct fate)));
	rt_unlock(&lock);
	if (spooled)
		assert_int_equal(msg_save(m), 0);
	assert_int_equal(msg_queue_name(m, &name), 0);
	assert_int_equal(queue_insert(m, buf_view(&name)), 0);
	buf_fini(&rcpt);
	buf_fini(&name);
	return id;
}

static void check_all_final(void)
{
	struct map_iter it = { 0 };
	while (map_next(&fates, &it))
		if (finals(it.value) != 1) {
			const struct fate *f = it.value;
			fail_msg("%u final records: delivery %u bounce %u expiration %u admin %u, transient %u", finals(f), f->records[LOG_DELIVERY],
				 f->records[LOG_BOUNCE], f->records[LOG_EXPIRATION], f->records[LOG_ADMIN_BOUNCE], f->records[LOG_TRANSIENT_FAILURE]);
		}
	assert_int_equal(map_len(&disk.env), 0);
	assert_int_equal(map_len(&disk.body), 0);
	assert_int_equal(queue_messages(), 0);
}

static void wait_until_empty(int64_t max_ms)
{
	int64_t end = rt_now_ms() + max_ms, step = 20;
	for (; (queue_messages() > 0 || map_len(&disk.env) > 0) && rt_now_ms() < end; step = MIN(step * 2, 600000))	/* a jump of the virtual clock costs 2 ms */
		assert_int_equal(rt_sleep_ms(step), 0);
	assert_int_equal(rt_sleep_ms(1000), 0);
}

#define DAY_MS (86400LL * 1000)

static void straight(void)
{
	memset(&peer, 0, sizeof(peer));
	for (int i = 0; i < 500; i++)
		put_message("d1.example", true);
	wait_until_empty(60000);
	check_all_final();
	assert_int_equal(peer.delivered, 500);
	assert_true(peer.most_open <= 32);
}

static void expires(void)
{
	memset(&peer, 0, sizeof(peer));
	peer.transfail = 100;
	int64_t start = rt_now_ms();
	struct uuid id = put_message("d2.example", true);
	wait_until_empty(9 * DAY_MS);
	struct fate *f = map_get(&fates, id_key(&id));
	assert_int_equal(f->records[LOG_EXPIRATION], 1);
	/* 20 m doubled each time: the sum passes 7 days at the tenth attempt */
	assert_int_equal(f->records[LOG_TRANSIENT_FAILURE], 9);
	assert_in_range(peer.latest_ms - start, 3 * DAY_MS, 7 * DAY_MS);
	check_all_final();
}

static void overflows(void)
{
	memset(&peer, 0, sizeof(peer));
	peer.slow = 100;
	peer.slow_ms = 2000;	/* max_ready is reached, the rest waits up to a minute */
	for (int i = 0; i < 1200; i++)
		put_message("d3.example", true);
	wait_until_empty(DAY_MS);
	check_all_final();
	assert_int_equal(peer.delivered, 1200);
	assert_in_range(peer.most_open, 30, 32);
}

static void admin(void)
{
	struct queue_criteria c = { .domain = SLICE("d4.example") };
	struct uuid id, bounce;
	struct arena *a = arena_create();
	struct val list;
	memset(&peer, 0, sizeof(peer));
	assert_int_equal(queue_admin_suspend(&c, SLICE("maintenance"), 3600 * 1000000000LL, &id), 0);
	struct uuid m = put_message("d4.example", true);
	assert_int_equal(rt_sleep_ms(10000), 0);
	struct fate *f = map_get(&fates, id_key(&m));
	assert_int_equal(finals(f), 0);
	assert_int_equal(f->records[LOG_TRANSIENT_FAILURE], 1);
	assert_int_equal(queue_admin_bounce(&c, SLICE("purge"), 60 * 1000000000LL, false, &bounce), 0);
	assert_int_equal(rt_sleep_ms(1000), 0);
	assert_int_equal(f->records[LOG_ADMIN_BOUNCE], 1);
	queue_admin_bounce_list(a, &list);
	assert_int_equal(list.n, 1);
	assert_int_equal(val_get_lit(&list.items[0], "total_bounced")->i, 1);
	assert_true(queue_admin_suspend_cancel(id));
	assert_false(queue_admin_suspend_cancel(id));
	assert_int_equal(rt_sleep_ms(61000), 0);
	queue_admin_bounce_list(a, &list);
	assert_int_equal(list.n, 0);
	put_message("d4.example", true);
	wait_until_empty(60000);
	check_all_final();
	arena_destroy(&a);
}

static void rebinds(void)
{
	struct uuid id;
	struct queue_criteria c = { .domain = SLICE("d5.example") };
	struct arena *a = arena_create();
	struct val data = val_obj();
	memset(&peer, 0, sizeof(peer));
	assert_int_equal(queue_admin_suspend(&c, SLICE("hold"), 3600 * 1000000000LL, &id), 0);
	struct uuid m = put_message("d5.example", true);
	assert_int_equal(rt_sleep_ms(1000), 0);
	val_put_lit(a, &data, "queue", val_cstr(a, "d6.example"));
	struct queue_rebind r = { .which = c, .reason = SLICE("moved"), .data = &data };
	assert_int_equal(queue_admin_rebind(&r), 0);
	wait_until_empty(60000);
	struct fate *f = map_get(&fates, id_key(&m));
	assert_int_equal(f->records[LOG_ADMIN_REBIND], 1);
	assert_int_equal(f->records[LOG_DELIVERY], 1);
	assert_true(queue_admin_suspend_cancel(id));
	check_all_final();
	arena_destroy(&a);
}

/* A domain without an address: no ready queue, but retries until it expires. */
static void unresolvable(void)
{
	memset(&peer, 0, sizeof(peer));
	struct uuid id = put_message("nosuch.invalid", true);
	wait_until_empty(9 * DAY_MS);
	struct fate *f = map_get(&fates, id_key(&id));
	assert_int_equal(f->records[LOG_EXPIRATION], 1);
	check_all_final();
}

static void random_operations(void)
{
	struct uuid ids[4] = { 0 };
	memset(&peer, 0, sizeof(peer));
	peer.connect_fails = 20;
	peer.transfail = 30;
	peer.bounce = 10;
	peer.error = 5;
	peer.slow = 2;
	peer.slow_ms = 20000;
	for (int i = 0; i < 1500; i++) {
		char domain[32];
		snprintf(domain, sizeof(domain), "d%d.example", (int)rand_below(8));
		struct queue_criteria c = { .domain = slice_from_cstr(domain) };
		switch (rand_below(40)) {
		case 0:
			assert_int_equal(queue_admin_suspend(&c, SLICE("s"), (int64_t)rand_below(600) * 1000000000LL, &ids[0]), 0);
			break;
		case 1:
			assert_int_equal(queue_admin_bounce(&c, SLICE("b"), (int64_t)rand_below(60) * 1000000000LL, false, &ids[1]), 0);
			break;
		case 2:
			queue_admin_suspend_cancel(ids[0]);
			queue_admin_bounce_cancel(ids[1]);
			break;
		case 3: {
			char name[64];
			snprintf(name, sizeof(name), "unspecified->mx.%s@smtp_client", domain);
			assert_int_equal(queue_admin_suspend_ready_q(slice_from_cstr(name), SLICE("r"), (int64_t)rand_below(600) * 1000000000LL, &ids[2]), 0);
			break;
		}
		case 4:
			assert_int_equal(rt_sleep_ms(rand_below(30000)), 0);
			break;
		default:
			put_message(domain, chance(80));
		}
		if (chance(20))
			assert_int_equal(rt_sleep_ms(rand_below(50)), 0);
	}
	wait_until_empty(9 * DAY_MS);
	check_all_final();
}

/* What waits when everything stops is in the spool, also what had not been stored yet. */
static void stops(void)
{
	memset(&peer, 0, sizeof(peer));
	peer.connect_fails = 100;
	for (int i = 0; i < 50; i++)
		put_message("d7.example", i % 2 == 0);
	assert_int_equal(rt_sleep_ms(3000), 0);
	peer.connect_fails = 0;
	peer.slow = 100;
	peer.slow_ms = 3600000;	/* longer than stopping waits */
	for (int i = 0; i < 50; i++)
		put_message("d1.example", i % 2 == 0);
	assert_int_equal(rt_sleep_ms(100), 0);
	queue_stop();
	assert_int_equal(peer.open, 0);
	assert_int_equal(map_len(&disk.env), 100);
	assert_int_equal(map_len(&disk.body), 100);
}

static struct val zones(struct arena *a)
{
	struct buf b = { 0 };
	struct val list = val_list();
	buf_lit(&b, "$ORIGIN example.\n@ 600 SOA ns.example. root.example. 1 1 1 1 1\n@ 600 NS ns.example.\n");
	for (int i = 0; i < 8; i++)
		buf_printf(&b, "d%d 600 MX 10 mx.d%d\nmx.d%d 600 A 127.0.0.1\n", i, i, i);
	val_push(a, &list, val_str(a, buf_view(&b)));
	buf_fini(&b);
	return list;
}

static void body(void *arg)
{
	struct arena *a = arena_create();
	struct val z = zones(a);
	struct dns_resolver *r;
	if (dns_resolver_from_test(&z, &r) < 0)
		fail_msg("%s", err_text());
	dns_resolver_set_default(r);
	arena_destroy(&a);
	msg_set_storage(&DISK);
	metrics_shared_register();
	queue_init();
	dispatch_register(PROTO_SMTP, &FAKE);
	assert_int_equal(queue_start(), 0);
	static void (*const parts[])(void) = { straight, expires, overflows, admin, rebinds, unresolvable, random_operations, stops };
	static const char *const names[] = { "straight", "expires", "overflows", "admin", "rebinds", "unresolvable", "random operations", "stops" };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (getenv("QUEUE_TEST") && strcmp(getenv("QUEUE_TEST"), names[i]) != 0)
			continue;
		fprintf(stderr, "%s\n", names[i]);
		parts[i]();
	}
}

static void in_virtual_days(void **state)
{
	const char *shards = getenv("QUEUE_TEST_SHARDS");
	run_in_virtual_time(shards ? atoi(shards) : 1, body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_virtual_days) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
