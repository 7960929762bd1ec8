/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/machine-info, /api/admin/memory/stats, POST /api/admin/spool-compact/v1. */
#include "kumo_version.h"
#include "api/api.h"
#include "base/timefmt.h"
#include "msg/msg.h"
#include "policy/nodeid.h"
#include "queue/memory.h"
#include "queue/queue.h"
#include "rt/clock.h"
#include "rt/offload.h"
#include "spool/spool.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

static int64_t started_us;

__attribute__((constructor)) static void remember_start(void)
{
	started_us = rt_wall_us();
}

struct facts {
	char hostname[256], distribution[64], os_version[128], cpu[256], mac[32], machine_id[64], container[32];
	struct utsname kernel;
	int64_t memory;
	long cores;
};

/* The value behind NAME and a separator in a file of "name = value" lines. */
static bool file_value(const char *path, const char *name, char *out, size_t size)
{
	char line[512];
	bool found = false;
	FILE *f = fopen(path, "re");

	while (f && !found && fgets(line, sizeof line, f)) {
		if (strncmp(line, name, strlen(name)) != 0)
			continue;
		struct slice v = slice_from_cstr(line + strlen(name));
		while (v.len && strchr(" \t=:\"", v.ptr[0]))
			v = slice_sub(v, 1, SIZE_MAX);
		while (v.len && strchr(" \n\"", v.ptr[v.len - 1]))
			v.len--;
		snprintf(out, size, "%.*s", SLICE_ARG(v));
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

/* The first network card that is not the loopback, by name. */
static void find_mac(struct facts *f)
{
	char best[256] = "", path[512];
	struct dirent *e;
	DIR *d = opendir("/sys/class/net");

	while (d && (e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.' && strcmp(e->d_name, "lo") != 0 && (!best[0] || strcmp(e->d_name, best) < 0))
			snprintf(best, sizeof best, "%s", e->d_name);
	}
	if (d)
		closedir(d);
	snprintf(path, sizeof path, "/sys/class/net/%s/address", best);
	if (!best[0] || !file_value(path, "", f->mac, sizeof f->mac))
		snprintf(f->mac, sizeof f->mac, "00:00:00:00:00:00");
}

static void collect(void *arg)
{
	struct facts *f = arg;

	if (gethostname(f->hostname, sizeof f->hostname - 1) < 0)
		f->hostname[0] = 0;
	uname(&f->kernel);
	if (!file_value("/etc/os-release", "ID=", f->distribution, sizeof f->distribution))
		snprintf(f->distribution, sizeof f->distribution, "linux");
	if (!file_value("/etc/os-release", "PRETTY_NAME=", f->os_version, sizeof f->os_version))
		snprintf(f->os_version, sizeof f->os_version, "Linux");
	if (!file_value("/proc/cpuinfo", "model name", f->cpu, sizeof f->cpu))
		snprintf(f->cpu, sizeof f->cpu, "%s", f->kernel.machine);
	(void)file_value("/etc/machine-id", "", f->machine_id, sizeof f->machine_id);
	if (access("/.dockerenv", F_OK) == 0)
		snprintf(f->container, sizeof f->container, "docker");
	else if (access("/run/.containerenv", F_OK) == 0)
		snprintf(f->container, sizeof f->container, "podman");
	f->memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	f->cores = sysconf(_SC_NPROCESSORS_ONLN);
	find_mac(f);
}

void api_machine_info(struct api_call *c)
{
	struct arena *a = c->arena;
	struct facts *f = arena_alloc(a, sizeof *f);
	struct val v = val_obj();
	struct buf since = { 0 };

	rt_offload(collect, f);
	time_put_rfc3339(&since, started_us, 6, true);
	val_put_lit(a, &v, "hostname", val_cstr(a, f->hostname));
	val_put_lit(a, &v, "mac_address", val_cstr(a, f->mac));
	val_put_lit(a, &v, "node_id", val_cstr(a, nodeid_text()));
	val_put_lit(a, &v, "num_cores", val_int(f->cores));
	val_put_lit(a, &v, "kernel_version", val_cstr(a, f->kernel.release));
	val_put_lit(a, &v, "platform", val_cstr(a, arena_printf(a, "linux/%s", f->kernel.machine)));
	val_put_lit(a, &v, "distribution", val_cstr(a, f->distribution));
	val_put_lit(a, &v, "os_version", val_cstr(a, f->os_version));
	val_put_lit(a, &v, "total_memory_bytes", val_int(f->memory));
	val_put_lit(a, &v, "container_runtime", f->container[0] ? val_cstr(a, f->container) : val_null());
	val_put_lit(a, &v, "cpu_brand", val_cstr(a, f->cpu));
	val_put_lit(a, &v, "fingerprint", val_cstr(a, arena_printf(a, "machine_uid=%s", f->machine_id)));
	val_put_lit(a, &v, "online_since", val_str(a, buf_view(&since)));
	val_put_lit(a, &v, "process_kind", val_cstr(a, API_PROCESS_KIND));
	val_put_lit(a, &v, "version", val_cstr(a, KUMO_VERSION));
	buf_fini(&since);
	api_json(c, &v);
}

void api_memory_stats(struct api_call *c)
{
	c->resp->content_type = SLICE("text/plain; charset=utf-8");
	buf_printf(&c->resp->body, "usage: %lld bytes\nsoft limit: %lld bytes\nhard limit: %lld bytes\nheadroom: %lld bytes\nstate: %s\n",
		   (long long)memory_usage(), (long long)memory_soft_limit(), (long long)memory_hard_limit(), (long long)memory_headroom(),
		   memory_is_short() ? "short, intake is refused" : memory_is_low() ? "low" : "fine");
	buf_printf(&c->resp->body, "messages waiting: %lld\nmessages in memory: %lld\nbodies and envelopes in memory: %lld bytes\n", (long long)queue_messages(),
		   (long long)msg_count_in_memory(), (long long)msg_bytes_in_memory());
}

struct compact_opts {
	struct slice name;
};
static const struct opt_field COMPACT_FIELDS[] = {
	OPT_STR(struct compact_opts, name, NULL, "the spool, as kumo.define_spool names it", .required = true),
	OPT_END
};
static const struct opt_desc API_SPOOL_COMPACT_REQUEST = { .name = "", .fields = COMPACT_FIELDS, .size = sizeof(struct compact_opts) };

void api_spool_compact(struct api_call *c)
{
	struct compact_opts o;

	if (api_body(c, &API_SPOOL_COMPACT_REQUEST, &o) < 0)
		return;
	if (!slice_eq_cstr(o.name, "data") && !slice_eq_cstr(o.name, "meta")) {
		http_respond(c->resp, 500, "Error: no spool named '%.*s' has been defined", SLICE_ARG(o.name));
		return;
	}
	int rc = spool_compact();
	if (rc < 0)
		http_respond(c->resp, 500, "Error: %s", err_text());
}
