/*
 * The program of the built-in image `hello`: says what was set up, as it looks from inside. Only
 * /proc is sure to be there.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "init.h"

#define LABEL_WIDTH 13

/* Reads a small file into `buffer` as text; "" if it is not there. */
static void slurp(const char *path, char *buffer, size_t size)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t count = 0;

    while (fd >= 0 && used < size - 1 && (count = read(fd, buffer + used, size - 1 - used)) > 0)
        used += (size_t)count;
    buffer[used] = '\0';
}

/* The next word at *at, which moves behind it; an empty one at the line's end. */
static size_t next_word(const char **at, const char **word)
{
    while (**at == ' ' || **at == '\t')
        (*at)++;
    *word = *at;
    while (**at != '\0' && **at != ' ' && **at != '\t' && **at != '\n')
        (*at)++;
    return (size_t)(*at - *word);
}

/* What follows `key` at the start of a line of /proc/self/status; "" if there is none. */
static const char *status_field(const char *status, const char *key)
{
    size_t length = strlen(key);

    for (const char *line = status; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, key, length) == 0)
            return line + length;
    }
    return "";
}

static void label(struct text *out, const char *name)
{
    text_add(out, "  ");
    text_add(out, name);
    for (size_t width = strlen(name); width < LABEL_WIDTH; width++)
        text_add(out, " ");
}

/* "0 is 1001 outside, 1-65536 are 100000-165535" */
static void show_map(struct text *out, const char *name, const char *path)
{
    char map[2048];
    const char *at = map;
    bool first = true;

    slurp(path, map, sizeof map);
    label(out, name);
    while (*at != '\0') {
        uint64_t part[3] = {0, 0, 0};

        for (size_t i = 0; i < 3; i++) {
            const char *word;

            if (next_word(&at, &word) > 0)
                number_read(word, &part[i]);
        }
        if (!first)
            text_add(out, ", ");
        text_number(out, part[0], 1);
        if (part[2] > 1) {
            text_add(out, "-");
            text_number(out, part[0] + part[2] - 1, 1);
        }
        text_add(out, part[2] > 1 ? " are " : " is ");
        text_number(out, part[1], 1);
        if (part[2] > 1) {
            text_add(out, "-");
            text_number(out, part[1] + part[2] - 1, 1);
        }
        text_add(out, first ? " outside" : "");
        first = false;
        while (*at == '\n')
            at++;
    }
    text_add(out, first ? "unknown\n" : "\n");
}

/*
 * The kernel gives the first namespaces of the machine fixed numbers below 0xF0000000
 * (include/uapi/linux/nsfs.h, before: proc_ns.h), except, before Linux 6.18, mnt and net.
 */
static bool is_first_namespace(const char *link)
{
    const char *number = strchr(link, '[');
    uint64_t inode = 0;

    return number != NULL && number_read(number + 1, &inode) != NULL && inode < 0xF0000000U;
}

static void show_namespaces(struct text *out)
{
    static const char *const names[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};

    label(out, "namespaces");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64], link[64];
        struct text text = TEXT(path);
        ssize_t length;

        text_add(&text, "/proc/self/ns/");
        text_add(&text, names[i]);
        text_end(&text);
        length = readlink(path, link, sizeof link - 1);
        link[length > 0 ? length : 0] = '\0';
        text_add(out, i > 0 ? ", " : "");
        text_add(out, names[i]);
        text_add(out, length <= 0 ? " (unknown)" : is_first_namespace(link) ? " (the host's)" : "");
    }
    text_add(out, "\n");
}

/* mountinfo, proc(5): ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAGS…] - TYPE SOURCE SUPEROPTIONS */
static void show_root(struct text *out)
{
    static char mounts[65536];
    const char *at = mounts, *type = "unknown", *options = "";
    size_t type_length = strlen(type), options_length = 0;

    slurp("/proc/self/mountinfo", mounts, sizeof mounts);
    while (*at != '\0') {
        const char *line_end = strchr(at, '\n'), *separator = strstr(at, " - "), *word = at;
        size_t length = 0;

        for (int i = 0; i < 5; i++)
            length = next_word(&at, &word);
        if (length == 1 && *word == '/' && separator != NULL) {
            options_length = next_word(&at, &options);
            at = separator + 3;
            type_length = next_word(&at, &type);
        }
        if (line_end == NULL)
            break;
        at = line_end + 1;
    }
    label(out, "root");
    text_bytes(out, type, type_length);
    if (options_length >= 2)
        text_add(out, strncmp(options, "ro", 2) == 0 ? ", read-only" : ", writable");
    text_add(out, type_length == 7 && strncmp(type, "overlay", 7) == 0 ? ", the kernel's driver\n" : "\n");
}

static void show_address(struct text *out, const struct sockaddr *address)
{
    struct sockaddr_in inet;
    unsigned char bytes[4];

    memcpy(&inet, address, sizeof inet);
    memcpy(bytes, &inet.sin_addr, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        text_add(out, i > 0 ? "." : "");
        text_number(out, bytes[i], 1);
    }
}

