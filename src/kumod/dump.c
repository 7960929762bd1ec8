/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump - prints what the documentation is made from: predefined caches, metrics, HTTP endpoints.
 */
#include <stdio.h>
#include "api/api.h"
#include "codec/val.h"
#include "kumod/kumod.h"
#include "policy/lruttl.h"
#include "rt/metrics.h"

static void put_json(const struct val *v)
{
	struct buf b = { 0 };
	json_put(&b, v, JSON_PRETTY);
	printf("%s\n", buf_cstr(&b));
	buf_fini(&b);
}

static void dump_lruttl(struct arena *a)
{
	struct val list = val_list();
	for (const struct lruttl_def *d = lruttl_defs(); d->name; d++) {
		struct val o = val_obj();
		val_put_lit(a, &o, "name", val_cstr(a, d->name));
		val_put_lit(a, &o, "capacity", val_int(d->capacity));
		val_put_lit(a, &o, "doc", d->doc ? val_cstr(a, d->doc) : val_null());
		val_push(a, &list, o);
	}
	put_json(&list);
}

static void dump_metrics(struct arena *a)
{
	static const char *const kinds[] = { [METRIC_COUNTER_K] = "Counter", [METRIC_GAUGE_K] = "Gauge", [METRIC_HISTOGRAM_K] = "Histogram" };
	struct val list = val_list();
	for (const struct metric_family *f = metrics_first(); f; f = f->next) {
		struct val o = val_obj(), labels = val_list(), buckets = val_list();
		for (int i = 0; f->labels[i]; i++)
			val_push(a, &labels, val_cstr(a, f->labels[i]));
		val_put_lit(a, &o, "name", val_cstr(a, f->name));
		for (const double *b = metric_buckets(f); f->kind == METRIC_HISTOGRAM_K && *b != 0; b++)
			val_push(a, &buckets, val_float(*b));
		val_put_lit(a, &o, "help", val_cstr(a, f->help));
		val_put_lit(a, &o, "doc", val_null());
		val_put_lit(a, &o, "metric_type", val_cstr(a, kinds[f->kind]));
		val_put_lit(a, &o, "label_names", labels);
		val_put_lit(a, &o, "buckets", buckets);
		val_put_lit(a, &o, "pruning", val_cstr(a, f->labels[0] && !f->keep ? "Pruning" : "NonPruning"));	/* whether metrics go when what they are about does */
		val_push(a, &list, o);
	}
	put_json(&list);
}

static void dump_openapi(void)
{
	struct buf b = { 0 };
	api_openapi_put(&b, api_endpoints(), API_PROCESS_KIND);
	printf("%s\n", buf_cstr(&b));
	buf_fini(&b);
}

int kumod_dump(const struct kumod_args *args)
{
	struct arena *a = arena_create();
	kumod_modules_register();
	if (args->dump_lruttl)
		dump_lruttl(a);
	else if (args->dump_metrics)
		dump_metrics(a);
	else
		dump_openapi();
	arena_destroy(&a);
	return 0;
}
