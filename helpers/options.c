/* The command line of rpod-monitor: a table, then one loop. */
#include <limits.h>

#include "monitor.h"

enum kind { KIND_FD, KIND_PID, KIND_HELPER, KIND_FLAG, KIND_NUMBER, KIND_TEXT, KIND_FORMAT, KIND_LOCK, KIND_HELD, KIND_WATCH };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;
};

static const struct option known[] = {
    {"--pid", KIND_PID, offsetof(struct options, pid)},
    {"--helper", KIND_HELPER, 0},
    {"--stdin", KIND_FD, offsetof(struct options, stdin_fd)},
    {"--stdout", KIND_FD, offsetof(struct options, stdout_fd)},
    {"--stderr", KIND_FD, offsetof(struct options, stderr_fd)},
    {"--tty", KIND_FD, offsetof(struct options, tty_fd)},
    {"--stdin-once", KIND_FLAG, offsetof(struct options, stdin_once)},
    {"--listen", KIND_FD, offsetof(struct options, listen_fd)},
    {"--client", KIND_FD, offsetof(struct options, client_fd)},
    {"--log", KIND_TEXT, offsetof(struct options, log_path)},
    {"--log-format", KIND_FORMAT, 0},
    {"--log-max-size", KIND_NUMBER, offsetof(struct options, log_max_size)},
    {"--log-max-files", KIND_NUMBER, offsetof(struct options, log_max_files)},
    {"--journal-fields", KIND_TEXT, offsetof(struct options, journal_fields)},
    {"--exit-file", KIND_TEXT, offsetof(struct options, exit_file)},
    {"--event-log", KIND_TEXT, offsetof(struct options, event_log)},
    {"--cgroup", KIND_TEXT, offsetof(struct options, cgroup)},
    {"--timeout", KIND_NUMBER, offsetof(struct options, timeout_s)},
    {"--notify", KIND_FD, offsetof(struct options, notify_fd)},
    {"--notify-manager", KIND_TEXT, offsetof(struct options, notify_manager)},
    {"--check-ms", KIND_NUMBER, offsetof(struct options, check_ms)},
    {"--watch", KIND_WATCH, 0},
    {"--lock", KIND_LOCK, 0},
    {"--keep-lock", KIND_FLAG, offsetof(struct options, keep_lock)},
    {"--wait-ms", KIND_NUMBER, offsetof(struct options, wait_ms)},
    /* Inherited open, and so until exec; the number is of no further use. */
    {"--hold", KIND_HELD, 0},
};

static bool complain(const char *name, const char *problem)
{
    warn(name, problem);
    return false;
}

static const struct option *find(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0)
            return &known[i];
    return NULL;
}

static bool read_format(struct options *options, const char *value)
{
    if (strcmp(value, "none") == 0)
        options->log_format = LOG_NONE;
    else if (strcmp(value, "k8s-file") == 0)
        options->log_format = LOG_K8S;
    else if (strcmp(value, "json-file") == 0)
        options->log_format = LOG_JSON;
    else if (strcmp(value, "journald") == 0)
        options->log_format = LOG_JOURNAL;
    else
        return false;
    return true;
}

bool options_add_helper(struct options *options, pid_t pid)
{
    unsigned at = 0;

    while (at < options->helper_count && options->helpers[at] != 0)
        at++;
    if (at == HELPERS_MAX)
        return false;
    options->helpers[at] = pid;
    if (at == options->helper_count)
        options->helper_count++;
    return true;
}

static bool store(struct options *options, const struct option *option, const char *value)
{
    char *field = (char *)options + option->offset;
    uint64_t number = 0;
    const char *rest;

    if (option->kind == KIND_TEXT) {
        memcpy(field, &value, sizeof value);
        return true;
    }
    if (option->kind == KIND_FORMAT)
        return read_format(options, value);
    if (option->kind == KIND_WATCH) {
        if (options->watched_count == WATCHED_MAX)
            return false;
        options->watched[options->watched_count++] = value;
        return true;
    }
    rest = number_read(value, &number);
    if (rest == NULL || *rest != '\0' || (option->kind != KIND_NUMBER && number > INT_MAX))
        return false;
    switch (option->kind) {
    case KIND_NUMBER:
        memcpy(field, &number, sizeof number);
        break;
    case KIND_FLAG:
        memcpy(field, &(bool){number != 0}, sizeof(bool));
        break;
    case KIND_HELPER:
        return options_add_helper(options, (pid_t)number);
    case KIND_LOCK:
        if (options->lock_count == LOCKS_MAX)
            return false;
        options->locks[options->lock_count++] = (int)number;
        break;
    case KIND_FD:
    case KIND_PID:
        memcpy(field, &(int){(int)number}, sizeof(int));
        break;
    case KIND_HELD:
    case KIND_TEXT:
    case KIND_FORMAT:
    case KIND_WATCH:
        break;
    }
    return true;
}

/* The words up to the next "--", which becomes their end; NULL if there are none. What follows is the next `argv`. */
static char **read_command(char ***argv)
{
    char **first = *argv;

    while (**argv != NULL && strcmp(**argv, "--") != 0)
        ++*argv;
    if (**argv != NULL)
        *(*argv)++ = NULL;
    return *first == NULL ? NULL : first;
}

bool options_read(struct options *options, char **argv)
{
    *options = (struct options){
        .stdin_fd = -1,
        .stdout_fd = -1,
        .stderr_fd = -1,
        .tty_fd = -1,
        .listen_fd = -1,
        .client_fd = -1,
        .notify_fd = -1,
        .notify_manager = "",
        .log_max_files = 1,
        .journal_fields = "",
    };
    for (argv++; *argv != NULL; argv += 2) {
        const struct option *option;

        if (strcmp(*argv, "--") == 0) {
            argv++;
            options->cleanup = read_command(&argv);
            options->check = read_command(&argv);
            options->mend = read_command(&argv);
            break;
        }
        option = find(*argv);
        if (option == NULL)
            return complain(*argv, ": no such option");
        if (argv[1] == NULL || !store(options, option, argv[1]))
            return complain(*argv, ": its value is missing or makes no sense");
    }
    if (options->check_ms > MS_MAX || options->wait_ms > MS_MAX)
        return complain("--check-ms or --wait-ms", " is too long");
    if (options->wait_ms > 0)
        return options->cleanup != NULL || complain("--wait-ms", " needs a command after --");
    if (options->pid <= 1)
        return complain("--pid", " is needed");
    if ((options->log_format == LOG_K8S || options->log_format == LOG_JSON) && options->log_path == NULL)
        return complain("--log", " is needed with this --log-format");
    return true;
}
