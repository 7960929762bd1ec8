/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lua_os - os.execute, with the fiber waiting for the program instead of the thread.
 *
 * The program is a process group of its own: when the event's caller has no more time, or is canceled, the whole of it is killed.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "policy/internal.h"
#include "rt/fiber.h"
#include "rt/io.h"

extern char **environ;

/* 0 or an errno. The daemon reads its signals from a descriptor, which is why they are blocked in it: not in the program. */
static int start(const char *command, pid_t *pid)
{
	char *argv[] = { "sh", "-c", (char *)command, NULL };
	posix_spawnattr_t attr;
	sigset_t none;
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	int rc = posix_spawn(pid, "/bin/sh", NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	return rc;
}

static int wait_for(pid_t pid, int *status)
{
	int rc = 0, fd = rt_fiber_self() ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (fd >= 0) {	/* outside of fibers the thread may wait */
		rc = rt_fd_wait(fd, RT_READ, INT64_MAX);
		close(fd);
	}
	if (rc < 0)
		kill(-pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	return rc;
}

static int fn_execute(lua_State *L)
{
	const char *command = luaL_optstring(L, 1, NULL);
	int status = 0, rc;
	pid_t pid;
	if (!command) {
		lua_pushboolean(L, access("/bin/sh", X_OK) == 0);
		return 1;
	}
	errno = start(command, &pid);
	if (errno)
		return luaL_fileresult(L, 0, NULL);
	if ((rc = wait_for(pid, &status)) < 0)
		return policy_raise(L, rc);
	errno = 0;	/* or it is taken for the reason of a status other than 0 */
	return luaL_execresult(L, status);
}

void policy_os_open(lua_State *L)
{
	lua_getglobal(L, LUA_OSLIBNAME);
	lua_pushcfunction(L, fn_execute);
	lua_setfield(L, -2, "execute");
	lua_pop(L, 1);
}
