/* A command that the monitor runs beside the container, and the few words that it answers on its standard output. */
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

#include "monitor.h"

/* The child of fork(2): it has nothing of ours but the pipe. */
static void become_job(const struct job *job, int answer)
{
    syscall(SYS_dup3, answer, STDOUT_FILENO, 0);
    become(job->argv, STDERR_FILENO + 1);
    _exit(127);
}

bool job_runs(const struct job *job)
{
    return job->pid > 0;
}

bool job_start(struct job *job)
{
    int pipe_fds[2];

    if (syscall(SYS_pipe2, pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    job->pid = fork();
    if (job->pid == 0)
        become_job(job, pipe_fds[1]);
    close(pipe_fds[1]);
    job->answer_fd = pipe_fds[0];
    if (job->pid > 0)
        return true;
    fd_close(&job->answer_fd);
    job->pid = 0;
    return false;
}

bool job_ended(struct job *job, char *answer, size_t size)
{
    ssize_t count = read(job->answer_fd, answer, size - 1);

    fd_close(&job->answer_fd);
    job->pid = 0;
    answer[count > 0 ? count : 0] = '\0';
    return count > 0;
}

void job_kill(const struct job *job)
{
    if (job_runs(job))
        kill(job->pid, SIGKILL);
}
