/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/sync_pair.h"
#include <pthread.h>
#include <stdlib.h>
#include "base/xalloc.h"

struct sync_pair {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock */
	struct store *asked;	/* NULL: nothing to do, or done */
	bool stop;
	/* the thread's while `asked` is set, else the caller's */
	int rc;
	char *text;
};

static void sync_one(struct store *s, int *rc, char **text)
{
	struct patience p = patience_until(s);
	do
		*rc = s->kind->sync(s);
	while (patience_again(&p, *rc));
	*text = *rc < 0 ? xstrdup(err_text()) : NULL;
}

static void *pair_main(void *arg)
{
	struct sync_pair *p = arg;
	pthread_setname_np(pthread_self(), "spool sync");
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (p->asked == NULL && !p->stop)
			pthread_cond_wait(&p->changed, &p->lock);
		if (p->stop)
			break;
		pthread_mutex_unlock(&p->lock);
		sync_one(p->asked, &p->rc, &p->text);
		pthread_mutex_lock(&p->lock);
		p->asked = NULL;
		pthread_cond_signal(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct sync_pair *sync_pair_start(void)
{
	struct sync_pair *p = xzalloc(sizeof *p);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	int rc = pthread_create(&p->thread, NULL, pair_main, p);
	assert(rc == 0);
	return p;
}

static void tell(struct sync_pair *p, struct store *asked, bool stop)
{
	pthread_mutex_lock(&p->lock);
	p->asked = asked;
	p->stop = stop;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

void sync_pair_stop(struct sync_pair **p)
{
	tell(*p, NULL, true);
	pthread_join((*p)->thread, NULL);
	pthread_cond_destroy(&(*p)->changed);
	pthread_mutex_destroy(&(*p)->lock);
	free(*p);
	*p = NULL;
}

void sync_pair_run(struct sync_pair *p, struct store *const s[2], int rc[2], char *text[2])
{
	bool beside = s[0] != NULL && s[1] != NULL;
	if (beside)
		tell(p, s[1], false);
	for (int i = 0; i < (beside ? 1 : 2); i++) {
		rc[i] = 0;
		text[i] = NULL;
		if (s[i] != NULL)
			sync_one(s[i], &rc[i], &text[i]);
	}
	if (!beside)
		return;
	pthread_mutex_lock(&p->lock);
	while (p->asked != NULL)
		pthread_cond_wait(&p->changed, &p->lock);
	rc[1] = p->rc;
	text[1] = p->text;
	pthread_mutex_unlock(&p->lock);
}
