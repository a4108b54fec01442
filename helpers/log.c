/*
 * The container's log, in files; journal.c is the journal. A record is one line of the file, so that a
 * torn write can be undone by cutting the file after the last line end, and a rotation never splits a record.
 *
 * k8s-file is the CRI's format (kubernetes/design-proposals, kubelet-cri-logging: time, stream,
 * P or F, text). A piece without a line end is logged at once as P, as conmon does, so that
 * `logs -f` shows a prompt. json-file is Docker's.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h> /* rename */
#include <sys/stat.h>

#include "monitor.h"

/* "2026-11-23T10:00:00.123456789", the time in UTC. gmtime(3) would read /etc/localtime and pull in the locale. */
static void take_time(struct log *log)
{
    struct text stamp = TEXT(log->time), *text = &stamp;
    uint64_t ns = epoch_ns();
    uint64_t seconds = ns / 1000000000U;
    uint64_t second_of_day = seconds % 86400;
    /* Days since 0000-03-01: with March first, leap days come last and months follow one formula. */
    uint64_t days = seconds / 86400 + 719468;
    uint64_t era = days / 146097;
    uint64_t day_of_era = days % 146097;
    uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t march_month = (5 * day_of_year + 2) / 153;
    uint64_t month = march_month < 10 ? march_month + 3 : march_month - 9;

    text_number(text, era * 400 + year_of_era + (month <= 2), 4);
    text_add(text, "-");
    text_number(text, month, 2);
    text_add(text, "-");
    text_number(text, day_of_year - (153 * march_month + 2) / 5 + 1, 2);
    text_add(text, "T");
    text_number(text, second_of_day / 3600, 2);
    text_add(text, ":");
    text_number(text, second_of_day / 60 % 60, 2);
    text_add(text, ":");
    text_number(text, second_of_day % 60, 2);
    text_add(text, ".");
    text_number(text, ns % 1000000000U, 9);
    text_end(text);
}

static void json_char(struct text *text, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";

    switch (byte) {
    case '"':
        text_add(text, "\\\"");
        break;
    case '\\':
        text_add(text, "\\\\");
        break;
    case '\n':
        text_add(text, "\\n");
        break;
    case '\r':
        text_add(text, "\\r");
        break;
    case '\t':
        text_add(text, "\\t");
        break;
    default:
        if (byte < 0x20 || byte == 0x7f) {
            text_add(text, "\\u00");
            text_bytes(text, &hex[byte >> 4], 1);
            text_bytes(text, &hex[byte & 15], 1);
        } else {
            text_bytes(text, &byte, 1);
        }
    }
}

/* How many bytes the sequence that starts with `byte` has; 0 if none does (RFC 3629, section 4). */
static unsigned utf8_length(unsigned char byte)
{
    if (byte >= 0xc2 && byte <= 0xdf)
        return 2;
    if (byte >= 0xe0 && byte <= 0xef)
        return 3;
    return byte >= 0xf0 && byte <= 0xf4 ? 4 : 0;
}

/* Whether `byte` can come next: no overlong forms, surrogates, or code points above 10FFFF. */
static bool utf8_continues(const struct utf8 *utf8, unsigned char byte)
{
    unsigned char low = 0x80, high = 0xbf;

    if (utf8->have == 1) {
        switch (utf8->bytes[0]) {
        case 0xe0:
            low = 0xa0;
            break;
        case 0xed:
            high = 0x9f;
            break;
        case 0xf0:
            low = 0x90;
            break;
        case 0xf4:
            high = 0x8f;
            break;
        default:
            break;
        }
    }
    return byte >= low && byte <= high;
}

/* What waits for its other half never gets it: U+FFFD, as Docker writes for what is not UTF-8. */
static void json_give_up(struct text *text, struct utf8 *utf8)
{
    if (utf8->have > 0)
        text_add(text, "\\ufffd");
    utf8->have = 0;
}

