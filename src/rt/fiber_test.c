/* SPDX-License-Identifier: Apache-2.0 */
#include <fenv.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "rt/offload.h"
#include "rt/test_util.h"

static void append(void *arg)
{
	char **at = arg;
	*(*at)++ = 'f';
}

static void order_body(void *arg)
{
	char trace[8] = "", *at = trace;

	*at++ = 'm';
	rt_fiber_spawn("append", append, &at);
	*at++ = 'm';
	assert_int_equal(rt_yield(), 0);
	*at++ = 'm';
	*at = '\0';
	assert_string_equal(trace, "mmfm");
	assert_string_equal(rt_fiber_name(), "main");
	assert_in_range(rt_fiber_stack_left(), 1, STACK_SIZE - 1);
}

static void order(void **state)
{
	run_in_runtime(1, order_body, NULL);
	assert_null(rt_fiber_self());
	assert_true(rt_fiber_stack_left() == SIZE_MAX);
}

/* Registers and floating-point modes survive switches; each fiber has its own rounding mode. */
static void rounding(void *arg)
{
	fesetround(FE_UPWARD);
	for (int i = 0; i < 10; i++) {
		rt_yield();
		assert_int_equal(fegetround(), FE_UPWARD);
	}
}

static void registers_body(void *arg)
{
	double sum = 0;

	rt_fiber_spawn("rounding", rounding, NULL);
	for (int i = 0; i < 10; i++) {
		sum += i;
		rt_yield();
		assert_int_equal(fegetround(), FE_TONEAREST);
	}
	assert_true(sum == 45);
}

static void registers(void **state)
{
	run_in_runtime(1, registers_body, NULL);
}

struct sleeper {
	int rc, rc_again;
};

static void sleep_long(void *arg)
{
	struct sleeper *s = arg;

	s->rc = rt_sleep_ms(1000000);
	s->rc_again = rt_sleep_ms(1);
}

static void cancel_body(void *arg)
{
	struct sleeper s = { 1, 1 }, early = { 1, 1 };
	struct rt_fiber *f = rt_fiber_start("sleeper", sleep_long, &s), *g = rt_fiber_start("early", sleep_long, &early);

	rt_fiber_cancel(g); /* before it first runs */
	assert_int_equal(rt_sleep_ms(1), 0);
	assert_int_equal(s.rc, 1);
	rt_fiber_cancel(f);
	assert_int_equal(rt_fiber_join(f), 0);
	assert_int_equal(rt_fiber_join(g), 0);
	assert_int_equal(s.rc, -E_CANCELED);
	assert_int_equal(s.rc_again, -E_CANCELED);
	assert_int_equal(early.rc, -E_CANCELED);
	rt_fiber_unref(&f);
	rt_fiber_unref(&g);
}

static void cancel(void **state)
{
	run_in_runtime(1, cancel_body, NULL);
}

static void deadlines_body(void *arg)
{
	struct rt_deadline outer, inner, none;

	rt_deadline_push(&outer, 1000); /* wide steps: the machine may be busy */
	rt_deadline_push(&none, INT64_MAX);
	rt_deadline_push(&inner, 300);
	assert_int_equal(rt_sleep_ms(5), 0);
	assert_in_range(rt_deadline_left_ms(), 1, 295);
	assert_int_equal(rt_sleep_ms(5000), -E_TIMEOUT);
	assert_int_equal(rt_sleep_ms(1), -E_TIMEOUT); /* sticky while it stands */
	assert_true(rt_deadline_pop(&inner));
	assert_false(rt_deadline_pop(&none));
	assert_int_equal(rt_sleep_ms(1), 0);
	rt_deadline_push(&inner, 10000);
	assert_int_equal(rt_sleep_ms(20000), -E_TIMEOUT);
	assert_false(rt_deadline_pop(&inner));
	assert_true(rt_deadline_pop(&outer));
	assert_true(rt_deadline_left_ms() == INT64_MAX);
	assert_int_equal(rt_check(), 0);
}

static void deadlines(void **state)
{
	run_in_virtual_time(1, deadlines_body, NULL);
	run_in_runtime(1, deadlines_body, NULL);
}

static void shielded(void *arg)
{
	struct sleeper *s = arg;
	struct rt_shield sh;
	struct rt_deadline d;

	rt_deadline_push(&d, 5);
	s->rc = rt_sleep_ms(100);
	rt_shield_enter(&sh);
	s->rc_again = rt_sleep_ms(20);
	rt_shield_leave(&sh);
	rt_deadline_pop(&d);
	assert_int_equal(rt_check(), -E_CANCELED);
}

static void shield_body(void *arg)
{
	struct sleeper s = { 1, 1 };
	struct rt_fiber *f = rt_fiber_start("shielded", shielded, &s);

	assert_int_equal(rt_sleep_ms(10), 0);
	rt_fiber_cancel(f); /* inside the shield */
	assert_int_equal(rt_fiber_join(f), 0);
	assert_int_equal(s.rc, -E_TIMEOUT);
	assert_int_equal(s.rc_again, 0);
	rt_fiber_unref(&f);
}

static void shield(void **state)
{
	run_in_virtual_time(1, shield_body, NULL);
}

static void err_other(void *arg)
{
	assert_string_equal(err_text(), "");
	err_set(E_INVAL, "of the other");
	rt_yield();
	assert_string_equal(err_text(), "of the other");
}

