/*
 * The system calls that the agent makes, and nothing else of a C library.
 *
 * Linux guests, x86-64 and arm64. Every call returns what the kernel returns: a value, or -errno.
 */
#ifndef KHOTOOL_SYSTEM_H
#define KHOTOOL_SYSTEM_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

#if defined(__x86_64__)

enum {
	SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_fstat = 5, SYS_lseek = 8, SYS_mmap = 9,
	SYS_munmap = 11, SYS_ioctl = 16, SYS_pread64 = 17, SYS_pwrite64 = 18, SYS_nanosleep = 35,
	SYS_getpid = 39, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61, SYS_uname = 63,
	SYS_fcntl = 72, SYS_ftruncate = 77, SYS_sysinfo = 99, SYS_mount = 165, SYS_reboot = 169,
	SYS_openat = 257, SYS_mkdirat = 258, SYS_memfd_create = 319, SYS_kexec_file_load = 320,
	SYS_clone = 56, SYS_setrlimit = 160, SYS_dup3 = 292,
};

static inline long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* The kernel enters with argc at the stack pointer; C wants it as an argument. */
__asm__(".globl _start\n_start:\n\txorl %ebp, %ebp\n\tmovq %rsp, %rdi\n\tandq $-16, %rsp\n"
	"\tcall start\n");

#elif defined(__aarch64__)

enum {
	SYS_dup3 = 24, SYS_fcntl = 25, SYS_ioctl = 29, SYS_mkdirat = 34, SYS_mount = 40,
	SYS_ftruncate = 46, SYS_openat = 56, SYS_close = 57, SYS_lseek = 62, SYS_read = 63,
	SYS_write = 64, SYS_pread64 = 67, SYS_pwrite64 = 68, SYS_fstat = 80, SYS_exit = 93,
	SYS_nanosleep = 101, SYS_reboot = 142, SYS_uname = 160, SYS_setrlimit = 164,
	SYS_getpid = 172, SYS_sysinfo = 179, SYS_munmap = 215, SYS_clone = 220, SYS_execve = 221,
	SYS_mmap = 222, SYS_wait4 = 260, SYS_memfd_create = 279, SYS_kexec_file_load = 294,
};

static inline long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl start\n");

#else
#error "no system calls for this machine"
#endif

#define CALL(n, a, b, c, d, e, f) \
	call6(SYS_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

enum { AT_FDCWD = -100, AT_PAGESZ = 6 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2 };
enum { SEEK_SET = 0, SEEK_CUR = 1, SEEK_END = 2 };
enum { EINTR = 4 };

static inline long open_file(const char *path, int flags)
{
	return CALL(openat, AT_FDCWD, path, flags, 0, 0, 0);
}

static inline long read_file(int fd, void *to, u64 size)
{
	return CALL(read, fd, to, size, 0, 0, 0);
}

static inline long write_file(int fd, const void *from, u64 size)
{
	return CALL(write, fd, from, size, 0, 0, 0);
}

static inline long seek(int fd, long at, int whence)
{
	return CALL(lseek, fd, at, whence, 0, 0, 0);
}

static inline long control(int fd, u64 request, void *argument)
{
	return CALL(ioctl, fd, request, argument, 0, 0, 0);
}

static inline void close_file(int fd)
{
	CALL(close, fd, 0, 0, 0, 0, 0);
}

static inline void wait_milliseconds(long milliseconds)
{
	long time[2] = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	CALL(nanosleep, time, 0, 0, 0, 0, 0);
}

/* Compilers call these by name. */
void *memset(void *to, int value, u64 size)
{
	for (u8 *p = to; size--;)
		*p++ = value;
	return to;
}

void *memcpy(void *to, const void *from, u64 size)
{
	u8 *p = to;

	for (const u8 *q = from; size--;)
		*p++ = *q++;
	return to;
}

#endif
