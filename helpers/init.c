/*
 * rpod-init: the last step into a container, its PID 1 on request, and the built-in image's program.
 *
 * Why this is not Python: it runs inside the container, after the root was changed, where nothing of
 * the host may be loaded; as PID 1 it lives as long as the container; and the process that execs the
 * user's program must be one whose /proc/self/exe gives nothing away (CVE-2019-5736), so it is
 * exec'ed from a sealed memfd.
 *
 *   rpod-init exec FD PATH ARGV0 ARGS…   execve, or errno as a decimal number on FD
 *   rpod-init init FD PATH ARGV0 ARGS…   the same in a child, as a PID 1 that forwards and reaps
 *   rpod-init pause                      PID 1 that only reaps
 *   rpod-init hello                      see hello.c
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "init.h"

#define EXIT_USAGE 125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

extern char **environ;

/* Tells the launcher why there is no program; the exit code that a shell would give. */
static int report(int fd, int error)
{
    char digits[24];
    struct text text = TEXT(digits);

    text_number(&text, (uint64_t)error, 1);
    write_all(fd, digits, text.used);
    return error == ENOENT || error == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int execute(int fd, char **argv)
{
    execve(argv[0], argv + 1, environ);
    return report(fd, errno);
}

/* Every signal is held back and fetched one by one: PID 1 has no defaults, and nothing can be missed. */
static void hold_signals(sigset_t *set, sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

    sigfillset(set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(set, faults[i]);
    sigprocmask(SIG_SETMASK, set, before);
    /* Ignored, children would vanish without their status. */
    signal(SIGCHLD, SIG_DFL);
}

/* Reaps all that have ended; true with `status` when `child` was among them. */
static bool reap(pid_t child, int *status)
{
    bool found = false;
    int each;
    pid_t pid;

    while ((pid = waitpid(-1, &each, WNOHANG | __WALL)) > 0) {
        if (pid == child) {
            *status = each;
            found = true;
        }
    }
    return found;
}

/*
 * The child is a process group of its own in our session, and the terminal's foreground one, so that
 * Ctrl-C reaches it and its children, and not us. Without a terminal there is nothing to hand on.
 */
static void take_foreground(void)
{
    pid_t group;

    setpgid(0, 0);
    group = getpid();
    for (int fd = 0; fd <= 2; fd++)
        if (ioctl(fd, TIOCSPGRP, &group) == 0) /* SIGTTOU is held back here */
            return;
}

static int supervise(int fd, char **argv)
{
    sigset_t set, before;
    int status = 0;
    pid_t child;

    hold_signals(&set, &before);
    child = fork();
    if (child < 0)
        return report(fd, errno);
    if (child == 0) {
        take_foreground();
        sigprocmask(SIG_SETMASK, &before, NULL);
        return execute(fd, argv);
    }
    fd_close(&fd); /* so that its end tells the launcher that the child's exec succeeded */
    while (!reap(child, &status)) {
        siginfo_t info;
        int number = sigwaitinfo(&set, &info);

        /* What the kernel sends us because of our own terminal or children is not for the child. */
        if (number > 0 && number != SIGCHLD && number != SIGTTIN && number != SIGTTOU)
            kill(child, number);
    }
    return exit_code(status);
}

static int pause_forever(void)
{
    sigset_t set, before;
    int ignored;

    hold_signals(&set, &before);
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(&set, &info);

        if (number == SIGINT || number == SIGTERM)
            return 0;
        reap(0, &ignored);
    }
}

static int usage(void)
{
    static const char text[] = "rpod-init: exec|init FD PATH ARGV0 ARGS…, pause or hello\n";

    write_all(STDERR_FILENO, text, sizeof text - 1);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    uint64_t fd;
    const char *rest;

    if (argc == 2 && strcmp(argv[1], "pause") == 0)
        return pause_forever();
    if (argc == 2 && strcmp(argv[1], "hello") == 0)
        return hello();
    if (argc < 5)
        return usage();
    rest = number_read(argv[2], &fd);
    if (rest == NULL || *rest != '\0' || fd > INT_MAX)
        return usage();
    /* The caller cannot set this: the descriptor has to come through its exec of us. */
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    if (strcmp(argv[1], "exec") == 0)
        return execute((int)fd, argv + 3);
    if (strcmp(argv[1], "init") == 0)
        return supervise((int)fd, argv + 3);
    return usage();
}
