/*
 * A command that is run again and again beside the container: its health check. The monitor has the
 * clock and nothing else: each time the command prints in how many milliseconds, counted from its own
 * start, it wants to be run next (0 = never again; nothing = as before). Two never overlap.
 */
#include "monitor.h"

void check_open(struct check *check, const struct options *options)
{
    check->job = (struct job){.argv = options->check, .answer_fd = -1};
    check->interval_ms = options->check_ms;
    check->due_ms = options->check != NULL && options->check_ms > 0 ? now_ms() + (int64_t)options->check_ms : NEVER;
}

void check_run(struct check *check)
{
    int64_t now = now_ms();

    if (now < check->due_ms)
        return;
    if (!job_runs(&check->job)) {
        check->started_ms = now;
        job_start(&check->job); /* where that fails, the next time is as good */
    }
    /* From when it was due, not from now: no drift. What was missed is not made up for. */
    check->due_ms += (int64_t)check->interval_ms;
    if (check->due_ms <= now)
        check->due_ms = now + (int64_t)check->interval_ms;
}

void check_ended(struct check *check)
{
    char answer[32];
    uint64_t wanted_ms;

    if (!job_ended(&check->job, answer, sizeof answer))
        return;
    if (number_read(answer, &wanted_ms) == NULL || wanted_ms > MS_MAX || wanted_ms == check->interval_ms)
        return;
    check->interval_ms = wanted_ms;
    check->due_ms = wanted_ms > 0 ? check->started_ms + (int64_t)wanted_ms : NEVER;
}

void check_stop(struct check *check)
{
    check->due_ms = NEVER;
    job_kill(&check->job);
}
