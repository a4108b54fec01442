/*
 * What both helpers share: text and numbers without stdio and locale (they would cost a third
 * of the memory of a process that lives as long as a container), and owners of descriptors.
 */
#ifndef RPOD_COMMON_H
#define RPOD_COMMON_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A descriptor that closes where its variable goes out of scope: `cleanup_close int fd = open(…);` */
#define cleanup_close __attribute__((cleanup(fd_close)))

/* Closes *fd if it is open and marks it closed. */
static inline void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What waitpid(2) said of a process, as the exit code that a shell would give. */
static inline int exit_code(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Text that grows inside a fixed buffer; what does not fit is cut off. */
struct text {
    char *data;
    size_t used;
    size_t size;
};

#define TEXT(buffer) {.data = (buffer), .used = 0, .size = sizeof(buffer)}

static inline void text_bytes(struct text *text, const void *bytes, size_t count)
{
    size_t room = text->size - text->used;

    if (count > room)
        count = room;
    memcpy(text->data + text->used, bytes, count);
    text->used += count;
}

static inline void text_add(struct text *text, const char *string)
{
    text_bytes(text, string, strlen(string));
}

/* Ends it with a NUL; false if what was added to it, or the NUL, did not fit. */
static inline bool text_end(struct text *text)
{
    bool fits = text->used < text->size;

    text->data[fits ? text->used : text->size - 1] = '\0';
    return fits;
}

/* `value` in decimal, with zeros in front up to `width` digits. */
static inline void text_number(struct text *text, uint64_t value, unsigned width)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0 || sizeof digits - at < width);
    text_bytes(text, digits + at, sizeof digits - at);
}

/* Reads the decimal number at `string` and returns what follows it; NULL if there is none that fits. */
static inline const char *number_read(const char *string, uint64_t *value)
{
    uint64_t sum = 0;
    const char *at = string;

    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');

        if (sum > (UINT64_MAX - digit) / 10)
            return NULL;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return at == string ? NULL : at;
}

/* Writes everything to a blocking descriptor; false with errno if that fails. */
static inline bool write_all(int fd, const void *bytes, size_t count)
{
    const char *at = bytes;

    while (count > 0) {
        ssize_t done = write(fd, at, count);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        at += done;
        count -= (size_t)done;
    }
    return true;
}

static inline int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Nanoseconds since the epoch, as every time in rpod's records. */
static inline uint64_t epoch_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

#endif
