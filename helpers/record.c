/*
 * The end of the container, written down: in its exit file, in the files of its locks, and as a line of the event log
 * (rootless/state/events.py). It is the monitor that does it, because nobody else is sure to be there, and because it
 * comes before whatever follows.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h> /* rename */

#include "monitor.h"

#define VARIABLE "RPOD_EVENT="
#define LONGEST 33000 /* what the launcher puts into the variable, and the rest of the line */

/*
 * Whoever waits has a lock's file open, and finds the code there when the container is removed right behind its end;
 * and where the disk is full it is the only place. So the room for it is taken when the container starts.
 */
void record_prepare(const struct options *options)
{
    for (unsigned i = 0; i < options->lock_count; i++)
        (void)!pwrite(options->locks[i], "    ", 4, 0);
}

static void note_code(const struct options *options, int code)
{
    char digits[24];
    struct text text = TEXT(digits);

    text_number(&text, (uint64_t)code, 1);
    text_add(&text, "\n");
    for (unsigned i = 0; i < options->lock_count; i++)
        (void)!pwrite(options->locks[i], digits, text.used, 0);
}

/*
 * A reader sees all of it or nothing. No fsync: what ran when the power failed is not running after
 * the boot, whatever its record says.
 */
static void write_exit_file(const struct options *options, int status, bool oom)
{
    char path[PATH_MAX], json[160];
    struct text name = TEXT(path), text = TEXT(json);
    cleanup_close int fd = -1;

    if (options->exit_file == NULL)
        return;
    text_add(&text, "{\"code\":");
    text_number(&text, (uint64_t)exit_code(status), 1);
    text_add(&text, ",\"signal\":");
    text_number(&text, WIFSIGNALED(status) ? (uint64_t)WTERMSIG(status) : 0, 1);
    text_add(&text, oom ? ",\"oom\":true" : ",\"oom\":false");
    text_add(&text, ",\"finished_ns\":");
    text_number(&text, epoch_ns(), 1);
    text_add(&text, "}\n");
    text_add(&name, options->exit_file);
    text_add(&name, ".tmp");
    if (text_end(&name))
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    else
        errno = ENAMETOOLONG;
    if (fd >= 0 && write_all(fd, json, text.used) && rename(path, options->exit_file) == 0)
        return;
    warn("the exit code cannot be recorded", errno == ENOSPC || errno == EDQUOT ? ": the disk is full" : "");
    if (fd >= 0)
        unlink(path);
}

static const char *beginning(void)
{
    extern char **environ;

    for (char **variable = environ; *variable != NULL; variable++)
        if (strncmp(*variable, VARIABLE, strlen(VARIABLE)) == 0)
            return *variable + strlen(VARIABLE);
    return NULL;
}

static void append_event(const struct options *options, int code)
{
    static char line[LONGEST + 128];
    struct text text = TEXT(line);
    const char *begin = beginning();
    cleanup_close int fd = -1;
    ssize_t written;

    if (options->event_log == NULL || begin == NULL || strlen(begin) > LONGEST)
        return;
    text_add(&text, begin);
    text_add(&text, ",\"ContainerExitCode\":");
    text_number(&text, (uint64_t)code, 1);
    text_add(&text, ",\"time_ns\":");
    text_number(&text, epoch_ns(), 1);
    text_add(&text, "}\n");
    fd = open(options->event_log, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    /* One call, so that no other line gets in between; a torn one is ended, so that it spoils no other. */
    written = fd < 0 ? 0 : write(fd, line, text.used);
    if (written > 0 && (size_t)written < text.used)
        (void)!write(fd, "\n", 1);
}

void record_end(const struct options *options, int status, bool oom)
{
    write_exit_file(options, status, oom);
    note_code(options, exit_code(status));
    append_event(options, exit_code(status));
}
