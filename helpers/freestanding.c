/*
 * The few functions of the C library that the helpers use, with its own declarations. Linked in its
 * place: a static glibc brings 600 KiB of pages into a process that waits for a container's life,
 * this 8. On other processors, and with the sanitizers, the same sources are linked with libc.
 *
 * One process, one thread: errno is a plain variable, and there is no other state.
 */
#include <fcntl.h>
#include <linux/auxvec.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include "common.h"

#define KERNEL_SIGSET 8 /* bytes: 64 signals; the library's type is larger */

char **environ;
/* Of -fstack-protector-strong; from the kernel's random bytes. */
uintptr_t __stack_chk_guard;

void start(char **stack) __attribute__((noreturn, used));
void __stack_chk_fail(void) __attribute__((noreturn));
int main(int argc, char **argv);

/* ---- the processor ---- */

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n");

static long raw(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x30, #0\n mov x0, sp\n and sp, x0, #-16\n bl start\n");

static long raw(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;

    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#elif defined(__riscv) && __riscv_xlen == 64
__asm__(".globl _start\n_start:\n.option push\n.option norelax\n lla gp, __global_pointer$\n.option pop\n"
        " mv a0, sp\n andi sp, sp, -16\n call start\n");

static long raw(long number, long a, long b, long c, long d, long e, long f)
{
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e;
    register long a5 __asm__("a5") = f;

    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}
#else
#error "this processor is linked with libc: see build_hook.py"
#endif

/* ---- system calls ---- */

int *__errno_location(void)
{
    static int number;

    return &number;
}

static long checked(long result)
{
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

#define ARGUMENT(x) ((long)(x))
#define CALL6(n, a, b, c, d, e, f)                                                                                \
    checked(raw(n, ARGUMENT(a), ARGUMENT(b), ARGUMENT(c), ARGUMENT(d), ARGUMENT(e), ARGUMENT(f)))
#define CALL5(n, a, b, c, d, e) CALL6(n, a, b, c, d, e, 0)
#define CALL4(n, a, b, c, d) CALL5(n, a, b, c, d, 0)
#define CALL3(n, a, b, c) CALL4(n, a, b, c, 0)
#define CALL2(n, a, b) CALL3(n, a, b, 0)

void _exit(int code)
{
    for (;;)
        CALL2(SYS_exit_group, code, 0);
}

void __stack_chk_fail(void)
{
    static const char text[] = "rpod: a helper's stack is damaged\n";

    write(STDERR_FILENO, text, sizeof text - 1);
    _exit(134);
}

/* The stack as the kernel leaves it (System V ABI): argc, argv, NULL, environment, NULL, auxiliary vector. */
void start(char **stack)
{
    int argc = (int)(intptr_t)stack[0];
    char **at = stack + argc + 2;

    environ = at;
    while (*at != NULL)
        at++;
    for (const uintptr_t *pair = (const uintptr_t *)(at + 1); pair[0] != AT_NULL; pair += 2)
        if (pair[0] == AT_RANDOM)
            memcpy(&__stack_chk_guard, (const void *)pair[1], sizeof __stack_chk_guard);
    _exit(main(argc, stack + 1));
}

/* All of Linux's calls with at most six arguments; the library's own, and so variadic, declaration. */
long syscall(long number, ...)
{
    long given[6];
    va_list list;

    va_start(list, number);
    for (size_t i = 0; i < 6; i++)
        given[i] = va_arg(list, long);
    va_end(list);
    return CALL6(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

int open(const char *path, int flags, ...)
{
    va_list list;
    int mode;

    va_start(list, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(list, int) : 0;
    va_end(list);
    return (int)CALL4(SYS_openat, AT_FDCWD, path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
    va_list list;
    long argument;

    va_start(list, command);
    argument = va_arg(list, long);
    va_end(list);
    return (int)CALL3(SYS_fcntl, fd, command, argument);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    void *argument;

    va_start(list, request);
    argument = va_arg(list, void *);
    va_end(list);
    return (int)CALL3(SYS_ioctl, fd, request, argument);
}

int close(int fd)
{
    return (int)CALL2(SYS_close, fd, 0);
}

ssize_t read(int fd, void *data, size_t count)
{
    return CALL3(SYS_read, fd, data, count);
}

ssize_t write(int fd, const void *data, size_t count)
{
    return CALL3(SYS_write, fd, data, count);
}

ssize_t pread(int fd, void *data, size_t count, off_t offset)
{
    return CALL4(SYS_pread64, fd, data, count, offset);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset)
{
    return CALL4(SYS_pwrite64, fd, data, count, offset);
}

int ftruncate(int fd, off_t length)
{
    return (int)CALL2(SYS_ftruncate, fd, length);
}

int fstat(int fd, struct stat *info)
{
    return (int)CALL4(SYS_newfstatat, fd, "", info, AT_EMPTY_PATH);
}

int rename(const char *from, const char *to)
{
    return (int)CALL5(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    return (int)CALL3(SYS_unlinkat, AT_FDCWD, path, 0);
}

ssize_t readlink(const char *path, char *target, size_t size)
{
    return CALL4(SYS_readlinkat, AT_FDCWD, path, target, size);
}

int poll(struct pollfd *polls, nfds_t count, int timeout_ms)
{
    struct timespec rest = {.tv_sec = timeout_ms / 1000, .tv_nsec = (long)(timeout_ms % 1000) * 1000000};

    return (int)CALL5(SYS_ppoll, polls, count, timeout_ms < 0 ? NULL : &rest, NULL, KERNEL_SIGSET);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    return (int)CALL2(SYS_clock_gettime, clock, now);
}

/* The kernel's structure is the beginning of the library's. */
int tcgetattr(int fd, struct termios *terminal)
{
    return ioctl(fd, TCGETS, terminal);
}

/* ---- sockets ---- */

int socket(int family, int type, int protocol)
{
    return (int)CALL3(SYS_socket, family, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return (int)CALL3(SYS_connect, fd, address, length);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return (int)CALL4(SYS_accept4, fd, address, length, flags);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    return (int)CALL5(SYS_setsockopt, fd, level, name, value, length);
}

int shutdown(int fd, int how)
{
    return (int)CALL2(SYS_shutdown, fd, how);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return CALL3(SYS_sendmsg, fd, message, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return CALL3(SYS_recvmsg, fd, message, flags);
}

ssize_t recv(int fd, void *data, size_t count, int flags)
{
    return CALL6(SYS_recvfrom, fd, data, count, flags, NULL, NULL);
}

/* ---- processes and signals ---- */

pid_t fork(void)
{
    return (pid_t)CALL5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

int execve(const char *path, char *const argv[], char *const envp[])
{
    return (int)CALL3(SYS_execve, path, argv, envp);
}

pid_t waitpid(pid_t pid, int *status, int flags)
{
    return (pid_t)CALL4(SYS_wait4, pid, status, flags, NULL);
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int flags)
{
    return (int)CALL5(SYS_waitid, type, id, info, flags, NULL);
}

int kill(pid_t pid, int number)
{
    return (int)CALL2(SYS_kill, pid, number);
}

pid_t getpid(void)
{
    return (pid_t)CALL2(SYS_getpid, 0, 0);
}

uid_t getuid(void)
{
    return (uid_t)CALL2(SYS_getuid, 0, 0);
}

gid_t getgid(void)
{
    return (gid_t)CALL2(SYS_getgid, 0, 0);
}

int setpgid(pid_t pid, pid_t group)
{
    return (int)CALL2(SYS_setpgid, pid, group);
}

int sigfillset(sigset_t *set)
{
    memset(set, 0xff, sizeof *set);
    return 0;
}

int sigemptyset(sigset_t *set)
{
    memset(set, 0, sizeof *set);
    return 0;
}

int sigaddset(sigset_t *set, int number)
{
    set->__val[0] |= 1UL << (number - 1);
    return 0;
}

int sigdelset(sigset_t *set, int number)
{
    set->__val[0] &= ~(1UL << (number - 1));
    return 0;
}

int sigprocmask(int how, const sigset_t *set, sigset_t *before)
{
    return (int)CALL4(SYS_rt_sigprocmask, how, set, before, KERNEL_SIGSET);
}

/* SIG_DFL and SIG_IGN only: a handler would need a trampoline. */
__sighandler_t signal(int number, __sighandler_t handler)
{
    /* The kernel's struct sigaction begins with the handler on every processor named above. */
    uintptr_t action[4] = {(uintptr_t)handler, 0, 0, 0};

    return CALL4(SYS_rt_sigaction, number, action, NULL, KERNEL_SIGSET) < 0 ? SIG_ERR : SIG_DFL;
}

int signalfd(int fd, const sigset_t *set, int flags)
{
    return (int)CALL4(SYS_signalfd4, fd, set, KERNEL_SIGSET, flags);
}

int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    return (int)CALL4(SYS_rt_sigtimedwait, set, info, NULL, KERNEL_SIGSET);
}
