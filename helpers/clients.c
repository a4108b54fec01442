/*
 * The clients of the attach protocol (docs/HACKING.md), and the container's standard input, which
 * comes from them. Nothing blocks; the kernel's buffers are the queues.
 */
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <termios.h>

#include "pump.h"

/*
 * A running client's socket holds this much, and at the end the most that the kernel allows an
 * ordinary user: so the tail of the output (a pipe and our chunk, twice) finds room there, and
 * `rpod run … | less` shows all of it although nobody reads before the monitor is gone.
 */
#define SEND_BUFFER (64 * 1024)
#define SEND_BUFFER_END (4 * 1024 * 1024)

/* ---- the container's standard input ---- */

void stdin_close(struct pump *pump)
{
    if (pump->stdin_fd != pump->tty_fd)
        fd_close(&pump->stdin_fd);
    pump->stdin_fd = -1;
    pump->input_at = pump->input_length = 0;
}

void stdin_write(struct pump *pump)
{
    while (pump->stdin_fd >= 0 && pump->input_at < pump->input_length) {
        ssize_t done = write(pump->stdin_fd, pump->input + pump->input_at, pump->input_length - pump->input_at);

        if (done < 0 && errno == EINTR)
            continue;
        if (done == 0 || (done < 0 && errno == EAGAIN))
            return;
        if (done < 0 && pump->stdin_fd == pump->tty_fd)
            break; /* EIO: nobody has the terminal open now, but somebody may open it again */
        if (done < 0) {
            stdin_close(pump);
            return;
        }
        pump->input_at += (size_t)done;
    }
    pump->input_at = pump->input_length = 0;
    if (pump->stdin_ending)
        stdin_close(pump);
}

/* Ends the container's input behind what is still to be written. */
static void stdin_end(struct pump *pump)
{
    struct termios terminal;

    if (pump->stdin_ending || pump->stdin_fd < 0)
        return;
    pump->stdin_ending = true;
    /* A terminal has no end of file but the character that says so, as sshd sends it. */
    if (pump->stdin_fd == pump->tty_fd && tcgetattr(pump->tty_fd, &terminal) == 0 &&
        (terminal.c_lflag & ICANON) != 0)
        pump->input[pump->input_length++] = terminal.c_cc[VEOF];
    stdin_write(pump);
}

/* ---- clients ---- */

static void set_send_buffer(int fd, int bytes)
{
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void client_add(struct pump *pump, int fd, bool foreground)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &pump->clients[i];

        if (client->fd >= 0)
            continue;
        *client = (struct client){.fd = fd, .foreground = foreground, .owed_exit = pump->exit_length > 0};
        set_nonblocking(fd);
        set_send_buffer(fd, SEND_BUFFER);
        return;
    }
    fd_close(&fd);
}

static void client_forget(struct pump *pump, struct client *client)
{
    bool ends_input = client->foreground || client->typed;

    fd_close(&client->fd);
    *client = (struct client){.fd = -1};
    /* Who leaves a terminal has detached; who leaves a pipe has closed its end, unless it is kept for others. */
    if (ends_input && pump->stdin_once && pump->tty_fd < 0)
        stdin_end(pump);
}

/* The peer does not read any more; what it sent before it left is still ours to take. */
static void client_deafen(struct client *client)
{
    client->deaf = true;
    memset(client->owed, 0, sizeof client->owed);
    client->owed_exit = false;
}

/* Sends one message; false if the client owes us room for it. */
static bool client_send(struct pump *pump, struct client *client, const char *type, const void *data, size_t count)
{
    struct iovec parts[] = {
        {.iov_base = (void *)(uintptr_t)type, .iov_len = 1},
        {.iov_base = (void *)(uintptr_t)data, .iov_len = count},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    if (client->deaf)
        return true;
    while (sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        /* ENOBUFS, ENOMEM: the kernel is short of memory; the next turn tries again. */
        if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
            return false;
        client_deafen(client);
        return true;
    }
    pump->progress_ms = now_ms();
    return true;
}

void client_serve(struct pump *pump, struct client *client)
{
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *stream = &pump->streams[i];

        if (client->owed[i])
            client->owed[i] = !client_send(pump, client, &stream->type, stream->data, stream->length);
    }
    if (client->owed_exit && !client->owed[STREAM_OUT] && !client->owed[STREAM_ERR])
        client->owed_exit = !client_send(pump, client, pump->exit_text, pump->exit_text + 1, pump->exit_length - 1);
}

