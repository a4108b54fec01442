/*
 * The event log (rootless/state/events.py): the line that says that the container's program has ended. It is the
 * monitor that writes it, because nobody else is sure to be there, and because it comes before whatever follows.
 */
#include <fcntl.h>

#include "monitor.h"

#define VARIABLE "RPOD_EVENT="
#define LONGEST 33000 /* what the launcher puts into the variable, and the rest of the line */

static const char *beginning(void)
{
    extern char **environ;

    for (char **variable = environ; *variable != NULL; variable++)
        if (strncmp(*variable, VARIABLE, strlen(VARIABLE)) == 0)
            return *variable + strlen(VARIABLE);
    return NULL;
}

void event_died(const struct options *options, int code)
{
    static char line[LONGEST + 128];
    struct text text = TEXT(line);
    const char *begin = beginning();
    cleanup_close int fd = -1;

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
    if (fd >= 0 && write(fd, line, text.used) < (ssize_t)text.used)
        (void)!write(fd, "\n", 1);
}
