/*
 * rpod-monitor: what stays with a container for as long as it lives.
 *
 * Why this is not Python: it waits for days, once per container, and an interpreter that waits
 * costs 5 to 15 MiB. This costs a fraction of one. It decides nothing: the launcher (Python) has
 * set up everything, execs into it, and it execs into `rpod cleanup`.
 *
 * The story is main(): run until init ends, drain, record, say goodbye, exec the cleanup.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

#include "monitor.h"

#define KILL_AFTER_MS 10000      /* --timeout: from SIGTERM to SIGKILL */
#define HELPER_GRACE_MS 2000     /* a helper: the same, and once more for the kernel to end it */
#define ANSWER_MS 1000           /* for `k` */
#define SLOW_CLIENT_MS 10000     /* a client that takes nothing after the end */

enum { SLOT_SIGNALS, SLOT_MEMORY, SLOT_NOTIFY, SLOT_PUMP, POLLS = SLOT_PUMP + PUMP_POLLS };

struct monitor {
    struct options options;
    struct pump pump;
    struct check check;
    struct mend mend;
    int signals_fd;
    int memory_fd; /* memory.events of the container's cgroup */
    bool oom;
    bool ended;
    int status; /* of init, as waitpid(2) gives it */
};

static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

void warn(const char *what, const char *problem)
{
    char line[160];
    struct text text = TEXT(line);

    text_add(&text, "rpod-monitor: ");
    text_add(&text, what);
    text_add(&text, problem);
    text_add(&text, "\n");
    write_all(STDERR_FILENO, line, text.used);
}

void become(char **argv, unsigned first_fd)
{
    extern char **environ;
    sigset_t none;

    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    /* Linux 5.9, older than overlay in a user namespace. */
    syscall(SYS_close_range, first_fd, ~0U, 0U);
    signal(SIGIO, SIG_IGN); /* one of a watch may still be waiting, and would end us */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGIO, SIG_DFL);
    execve(argv[0], argv, environ);
}

bool is_child(pid_t pid)
{
    siginfo_t info;

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

/* ---- what the loop hears ---- */

/* Reaps every child, also those that init, a helper or the launcher left behind. */
static void reap(struct monitor *monitor)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        if (pid == monitor->options.pid && !monitor->ended) {
            monitor->ended = true;
            monitor->status = status;
        }
        if (pid == monitor->check.job.pid)
            check_ended(&monitor->check);
        if (pid == monitor->mend.job.pid)
            mend_ended(&monitor->mend, &monitor->options);
        for (unsigned i = 0; i < monitor->options.helper_count; i++)
            if (monitor->options.helpers[i] == pid) {
                monitor->options.helpers[i] = 0;
                mend_helper_died(&monitor->mend);
            }
    }
}

static void signal_init(const struct monitor *monitor, int number)
{
    if (!monitor->ended)
        kill(monitor->options.pid, number);
}

static void signals_read(struct monitor *monitor)
{
    struct signalfd_siginfo info;

    while (read(monitor->signals_fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == SIGIO)
            mend_look(&monitor->mend);
        else if (info.ssi_signo != SIGCHLD)
            signal_init(monitor, (int)info.ssi_signo);
    reap(monitor);
}

/*
 * Reads the counter when the kernel says that it changed and once at the end: systemd may remove
 * the cgroup as soon as it is empty, and then nobody can read it any more.
 */
static void memory_read(struct monitor *monitor)
{
    char events[512];
    ssize_t count = pread(monitor->memory_fd, events, sizeof events - 1, 0);
    const char *line;
    uint64_t kills;

    if (count <= 0) {
        fd_close(&monitor->memory_fd);
        return;
    }
    events[count] = '\0';
    line = strstr(events, "\noom_kill ");
    if (line != NULL && number_read(line + strlen("\noom_kill "), &kills) != NULL)
        monitor->oom = kills > 0;
}

static void memory_open(struct monitor *monitor)
{
    char path[PATH_MAX];
    struct text text = TEXT(path);

    monitor->memory_fd = -1;
    if (monitor->options.cgroup == NULL)
        return;
    text_add(&text, monitor->options.cgroup);
    text_add(&text, "/memory.events");
    if (text_end(&text))
        monitor->memory_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (monitor->memory_fd >= 0)
        memory_read(monitor); /* also tells the kernel to report changes from here on */
}

/* Signals arrive through a descriptor, so that there is one place that waits. */
static void signals_open(struct monitor *monitor)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGIO);
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++)
        sigaddset(&set, forwarded[i]);
    sigprocmask(SIG_SETMASK, &set, NULL);
    /* Ignored, a child would vanish without its status. */
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    monitor->signals_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!is_child(monitor->options.pid)) {
        warn("--pid", " is not a child of the monitor; the exit status of the container's init is lost");
        monitor->ended = true;
        monitor->status = W_EXITCODE(255, 0);
    }
}

