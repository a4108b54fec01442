/*
 * A command that is run again and again beside the container: its health check. The monitor has the
 * clock and nothing else: each time the command prints in how many milliseconds, counted from its own
 * start, it wants to be run next (0 = never again; nothing = as before). Two never overlap.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

#include "monitor.h"

void check_open(struct check *check, const struct options *options)
{
    check->argv = options->check;
    check->answer_fd = -1;
    check->interval_ms = options->check_ms;
    check->due_ms = check->argv != NULL && options->check_ms > 0 ? now_ms() + (int64_t)options->check_ms : NEVER;
}

/* The child of fork(2): it has nothing of ours but the pipe. */
static void become_check(const struct check *check, int answer)
{
    syscall(SYS_dup3, answer, STDOUT_FILENO, 0);
    become(check->argv, STDERR_FILENO + 1);
    _exit(127);
}

static void check_start(struct check *check)
{
    int pipe_fds[2];

    if (syscall(SYS_pipe2, pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return; /* no descriptors left: the next time is as good */
    check->pid = fork();
    if (check->pid == 0)
        become_check(check, pipe_fds[1]);
    close(pipe_fds[1]);
    check->answer_fd = pipe_fds[0];
    if (check->pid < 0)
        check_ended(check);
}

void check_run(struct check *check)
{
    int64_t now = now_ms();

    if (now < check->due_ms)
        return;
    if (check->pid <= 0) {
        check->started_ms = now;
        check_start(check);
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
    ssize_t count = read(check->answer_fd, answer, sizeof answer - 1);

    fd_close(&check->answer_fd);
    check->pid = 0;
    if (count <= 0)
        return;
    answer[count] = '\0';
    if (number_read(answer, &wanted_ms) == NULL || wanted_ms > MS_MAX || wanted_ms == check->interval_ms)
        return;
    check->interval_ms = wanted_ms;
    check->due_ms = wanted_ms > 0 ? check->started_ms + (int64_t)wanted_ms : NEVER;
}

void check_stop(struct check *check)
{
    check->due_ms = NEVER;
    if (check->pid > 0)
        kill(check->pid, SIGKILL);
}