/* /proc/net/route: Iface Destination Gateway …, addresses as little-endian hexadecimal numbers */
static void show_gateway(struct text *out)
{
    char routes[4096];
    const char *at;

    slurp("/proc/net/route", routes, sizeof routes);
    for (at = strchr(routes, '\n'); at != NULL; at = strchr(at, '\n')) {
        const char *word;
        uint32_t gateway = 0;
        struct sockaddr_in address = {.sin_family = AF_INET};

        at++;
        next_word(&at, &word);
        if (next_word(&at, &word) != 8 || strncmp(word, "00000000", 8) != 0 || next_word(&at, &word) != 8)
            continue;
        for (size_t i = 0; i < 8; i++) {
            unsigned digit = (unsigned char)word[i];

            gateway = gateway << 4 | (digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10);
        }
        address.sin_addr.s_addr = gateway;
        text_add(out, ", by way of ");
        show_address(out, (struct sockaddr *)&address);
        return;
    }
}

static void show_network(struct text *out)
{
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq entries[32];
    struct ifconf list = {.ifc_len = sizeof entries, .ifc_req = entries};
    size_t count;

    label(out, "network");
    if (fd < 0 || ioctl(fd, SIOCGIFCONF, &list) < 0) {
        text_add(out, "unknown\n");
        return;
    }
    count = (size_t)list.ifc_len / sizeof *entries;
    for (size_t i = 0; i < count; i++) {
        text_add(out, i > 0 ? ", " : "");
        text_bytes(out, entries[i].ifr_name, strnlen(entries[i].ifr_name, sizeof entries[i].ifr_name));
        text_add(out, " ");
        show_address(out, &entries[i].ifr_addr);
    }
    if (count == 0)
        text_add(out, "none");
    show_gateway(out);
    text_add(out, "\n");
}

static void show_limit(struct text *out, const char *name, const char *path)
{
    char value[128];
    const char *at = value, *word;
    size_t length;

    slurp(path, value, sizeof value);
    length = next_word(&at, &word);
    if (length == 0 || strncmp(word, "max", 3) == 0)
        return;
    text_add(out, ", ");
    text_add(out, name);
    text_add(out, " ");
    text_bytes(out, word, length);
    if (next_word(&at, &word) > 0) { /* cpu.max: QUOTA PERIOD, in microseconds */
        text_add(out, "/");
        text_bytes(out, word, strcspn(word, "\n"));
    }
}

static void show_cgroup(struct text *out)
{
    char groups[4096];
    const char *own;

    slurp("/proc/self/cgroup", groups, sizeof groups);
    own = strstr(groups, "0::");
    label(out, "cgroup");
    if (own == NULL)
        text_add(out, "unknown");
    else
        text_bytes(out, own + 3, strcspn(own + 3, "\n"));
    show_limit(out, "memory", "/sys/fs/cgroup/memory.max");
    show_limit(out, "cpu", "/sys/fs/cgroup/cpu.max");
    show_limit(out, "pids", "/sys/fs/cgroup/pids.max");
    text_add(out, "\n");
}

static void show_rights(struct text *out, const char *status)
{
    const char *at = status_field(status, "CapEff:"), *word;
    size_t length = next_word(&at, &word);
    uint64_t count = 0, last = 0, mode = 0;
    char number[32];

    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned char)word[i];

        digit = digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10;
        count += (digit & 1) + (digit >> 1 & 1) + (digit >> 2 & 1) + (digit >> 3 & 1);
    }
    label(out, "capabilities");
    text_number(out, count, 1);
    slurp("/proc/sys/kernel/cap_last_cap", number, sizeof number);
    if (number_read(number, &last) != NULL) {
        text_add(out, " of ");
        text_number(out, last + 1, 1);
    }
    text_add(out, ", inside the user namespace only\n");
    at = status_field(status, "Seccomp:");
    next_word(&at, &word);
    number_read(word, &mode);
    label(out, "seccomp");
    text_add(out, mode == 2 ? "filter" : mode == 1 ? "strict" : "off");
    at = status_field(status, "NoNewPrivs:");
    next_word(&at, &word);
    text_add(out, *word == '1' ? ", no new privileges\n" : "\n");
}

int hello(void)
{
    char screen[8192], status[4096];
    struct text out = TEXT(screen);

    text_add(&out, "\nHello from rpod! This is a container, run by an ordinary user without root or daemon.\n\n");
    slurp("/proc/self/status", status, sizeof status);
    label(&out, "process");
    text_number(&out, (uint64_t)getpid(), 1);
    text_add(&out, getpid() == 1 ? ", the first in its pid namespace\n" : "\n");
    label(&out, "user");
    text_number(&out, getuid(), 1);
    text_add(&out, ":");
    text_number(&out, getgid(), 1);
    text_add(&out, "\n");
    show_map(&out, "user ids", "/proc/self/uid_map");
    show_map(&out, "group ids", "/proc/self/gid_map");
    show_namespaces(&out);
    show_root(&out);
    show_network(&out);
    show_cgroup(&out);
    show_rights(&out, status);
    text_add(&out, "\nGo on with\n\n  rpod run -it docker.io/library/debian bash\n\n");
    return write_all(STDOUT_FILENO, screen, out.used) ? 0 : 1;
}