static void json_byte(struct text *text, struct utf8 *utf8, unsigned char byte)
{
    if (utf8->have > 0 && !utf8_continues(utf8, byte))
        json_give_up(text, utf8);
    if (utf8->have > 0) {
        utf8->bytes[utf8->have++] = byte;
        if (utf8->have == utf8->need) {
            text_bytes(text, utf8->bytes, utf8->need);
            utf8->have = 0;
        }
    } else if (byte < 0x80) {
        json_char(text, byte);
    } else if ((utf8->need = utf8_length(byte)) > 0) {
        utf8->bytes[utf8->have++] = byte;
    } else {
        text_add(text, "\\ufffd");
    }
}

static void json_record(struct text *text, struct log_stream *stream, const char *time, const unsigned char *data,
                        size_t count)
{
    text_add(text, "{\"log\":\"");
    for (size_t i = 0; i < count; i++)
        json_byte(text, &stream->utf8, data[i]);
    if (count == 0)
        json_give_up(text, &stream->utf8);
    text_add(text, "\",\"stream\":\"");
    text_add(text, stream->name);
    text_add(text, "\",\"time\":\"");
    text_add(text, time);
    text_add(text, "Z\"}\n");
}

static void k8s_record(struct text *text, struct log_stream *stream, const char *time, const unsigned char *data,
                       size_t count, bool whole)
{
    text_add(text, time);
    text_add(text, "+00:00 ");
    text_add(text, stream->name);
    text_add(text, whole ? " F " : " P ");
    text_bytes(text, data, whole && count > 0 ? count - 1 : count);
    text_add(text, "\n");
}

