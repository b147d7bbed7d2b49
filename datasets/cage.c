/* cage.c -- a filter over system call numbers: those that reading and writing open files needs. */
#include "datasets/cage.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined __x86_64__
#define MACHINE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define MACHINE AUDIT_ARCH_AARCH64
#endif

bool cage_there(void) {
#ifdef MACHINE
  /* a kernel that knows filters looks for one at NULL */
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) != 0 && errno == EFAULT;
#else
  return false;
#endif
}

#if !defined MACHINE || defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
bool cage_enter(void) { return true; }
#else

static const uint32_t allowed[] = {
  /* the open files */
  SYS_read,
  SYS_pread64,
  SYS_readv,
  SYS_write,
  SYS_pwrite64,
  SYS_writev,
  SYS_lseek,
  SYS_fstat,
  SYS_newfstatat,
  SYS_ftruncate,
  SYS_fallocate,
  SYS_fsync,
  SYS_fdatasync,
  SYS_close,
  SYS_fcntl,
  SYS_flock,
  /* memory */
  SYS_mmap,
  SYS_munmap,
  SYS_mremap,
  SYS_mprotect,
  SYS_madvise,
  SYS_brk,
  SYS_msync,
  /* clocks, limits (they only go down), signals, the end */
  SYS_clock_gettime,
  SYS_gettimeofday,
  SYS_getrusage,
  SYS_prlimit64,
  SYS_getpid,
  SYS_gettid,
  SYS_rt_sigaction,
  SYS_rt_sigprocmask,
  SYS_rt_sigreturn,
  SYS_futex,
  SYS_getrandom,
  SYS_tgkill,
  SYS_exit,
  SYS_exit_group,
};

enum { ALLOWED = sizeof allowed / sizeof *allowed, BEFORE = 4 };

bool cage_enter(void) {
  struct sock_filter code[BEFORE + ALLOWED + 2];
  struct sock_filter *at = code;
  /* numbers mean these calls on one machine only */
  *at++ =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MACHINE, 1, 0);
  *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  *at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < ALLOWED; i++)
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i],
                                         (uint8_t)(ALLOWED - i), 0);
  *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = { (unsigned short)(at - code), code };
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#endif