/* Waits until something happens or `until_ms` has come, and handles it. */
static void turn(struct monitor *monitor, int64_t until_ms)
{
    struct pollfd polls[POLLS];
    int timeout_ms;

    polls[SLOT_SIGNALS] = (struct pollfd){.fd = monitor->signals_fd, .events = POLLIN};
    polls[SLOT_MEMORY] = (struct pollfd){.fd = monitor->memory_fd, .events = POLLPRI};
    polls[SLOT_NOTIFY] = (struct pollfd){.fd = monitor->options.notify_fd, .events = POLLIN};
    timeout_ms = pump_prepare(&monitor->pump, polls + SLOT_PUMP);
    if (until_ms != NEVER) {
        int64_t rest_ms = until_ms - now_ms();

        rest_ms = rest_ms < 0 ? 0 : rest_ms > INT_MAX ? INT_MAX : rest_ms;
        if (timeout_ms < 0 || rest_ms < timeout_ms)
            timeout_ms = (int)rest_ms;
    }
    if (poll(polls, POLLS, timeout_ms) < 0)
        return;
    if (polls[SLOT_MEMORY].revents != 0)
        memory_read(monitor);
    if (polls[SLOT_NOTIFY].revents != 0)
        notify_read(monitor->options.notify_fd, monitor->options.notify_manager);
    pump_dispatch(&monitor->pump, polls + SLOT_PUMP);
    if (polls[SLOT_SIGNALS].revents != 0)
        signals_read(monitor);
}

/* ---- the phases ---- */

static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

static void run(struct monitor *monitor)
{
    int64_t term_at_ms = NEVER, kill_at_ms = NEVER;
    uint64_t longest_s = INT64_MAX / 2000;

    if (monitor->options.timeout_s > 0 && monitor->options.timeout_s < longest_s)
        term_at_ms = now_ms() + (int64_t)monitor->options.timeout_s * 1000;
    while (!monitor->ended) {
        int64_t commands_ms = earlier(monitor->check.due_ms, mend_due(&monitor->mend));

        turn(monitor, earlier(commands_ms, earlier(term_at_ms, kill_at_ms)));
        if (!monitor->ended) {
            check_run(&monitor->check);
            mend_run(&monitor->mend);
        }
        if (now_ms() >= term_at_ms) {
            signal_init(monitor, SIGTERM);
            term_at_ms = NEVER;
            kill_at_ms = now_ms() + KILL_AFTER_MS;
        } else if (now_ms() >= kill_at_ms) {
            signal_init(monitor, SIGKILL);
            kill_at_ms = NEVER;
        }
    }
    check_stop(&monitor->check);
    mend_stop(&monitor->mend);
}

static void signal_helpers(const struct monitor *monitor, int number)
{
    for (unsigned i = 0; i < monitor->options.helper_count; i++)
        if (monitor->options.helpers[i] > 1 && is_child(monitor->options.helpers[i]))
            kill(monitor->options.helpers[i], number);
}

static bool helpers_alive(const struct monitor *monitor)
{
    for (unsigned i = 0; i < monitor->options.helper_count; i++)
        if (monitor->options.helpers[i] > 1 && is_child(monitor->options.helpers[i]))
            return true;
    return false;
}

/* Everything that the program wrote goes to the log and the clients. */
static void drain(struct monitor *monitor)
{
    struct pump *pump = &monitor->pump;

    pump_drain(pump);
    while (!pump_drained(pump)) {
        turn(monitor, pump->progress_ms + SLOW_CLIENT_MS);
        if (now_ms() >= pump->progress_ms + SLOW_CLIENT_MS)
            pump_forget_slow(pump);
    }
    log_close(&pump->log);
}

