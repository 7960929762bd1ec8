/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "rt/io.h"
#include "rt/loop.h"

int rt_wait_signal(void)
{
	struct signalfd_siginfo si;
	sigset_t set;
	int rc;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return err_errno(E_IO, "signalfd");
	while ((rc = rt_fd_wait(fd, RT_READ, INT64_MAX)) >= 0)
		if (read(fd, &si, sizeof si) == sizeof si) {
			rc = (int)si.ssi_signo;
			break;
		}
	close(fd);
	return rc;
}
