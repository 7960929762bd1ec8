/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privs - becomes the user that --user names, and keeps of root's rights only the one to bind ports below 1024.
 */
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "kumod/kumod.h"

static int set_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	data[0].effective = data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
	if (syscall(SYS_capset, &head, data) < 0)
		return err_errno(E_ACCESS, "keeping only CAP_NET_BIND_SERVICE");
	return 0;
}

int kumod_drop_privileges(const char *user)
{
	uid_t uid = geteuid();
	struct passwd *pw = user && *user ? getpwnam(user) : NULL;
	if (uid == 0 && !user)
		return err_set(E_ACCESS, "drop_privs: When running as root, you must set --user to the user to run as");
	if (user && !pw)
		return err_set(E_NOENT, "drop_privs: Invalid user %s", user);
	if (uid != 0) {
		if (pw && pw->pw_uid != uid)
			return err_set(E_ACCESS, "drop_privs: --user '%s' is uid %u, which is not yours (%u), and you are not root", user, (unsigned)pw->pw_uid, (unsigned)uid);
		return 0;
	}
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
		return err_errno(E_ACCESS, "drop_privs: becoming user %s", user);
	if (set_capabilities() < 0) {
		err_prefix("drop_privs");
		return -E_ACCESS;
	}
	return 0;
}
