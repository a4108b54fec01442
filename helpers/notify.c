/*
 * sd_notify(3) between a container and the service manager: the program writes to a socket of the
 * monitor's, and what it may say is passed on. systemd believes only processes of the service itself,
 * which the monitor is and the program, in its own cgroup and namespaces, may not be; and what names
 * processes or hands over descriptors is not the program's to say.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include "monitor.h"

#define MESSAGE_MAX 4096
#define PATIENCE_MS 1000

static const char *const passed_on[] = {"READY=", "STATUS=", "RELOADING=", "STOPPING=", "ERRNO=", "WATCHDOG=",
                                        "WATCHDOG_USEC=", "EXTEND_TIMEOUT_USEC=", "MONOTONIC_USEC="};

static bool may_pass(const char *line, size_t count)
{
    for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++) {
        size_t length = strlen(passed_on[i]);

        if (count >= length && strncmp(line, passed_on[i], length) == 0)
            return true;
    }
    return false;
}

/* An address that begins with '@' is an abstract one. */
static int manager_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    int fd;

    if (length >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) != 0)
        fd_close(&fd);
    return fd;
}

static void manager_tell(const char *path, const struct text *text)
{
    cleanup_close int fd = manager_connect(path);
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    if (fd >= 0 && poll(&room, 1, PATIENCE_MS) == 1)
        (void)!write(fd, text->data, text->used);
}

void notify_read(int fd, const char *manager)
{
    char message[MESSAGE_MAX + 1], kept[MESSAGE_MAX + 1];
    struct text text = TEXT(kept);
    ssize_t count = recv(fd, message, MESSAGE_MAX, MSG_DONTWAIT);
    const char *line = message, *end = message + (count > 0 ? count : 0);

    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline != NULL ? newline : end;

        if (may_pass(line, (size_t)(stop - line))) {
            text_bytes(&text, line, (size_t)(stop - line));
            text_add(&text, "\n");
        }
        line = stop + 1;
    }
    if (text.used > 0)
        manager_tell(manager, &text);
}