static void sets_err(void *arg)
{
	(void)!err_set(E_IO, "from a pool thread");
	*(bool *)arg = rt_shard_self() == NULL;
}

static void err_body(void *arg)
{
	bool elsewhere = false;

	err_set(E_INVAL, "of main");
	rt_fiber_spawn("other", err_other, NULL);
	rt_yield();
	assert_string_equal(err_text(), "of main");
	rt_yield();
	rt_yield();
	assert_string_equal(err_text(), "of main");
	rt_offload(sets_err, &elsewhere);
	assert_true(elsewhere);
	assert_string_equal(err_text(), "from a pool thread");
}

static void err_is_the_fibers_own(void **state)
{
	run_in_runtime(1, err_body, NULL);
}

static void never_ends(void *arg)
{
	struct sleeper *s = arg;

	s->rc = rt_sleep_ms(INT64_MAX);
	rt_fiber_spawn("late", sleep_long, s + 1);
}

static void stop_body(void *arg)
{
	for (int i = 0; i < rt_shard_count(); i++)
		rt_fiber_spawn_on(rt_shard_at(i), "never ends", never_ends, (struct sleeper *)arg + i * 2);
	assert_int_equal(rt_sleep_ms(20), 0);
}

static void stop_unwinds(void **state)
{
	struct sleeper s[4] = { 0 };

	run_in_runtime(2, stop_body, s);
	for (int i = 0; i < 4; i++)
		assert_int_equal(s[i].rc, -E_CANCELED);
}

static void asks_stop(void *arg)
{
	rt_stop();
}

static void until_stopped(void *arg)
{
	rt_fiber_spawn_on(rt_shard_at(1), "stop", asks_stop, NULL);
	*(int *)arg = rt_sleep_ms(INT64_MAX);
}

static void stop_from_outside(void **state)
{
	int rc = 0;

	run_in_runtime(2, until_stopped, &rc);
	assert_int_equal(rc, -E_CANCELED);
}

static void recurse(int n, volatile char *above)
{
	volatile char here[1024];

	here[0] = above[0];
	if (n)
		recurse(n - 1, here);
	here[1] = here[0];
}

static void deep(void *arg)
{
	volatile char c[1] = { 0 };

	recurse(100, c);
	rt_yield();
	recurse(100, c);
}

static void many_body(void *arg)
{
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 500; i++)
			rt_fiber_spawn("deep", deep, NULL);
		for (int i = 0; i < 5; i++)
			rt_yield();
	}
	assert_int_equal(rt_shard_self()->stacks.in_use, 1);
	assert_int_equal(rt_shard_self()->stacks.peak, 501);
}

static void stacks_are_reused(void **state)
{
	run_in_runtime(1, many_body, NULL);
}

static void signal_body(void *arg)
{
	kill(getpid(), SIGHUP);
	assert_int_equal(rt_wait_signal(), SIGHUP);
}

static void signals(void **state)
{
	run_in_runtime(1, signal_body, NULL);
}

static __attribute__((noinline)) int never_returns(volatile int *n)
{
	volatile char frame[200];

	frame[0] = (char)(*n)++;
	return *n > 0 ? never_returns(n) + frame[0] : 0;
}

static void overflow_body(void *arg)
{
	volatile int n = 0;
	never_returns(&n);
}

static void overflow_is_named(void **state)
{
	char text[200] = "";
	int fd[2], status;

#if CONTEXT_ASAN || CONTEXT_TSAN
	skip();
#endif
	assert_int_equal(pipe(fd), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fd[1], STDERR_FILENO);
		signal(SIGSEGV, SIG_DFL); /* cmocka's */
		run_in_runtime(1, overflow_body, NULL);
		_exit(0);
	}
	close(fd[1]);
	for (ssize_t n, at = 0; (n = read(fd[0], text + at, sizeof text - 1 - (size_t)at)) > 0;)
		at += n;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	assert_string_equal(text, "fatal: stack overflow in fiber \"main\"\n");
	close(fd[0]);
}

#define SWITCHES 1000000
static void spin(void *arg)
{
	for (int i = 0; i < SWITCHES; i++)
		rt_yield();
}

static void speed_body(void *arg)
{
	struct rt_fiber *f = rt_fiber_start("spin", spin, NULL), *g = rt_fiber_start("spin", spin, NULL);
	int64_t t = rt_now_us_exact();

	(void)!rt_fiber_join(f);
	(void)!rt_fiber_join(g);
	t = rt_now_us_exact() - t;
	printf("            %.1f ns a yield (a switch to the loop and one back)\n", (double)t * 1000 / (2 * SWITCHES));
	rt_fiber_unref(&f);
	rt_fiber_unref(&g);
}

static void speed(void **state)
{
	run_in_runtime(1, speed_body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order), cmocka_unit_test(registers), cmocka_unit_test(cancel), cmocka_unit_test(deadlines), cmocka_unit_test(shield),
		cmocka_unit_test(err_is_the_fibers_own), cmocka_unit_test(stop_unwinds), cmocka_unit_test(stop_from_outside),
		cmocka_unit_test(stacks_are_reused), cmocka_unit_test(signals), cmocka_unit_test(overflow_is_named),
		cmocka_unit_test(speed),
	};
	return cmocka_run_group_tests_name("fiber", tests, NULL, NULL);
}