/*
 * Who runs `rpod run x; rpod rm x` does not wait for slirp4netns, to which the kernel's removal of its
 * tap device takes 20 ms. Where nobody waits, the locks are kept until the helpers are gone, so
 * that after `rpod stop` the published ports are free.
 */
static void release_locks(struct options *options)
{
    for (unsigned i = 0; i < options->lock_count; i++)
        fd_close(&options->locks[i]);
}

/* Tells the clients and waits for the foreground one to say that it cleans up; whether it does. */
static bool say_goodbye(struct monitor *monitor)
{
    int64_t until_ms = now_ms() + ANSWER_MS;

    pump_say_exit(&monitor->pump, exit_code(monitor->status), monitor->oom);
    while (pump_awaits_answer(&monitor->pump) && now_ms() < until_ms)
        turn(monitor, until_ms);
    /* Before the client sees the end of its stream: it looks at the lock next. */
    if (monitor->pump.handed_over)
        release_locks(&monitor->options);
    pump_close(&monitor->pump);
    return monitor->pump.handed_over;
}

static void await_helpers(struct monitor *monitor, int64_t until_ms)
{
    while (helpers_alive(monitor) && now_ms() < until_ms)
        turn(monitor, until_ms);
}

/*
 * They got SIGTERM when init ended; who is still there after the grace gets SIGKILL. Even that does not
 * end a process that hangs in the kernel (a dead FUSE or NFS), and the cleanup does not wait for one.
 */
static void end_helpers(struct monitor *monitor, int64_t kill_at_ms)
{
    await_helpers(monitor, kill_at_ms);
    signal_helpers(monitor, SIGKILL);
    await_helpers(monitor, now_ms() + HELPER_GRACE_MS);
}

/* The cleanup inherits nothing but the lock, where a restart policy wants nobody to come in between. */
static void exec_cleanup(const struct options *options)
{
    bool kept = options->keep_lock && options->lock_count > 0;

    if (kept && options->locks[0] != KEPT_LOCK)
        syscall(SYS_dup3, options->locks[0], KEPT_LOCK, 0);
    become(options->cleanup, kept ? KEPT_LOCK + 1U : KEPT_LOCK);
    warn("the cleanup", " cannot be executed; the next command does its work");
}

/* Between two starts of a container: what `rpod stop` ends like any other monitor. */
static void wait_for_restart(const struct options *options)
{
    int64_t until_ms = now_ms() + (int64_t)options->wait_ms;
    int64_t rest_ms;

    while ((rest_ms = until_ms - now_ms()) > 0)
        poll(NULL, 0, rest_ms < INT_MAX ? (int)rest_ms : INT_MAX);
    exec_cleanup(options);
}

int main(int argc, char **argv)
{
    static struct monitor monitor;
    int64_t helpers_kill_at_ms;
    bool handed_over;

    (void)argc;
    if (!options_read(&monitor.options, argv))
        return 125;
    if (monitor.options.wait_ms > 0) {
        wait_for_restart(&monitor.options);
        return 1;
    }
    record_prepare(&monitor.options);
    pump_open(&monitor.pump, &monitor.options);
    memory_open(&monitor);
    check_open(&monitor.check, &monitor.options);
    signals_open(&monitor);
    mend_open(&monitor.mend, &monitor.options); /* a watch sends signals */
    reap(&monitor); /* who ended before the exec sends no signal any more */

    run(&monitor);
    signal_helpers(&monitor, SIGTERM);
    helpers_kill_at_ms = now_ms() + HELPER_GRACE_MS;
    drain(&monitor);
    if (monitor.memory_fd >= 0)
        memory_read(&monitor);
    record_end(&monitor.options, monitor.status, monitor.oom);
    handed_over = say_goodbye(&monitor);
    end_helpers(&monitor, helpers_kill_at_ms);
    if (handed_over || monitor.options.cleanup == NULL)
        return 0;
    exec_cleanup(&monitor.options);
    return 1;
}
