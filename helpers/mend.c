/*
 * The network of a container that lives for months on a laptop. When one of its helpers has died, or the
 * host has another resolver, a command is run that knows what to do; it prints the pids of the helpers that
 * it started, which are the monitor's children as soon as it has ended (a child subreaper).
 *
 * A file is watched through its directory with F_NOTIFY (fcntl(2)): of inotify's instances a user has 128 in all,
 * and they are the desktop's. A kernel without it gives a container its resolver at the next start.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "monitor.h"

#define SETTLE_MS 500       /* whoever writes a resolv.conf writes more than one file */
#define AT_MOST_EVERY_MS 10000
#define LONGEST_MS 320000   /* between attempts that fail */

static struct stamp stamp_of(const char *path)
{
    struct stamp stamp = {0};
    struct stat info;
    cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &info) == 0)
        stamp = (struct stamp){info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
    return stamp;
}

static bool same(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->seconds == b->seconds &&
           a->nanoseconds == b->nanoseconds;
}

/* The descriptor stays open until exec: with it the watch ends. */
static void watch(const char *path)
{
    char folder[PATH_MAX];
    struct text text = TEXT(folder);
    size_t length = strlen(path);
    int fd;

    while (length > 1 && path[length - 1] != '/')
        length--;
    text_bytes(&text, path, length);
    if (!text_end(&text))
        return;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fcntl(fd, F_NOTIFY, (long)(DN_MODIFY | DN_CREATE | DN_MULTISHOT)) != 0)
        close(fd);
}

void mend_open(struct mend *mend, const struct options *options)
{
    mend->job = (struct job){.argv = options->mend, .answer_fd = -1};
    mend->due_ms = NEVER;
    mend->pause_ms = AT_MOST_EVERY_MS;
    mend->last_ms = now_ms() - AT_MOST_EVERY_MS;
    mend->watched = options->watched;
    mend->watched_count = mend->job.argv == NULL ? 0 : options->watched_count;
    for (unsigned i = 0; i < mend->watched_count; i++) {
        watch(mend->watched[i]); /* before the look: what changes in between is not missed */
        mend->stamps[i] = stamp_of(mend->watched[i]);
    }
}

static void mend_at(struct mend *mend, int64_t at_ms)
{
    if (mend->job.argv != NULL && at_ms < mend->due_ms)
        mend->due_ms = at_ms;
}

void mend_look(struct mend *mend)
{
    for (unsigned i = 0; i < mend->watched_count; i++) {
        struct stamp now = stamp_of(mend->watched[i]);

        if (same(&now, &mend->stamps[i]))
            continue;
        mend->stamps[i] = now;
        mend_at(mend, now_ms() + SETTLE_MS);
    }
}

void mend_helper_died(struct mend *mend)
{
    int64_t now = now_ms();
    int64_t earliest = mend->last_ms + mend->pause_ms;

    mend_at(mend, earliest > now ? earliest : now);
}

void mend_run(struct mend *mend)
{
    int64_t now = now_ms();

    if (now < mend->due_ms || job_runs(&mend->job))
        return;
    mend->due_ms = NEVER;
    mend->last_ms = now;
    if (!job_start(&mend->job))
        mend_at(mend, now + mend->pause_ms);
}

int64_t mend_due(const struct mend *mend)
{
    return job_runs(&mend->job) ? NEVER : mend->due_ms; /* its end wakes us */
}

void mend_ended(struct mend *mend, struct options *options)
{
    char answer[128];
    const char *at = answer;
    uint64_t pid;

    if (!job_ended(&mend->job, answer, sizeof answer)) {
        mend_at(mend, mend->last_ms + mend->pause_ms);
        if (mend->pause_ms < LONGEST_MS)
            mend->pause_ms *= 2;
        return;
    }
    mend->pause_ms = AT_MOST_EVERY_MS;
    for (; (at = number_read(at, &pid)) != NULL; at += *at == ' ') {
        if (pid > INT_MAX || !options_add_helper(options, (pid_t)pid))
            continue; /* it ends by itself, with the pipe that it has from us */
        if (!is_child((pid_t)pid))
            mend_helper_died(mend);
    }
}

void mend_stop(struct mend *mend)
{
    mend->due_ms = NEVER;
    job_kill(&mend->job);
}
