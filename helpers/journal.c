/*
 * The journal as the container's log: datagrams in journald's native protocol
 * (systemd.io/JOURNAL_NATIVE_PROTOCOL), with the fields that conmon writes, so that what reads
 * Podman's entries reads these. An entry is a line, of at most LOG_PIECE bytes; a longer one
 * becomes several, all but the last marked CONTAINER_PARTIAL_MESSAGE. So an entry fits into every
 * socket's buffer, and the protocol's way for large ones (a memfd) is never needed.
 *
 * A journal that is slow stops the program as a full pipe would; one that is gone costs entries,
 * which are counted, and the next one that arrives says how many.
 */
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "monitor.h"

#define SOCKET_PATH "/run/systemd/journal/socket"
#define LAST_ENTRY_MS 1000 /* for the rest of a line when its stream ends */

enum sent { SENT, BUSY, FAILED };

static bool journal_connect(struct journal *journal)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET_PATH};

    if (journal->fd >= 0)
        return true;
    journal->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (journal->fd >= 0 && connect(journal->fd, (struct sockaddr *)&address, sizeof address) != 0)
        fd_close(&journal->fd);
    return journal->fd >= 0;
}

void journal_open(struct journal *journal, const struct options *options)
{
    journal->fd = -1;
    journal->fields = options->journal_fields;
    journal_connect(journal);
}

static struct iovec part(const void *data, size_t count)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = count};
}

static struct iovec words(const char *text)
{
    return part(text, strlen(text));
}

/* A line without its end, which a value in this form must not contain. */
static enum sent entry_send(struct journal *journal, unsigned which, const void *line, size_t count, bool whole)
{
    struct iovec parts[] = {
        words(which == STREAM_ERR ? "PRIORITY=3\n" : "PRIORITY=6\n"),
        words(journal->fields),
        words(whole ? "" : "CONTAINER_PARTIAL_MESSAGE=true\n"),
        words("MESSAGE="),
        part(line, count),
        words("\n"),
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = sizeof parts / sizeof *parts};

    /* A second try: journald was restarted, and its socket is another one. */
    for (int try = 0; try < 2 && journal_connect(journal); try++) {
        while (sendmsg(journal->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN)
                return BUSY;
            fd_close(&journal->fd);
            break;
        }
        if (journal->fd >= 0)
            return SENT;
    }
    return FAILED;
}

/* Says in the journal how many entries it lacks. */
static void confess(struct journal *journal)
{
    char buffer[128];
    struct text text = TEXT(buffer);

    text_add(&text, "rpod: ");
    text_number(&text, journal->lost, 1);
    text_add(&text, " log records were lost here: journald did not take them");
    if (entry_send(journal, STREAM_ERR, buffer, text.used, true) == SENT)
        journal->lost = 0;
}

static enum sent line_send(struct journal *journal, unsigned which, size_t count, bool whole)
{
    enum sent result;

    if (journal->lost > 0)
        confess(journal);
    result = entry_send(journal, which, journal->lines[which].data, count, whole);
    if (result == FAILED)
        journal->lost++;
    if (result != BUSY)
        journal->lines[which].used = 0;
    return result;
}

size_t journal_data(struct journal *journal, unsigned which, const unsigned char *data, size_t count)
{
    size_t at = 0;

    while (at < count) {
        size_t used = journal->lines[which].used;
        size_t piece = count - at < LOG_PIECE - used ? count - at : LOG_PIECE - used;
        const unsigned char *newline = memchr(data + at, '\n', piece);

        if (newline != NULL)
            piece = (size_t)(newline - data) - at;
        memcpy(journal->lines[which].data + used, data + at, piece);
        if (newline == NULL && used + piece < LOG_PIECE)
            journal->lines[which].used += piece;
        else if (line_send(journal, which, used + piece, newline != NULL) == BUSY)
            break; /* the same bytes will be given once more */
        at += piece + (newline != NULL);
    }
    return at;
}

void journal_end(struct journal *journal, unsigned which)
{
    struct pollfd room = {.events = POLLOUT};

    if (journal->lines[which].used == 0)
        return;
    if (line_send(journal, which, journal->lines[which].used, true) != BUSY)
        return;
    room.fd = journal->fd;
    if (poll(&room, 1, LAST_ENTRY_MS) == 1)
        line_send(journal, which, journal->lines[which].used, true);
}