static void resize(const struct pump *pump, const char *words)
{
    uint64_t rows, columns;
    const char *at = number_read(words, &rows);

    if (pump->tty_fd < 0 || at == NULL || *at != ' ')
        return;
    at = number_read(at + 1, &columns);
    if (at != NULL && *at == '\0' && rows <= USHRT_MAX && columns <= USHRT_MAX)
        ioctl(pump->tty_fd, TIOCSWINSZ,
              &(struct winsize){.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns});
}

/* Whether the next message is input that has to wait: seen without taking it, so it is not lost. */
static bool must_wait(const struct pump *pump, int fd)
{
    char type = '\0';

    if (pump->stdin_fd < 0 || pump->input_length == 0)
        return false;
    return recv(fd, &type, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && type == 'i';
}

static void client_message(struct pump *pump, struct client *client, char type, char *data, size_t count)
{
    switch (type) {
    case 'i':
        client->typed = true;
        if (pump->stdin_fd >= 0 && !pump->stdin_ending) {
            memcpy(pump->input, data, count);
            pump->input_length = count;
            stdin_write(pump);
        }
        break;
    case 'c':
        if (pump->stdin_once || pump->tty_fd < 0)
            stdin_end(pump);
        break;
    case 'w':
        data[count] = '\0';
        resize(pump, data);
        break;
    case 'k':
        pump->handed_over = pump->handed_over || (client->foreground && pump->exit_length > 0);
        break;
    default:
        client_forget(pump, client);
    }
}

void client_read(struct pump *pump, struct client *client)
{
    static char data[PAYLOAD_MAX + 1];
    char type = '\0';
    struct iovec parts[] = {{.iov_base = &type, .iov_len = 1}, {.iov_base = data, .iov_len = PAYLOAD_MAX}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t count;

    client->waits = must_wait(pump, client->fd);
    if (client->waits)
        return;
    count = recvmsg(client->fd, &message, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* The peer closed without reading all: said once, and then comes what it had sent. */
    if (count < 0 && errno == ECONNRESET)
        client_deafen(client);
    else if (count <= 0 || (message.msg_flags & MSG_TRUNC) != 0)
        client_forget(pump, client);
    else
        client_message(pump, client, type, data, (size_t)count - 1);
}

short client_events(const struct client *client)
{
    int events = client->waits ? 0 : POLLIN;

    if (client->owed[STREAM_OUT] || client->owed[STREAM_ERR] || client->owed_exit)
        events |= POLLOUT;
    return (short)events;
}

bool clients_accept(struct pump *pump)
{
    int fd = accept4(pump->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0)
        client_add(pump, fd, false);
    return fd >= 0;
}

bool clients_have_place(const struct pump *pump)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (pump->clients[i].fd < 0)
            return true;
    return false;
}

bool clients_owed(const struct pump *pump, size_t which)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (pump->clients[i].fd >= 0 && pump->clients[i].owed[which])
            return true;
    return false;
}

void clients_widen(struct pump *pump)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (pump->clients[i].fd >= 0)
            set_send_buffer(pump->clients[i].fd, SEND_BUFFER_END);
}

/* ---- the end ---- */

void pump_forget_slow(struct pump *pump)
{
    for (size_t i = 0; i < STREAMS; i++)
        pump->streams[i].logged = pump->streams[i].length;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &pump->clients[i];

        if (client->fd >= 0 && (client->owed[STREAM_OUT] || client->owed[STREAM_ERR] || client->owed_exit))
            client_forget(pump, client);
    }
}

void pump_say_exit(struct pump *pump, int code, bool oom)
{
    struct text text = TEXT(pump->exit_text);

    text_add(&text, "x");
    text_number(&text, (uint64_t)code, 1);
    text_add(&text, oom ? " 1" : " 0");
    pump->exit_length = text.used;
    for (size_t i = 0; i < CLIENTS_MAX && pump->listen_fd >= 0 && clients_accept(pump); i++)
        continue;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &pump->clients[i];

        if (client->fd < 0)
            continue;
        client->owed_exit = !client->deaf;
        client_serve(pump, client);
    }
}

bool pump_awaits_answer(const struct pump *pump)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (pump->clients[i].fd >= 0 && (pump->clients[i].foreground || pump->clients[i].owed_exit))
            return !pump->handed_over;
    return false;
}

/*
 * A peer whose messages are left unread gets ECONNRESET instead of the end of what we sent. So no more
 * are let in, and those that came are taken.
 */
void pump_close(struct pump *pump)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &pump->clients[i];
        char type;

        if (client->fd < 0)
            continue;
        shutdown(client->fd, SHUT_RD);
        while (recv(client->fd, &type, 1, MSG_DONTWAIT) > 0)
            continue;
        fd_close(&client->fd);
    }
}