/* Opens the file for appending. A line that a killed monitor left torn is ended first. */
static bool file_open(struct log *log)
{
    struct stat info;
    char last = '\n';

    if (log->fd >= 0)
        return true;
    log->fd = open(log->path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (log->fd < 0)
        return false;
    log->size = fstat(log->fd, &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    if (log->size > 0 && pread(log->fd, &last, 1, (off_t)log->size - 1) == 1 && last != '\n')
        log->size += write(log->fd, "\n", 1) == 1;
    return true;
}

/* PATH.1 becomes PATH.2 and so on, PATH becomes PATH.1; the oldest goes. */
static void file_rotate(struct log *log)
{
    char from[PATH_MAX], to[PATH_MAX];

    fd_close(&log->fd);
    log->size = 0;
    if (log->max_files <= 1) {
        unlink(log->path);
        return;
    }
    for (uint64_t number = log->max_files - 1; number > 0; number--) {
        struct text old = TEXT(from), new = TEXT(to);

        text_add(&old, log->path);
        if (number > 1) {
            text_add(&old, ".");
            text_number(&old, number - 1, 1);
        }
        text_add(&new, log->path);
        text_add(&new, ".");
        text_number(&new, number, 1);
        if (text_end(&old) && text_end(&new))
            rename(from, to);
    }
}

static size_t count_records(const unsigned char *data, size_t count)
{
    size_t records = 0;

    for (size_t i = 0; i < count; i++)
        records += data[i] == '\n';
    return records;
}

/* Appends whole records. After a failure the file ends with a whole record, and the rest is counted. */
static bool file_append(struct log *log, const unsigned char *data, size_t count)
{
    size_t done = 0;

    while (done < count) {
        ssize_t result = write(log->fd, data + done, count - done);

        if (result < 0 && errno == EINTR)
            continue;
        if (result <= 0)
            break;
        done += (size_t)result;
    }
    if (done < count) {
        if (log->lost == 0)
            log->lost_reason = errno;
        while (done > 0 && data[done - 1] != '\n')
            done--;
        /* Fails on what is not a regular file, and there nothing needs cutting. */
        (void)!ftruncate(log->fd, (off_t)(log->size + done));
        log->lost += count_records(data + done, count - done);
    }
    log->size += done;
    return done == count;
}

/* Says in the log itself how many records it lacks. */
static bool confess(struct log *log)
{
    char words[128], record[512];
    struct text line = TEXT(words), text = TEXT(record);
    struct log_stream stream = {.name = "stderr"};
    uint64_t lost = log->lost;

    take_time(log);
    text_add(&line, "rpod: ");
    text_number(&line, lost, 1);
    text_add(&line, " log records were lost here: ");
    text_add(&line, log->lost_reason == ENOSPC || log->lost_reason == EDQUOT ? "the disk was full\n"
                                                                            : "the log could not be written\n");
    if (log->format == LOG_JSON)
        json_record(&text, &stream, log->time, (unsigned char *)words, line.used);
    else
        k8s_record(&text, &stream, log->time, (unsigned char *)words, line.used, true);
    if (!file_append(log, (unsigned char *)record, text.used)) {
        log->lost = lost;
        return false;
    }
    log->lost = 0;
    return true;
}

/* Writes the first `count` bytes of the buffer and moves the rest to its front. */
static void flush(struct log *log, size_t count)
{
    if (count == 0)
        return;
    if (!file_open(log)) {
        if (log->lost == 0)
            log->lost_reason = errno;
        log->lost += count_records(log->buffer, count);
    } else if (log->lost > 0 && !confess(log)) {
        log->lost += count_records(log->buffer, count);
    } else {
        file_append(log, log->buffer, count);
    }
    memmove(log->buffer, log->buffer + count, log->used - count);
    log->used -= count;
}

static void add_record(struct log *log, struct log_stream *stream, const unsigned char *data, size_t count,
                       bool whole)
{
    struct text text;
    size_t before;

    if (log->used > LOG_BATCH)
        flush(log, log->used);
    before = log->used;
    text = (struct text){.data = (char *)log->buffer, .used = before, .size = sizeof log->buffer};
    if (log->format == LOG_JSON)
        json_record(&text, stream, log->time, data, count);
    else
        k8s_record(&text, stream, log->time, data, count, whole);
    stream->partial = !whole;
    log->used = text.used;
    if (log->max_size > 0 && log->size + before > 0 && log->size + log->used > log->max_size) {
        flush(log, before);
        file_rotate(log);
    }
}

void log_open(struct log *log, const struct options *options)
{
    log->path = options->log_path;
    log->format = options->log_format;
    log->max_size = options->log_max_files > 0 ? options->log_max_size : 0;
    log->max_files = options->log_max_files < LOG_FILES_MAX ? options->log_max_files : LOG_FILES_MAX;
    log->fd = -1;
    if (log->format == LOG_JOURNAL)
        journal_open(&log->journal, options);
    else if (log->format != LOG_NONE && !file_open(log))
        log->lost_reason = errno;
}

size_t log_data(struct log *log, struct log_stream *stream, const unsigned char *data, size_t count)
{
    size_t all = count;

    if (log->format == LOG_NONE)
        return all;
    if (log->format == LOG_JOURNAL)
        return journal_data(&log->journal, stream->which, data, count);
    take_time(log); /* one for all lines that came with one read */
    while (count > 0) {
        size_t piece = count < LOG_PIECE ? count : LOG_PIECE;
        const unsigned char *newline = memchr(data, '\n', piece);

        if (newline != NULL)
            piece = (size_t)(newline - data) + 1;
        add_record(log, stream, data, piece, newline != NULL);
        data += piece;
        count -= piece;
    }
    flush(log, log->used);
    return all;
}

int log_waits_for(const struct log *log)
{
    return log->format == LOG_JOURNAL ? log->journal.fd : -1;
}

void log_end(struct log *log, struct log_stream *stream)
{
    if (log->format == LOG_JOURNAL)
        journal_end(&log->journal, stream->which);
    if (log->format == LOG_NONE || !stream->partial)
        return;
    /* In Docker's format a line that was not ended has no "\n", and nothing follows it. */
    take_time(log);
    if (log->format == LOG_K8S || stream->utf8.have > 0)
        add_record(log, stream, (const unsigned char *)"", 0, true);
    stream->partial = false;
    flush(log, log->used);
}

void log_close(struct log *log)
{
    if (log->lost > 0 && file_open(log))
        confess(log);
    fd_close(&log->fd);
}
