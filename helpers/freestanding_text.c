/*
 * The string and memory functions of freestanding.c's library. Short rather than fast: the monitor
 * copies what a container prints, once.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Keeps the compiler from turning a loop into a call of the very function that it stands in. */
#define AS_WRITTEN __asm__ volatile("" ::: "memory")

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    return memmove(to, from, count);
}

void *memmove(void *to, const void *from, size_t count)
{
    unsigned char *out = to;
    const unsigned char *in = from;

    if ((uintptr_t)out - (uintptr_t)in >= count) {
        size_t i = 0;

        /* By words: each is read before it is written, and what is written lies behind what is still to be read. */
        for (uint64_t word; count - i >= sizeof word; i += sizeof word) {
            __builtin_memcpy(&word, in + i, sizeof word);
            __builtin_memcpy(out + i, &word, sizeof word);
            AS_WRITTEN;
        }
        for (; i < count; i++) {
            out[i] = in[i];
            AS_WRITTEN;
        }
    } else {
        for (size_t i = count; i > 0; i--) {
            out[i - 1] = in[i - 1];
            AS_WRITTEN;
        }
    }
    return to;
}

void *memset(void *to, int byte, size_t count)
{
    unsigned char *out = to;

    for (size_t i = 0; i < count; i++) {
        out[i] = (unsigned char)byte;
        AS_WRITTEN;
    }
    return to;
}

void *memchr(const void *data, int byte, size_t count)
{
    const unsigned char *at = data;

    for (size_t i = 0; i < count; i++)
        if (at[i] == (unsigned char)byte)
            return (void *)(uintptr_t)(at + i);
    return NULL;
}

size_t strlen(const char *string)
{
    size_t length = 0;

    while (string[length] != '\0') {
        length++;
        AS_WRITTEN;
    }
    return length;
}

size_t strnlen(const char *string, size_t most)
{
    const char *end = memchr(string, '\0', most);

    return end != NULL ? (size_t)(end - string) : most;
}

int strncmp(const char *a, const char *b, size_t most)
{
    for (size_t i = 0; i < most; i++)
        if (a[i] != b[i] || a[i] == '\0')
            return (unsigned char)a[i] - (unsigned char)b[i];
    return 0;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *string, int byte)
{
    for (; *string != (char)byte; string++)
        if (*string == '\0')
            return NULL;
    return (char *)(uintptr_t)string;
}

size_t strcspn(const char *string, const char *stops)
{
    size_t length = 0;

    while (string[length] != '\0' && strchr(stops, string[length]) == NULL)
        length++;
    return length;
}

char *strstr(const char *string, const char *part)
{
    size_t length = strlen(part);

    for (; *string != '\0'; string++)
        if (strncmp(string, part, length) == 0)
            return (char *)(uintptr_t)string;
    return NULL;
}
