/*
 * Moves bytes: container to log and clients, clients to container. Nothing blocks and nothing is
 * lost: a stream is read again only when every client has its last chunk, a client is read only
 * as far as the container takes its input. The kernel's buffers are the queues.
 */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "pump.h"

#define TTY_RETRY_MS 100
#define TTY_DRAIN_MAX (1U << 20)
enum { SLOT_LISTEN, SLOT_STDIN, SLOT_LOG, SLOT_STREAMS, SLOT_CLIENTS = SLOT_STREAMS + STREAMS };

void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void stream_open(struct stream *stream, int fd, char type, const char *name)
{
    stream->fd = fd;
    stream->type = type;
    stream->log.name = name;
    stream->log.which = type == 'o' ? STREAM_OUT : STREAM_ERR;
    if (fd >= 0)
        set_nonblocking(fd);
}

void pump_open(struct pump *pump, const struct options *options)
{
    bool terminal = options->tty_fd >= 0;

    for (size_t i = 0; i < CLIENTS_MAX; i++)
        pump->clients[i].fd = -1;
    pump->listen_fd = options->listen_fd;
    pump->tty_fd = options->tty_fd;
    pump->stdin_fd = terminal ? options->tty_fd : options->stdin_fd;
    pump->stdin_once = options->stdin_once;
    stream_open(&pump->streams[STREAM_OUT], terminal ? options->tty_fd : options->stdout_fd, 'o', "stdout");
    stream_open(&pump->streams[STREAM_ERR], terminal ? -1 : options->stderr_fd, 'e', "stderr");
    pump->streams[STREAM_OUT].terminal = terminal;
    if (pump->stdin_fd >= 0)
        set_nonblocking(pump->stdin_fd);
    if (pump->listen_fd >= 0)
        set_nonblocking(pump->listen_fd);
    if (options->client_fd >= 0)
        client_add(pump, options->client_fd, true);
    log_open(&pump->log, options);
}

/* ---- streams ---- */

static void stream_close(struct pump *pump, struct stream *stream)
{
    log_end(&pump->log, &stream->log);
    if (stream->fd != pump->tty_fd)
        fd_close(&stream->fd);
    stream->fd = -1;
}

/* A terminal answers EIO while nobody has it open; a running program may open it again. */
static void stream_pause(struct pump *pump, struct stream *stream)
{
    if (stream->terminal && !stream->draining)
        stream->retry_at_ms = now_ms() + TTY_RETRY_MS;
    else
        stream_close(pump, stream);
}

static bool owed_to_log(const struct stream *stream)
{
    return stream->logged < stream->length;
}

static void stream_log(struct pump *pump, struct stream *stream)
{
    size_t taken = log_data(&pump->log, &stream->log, stream->data + stream->logged, stream->length - stream->logged);

    stream->logged += taken;
    if (taken > 0)
        pump->progress_ms = now_ms();
}

static void stream_read(struct pump *pump, size_t which)
{
    struct stream *stream = &pump->streams[which];
    size_t wanted = stream->draining && stream->allowance < PAYLOAD_MAX ? stream->allowance : PAYLOAD_MAX;
    ssize_t count = wanted > 0 ? read(stream->fd, stream->data, wanted) : 0;

    stream->retry_at_ms = 0;
    if (count < 0 && (errno == EINTR || (errno == EAGAIN && !stream->draining)))
        return;
    if (count <= 0) {
        stream_pause(pump, stream);
        return;
    }
    stream->length = (size_t)count;
    stream->logged = 0;
    if (stream->draining)
        stream->allowance -= (size_t)count;
    stream_log(pump, stream);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &pump->clients[i];

        if (client->fd < 0)
            continue;
        client->owed[which] = true;
        client_serve(pump, client);
    }
}

/* ---- one turn of the loop ---- */

/* A place in the poll set. A descriptor of which nothing is wanted stays out: its hang-up would spin. */
static struct pollfd place(int fd, short events)
{
    return (struct pollfd){.fd = events != 0 ? fd : -1, .events = events};
}

int pump_prepare(struct pump *pump, struct pollfd *polls)
{
    int timeout_ms = -1;

    polls[SLOT_LISTEN] = place(pump->listen_fd, clients_have_place(pump) ? POLLIN : 0);
    polls[SLOT_STDIN] = place(pump->stdin_fd, pump->input_length > 0 ? POLLOUT : 0);
    polls[SLOT_LOG] = place(-1, 0);
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *stream = &pump->streams[i];
        int64_t rest_ms = stream->retry_at_ms == 0 ? 0 : stream->retry_at_ms - now_ms();
        bool ready = rest_ms <= 0 && !clients_owed(pump, i) && !owed_to_log(stream);

        if (owed_to_log(stream))
            polls[SLOT_LOG] = place(log_waits_for(&pump->log), POLLOUT);
        polls[SLOT_STREAMS + i] = place(stream->fd, ready ? POLLIN : 0);
        if (rest_ms > 0)
            timeout_ms = (int)rest_ms;
        if (ready && stream->fd >= 0 && stream->draining)
            timeout_ms = 0; /* reads to the end of what is there, ready or not */
    }
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &pump->clients[i];

        client->waits = client->waits && pump->stdin_fd >= 0 && pump->input_length > 0;
        polls[SLOT_CLIENTS + i] = place(client->fd, client_events(client));
    }
    return timeout_ms;
}

void pump_dispatch(struct pump *pump, const struct pollfd *polls)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &pump->clients[i];
        const struct pollfd *poll = &polls[SLOT_CLIENTS + i];

        if (poll->fd < 0 || poll->revents == 0 || client->fd < 0)
            continue;
        if ((poll->revents & POLLOUT) != 0)
            client_serve(pump, client);
        if ((poll->revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            client_read(pump, client);
    }
    if (polls[SLOT_STDIN].fd >= 0 && polls[SLOT_STDIN].revents != 0)
        stdin_write(pump);
    for (size_t i = 0; i < STREAMS; i++) {
        const struct pollfd *poll = &polls[SLOT_STREAMS + i];

        if (polls[SLOT_LOG].revents != 0 && owed_to_log(&pump->streams[i]))
            stream_log(pump, &pump->streams[i]);
        if (poll->fd >= 0 && pump->streams[i].fd >= 0 && (poll->revents != 0 || pump->streams[i].draining))
            stream_read(pump, i);
    }
    if (polls[SLOT_LISTEN].fd >= 0 && polls[SLOT_LISTEN].revents != 0)
        clients_accept(pump);
}

/* ---- the end ---- */

void pump_drain(struct pump *pump)
{
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *stream = &pump->streams[i];
        int waiting = 0;

        stream->draining = true;
        stream->retry_at_ms = 0;
        stream->allowance = TTY_DRAIN_MAX;
        if (!stream->terminal && stream->fd >= 0 && ioctl(stream->fd, FIONREAD, &waiting) == 0)
            stream->allowance = (size_t)waiting;
    }
    clients_widen(pump);
    stdin_close(pump);
    pump->progress_ms = now_ms();
}

bool pump_drained(const struct pump *pump)
{
    for (size_t i = 0; i < STREAMS; i++)
        if (pump->streams[i].fd >= 0 || clients_owed(pump, i) || owed_to_log(&pump->streams[i]))
            return false;
    return true;
}
