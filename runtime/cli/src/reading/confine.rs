//! What a process that reads a stranger's file may still ask of the system: to read and write what it has open, memory, time,
//! random bytes, and its end. Anything else is refused (`EPERM`): no file is opened, no connection made, no program started, no other process
//! looked at or signalled.
//!
//! A filter of system calls (seccomp), set once and for good. Where the kernel has none, nothing is read.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::failure::{Failure, OrFail, Outcome};

/// What is left.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Gives everything up that reading a file does not need, in every thread of this process.
pub(super) fn confine() -> Outcome {
    seccompiler::apply_filter_all_threads(&filter()?)
        .or_environment("give up what reading a file does not need")
}

fn filter() -> Result<BpfProgram, Failure> {
    let mut rules: BTreeMap<i64, Vec<_>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // The bound of memory follows from the file's length, and can only be lowered: of this process, whose number is 0 here.
    let itself = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)
        .and_then(|own| SeccompRule::new(vec![own]))
        .or_environment("make a filter of system calls")?;
    rules.insert(libc::SYS_prlimit64, vec![itself]);
    let arch = std::env::consts::ARCH
        .try_into()
        .or_environment("filter the system calls of this kind of processor")?;
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)
        .and_then(TryInto::try_into)
        .or_environment("make a filter of system calls")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read as _, Write as _};

    /// A filter of one thread binds that one: the rest of the tests go on.
    fn confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(|| {
            let Ok(filter) = filter() else {
                panic!("there is a filter for this processor");
            };
            seccompiler::apply_filter(&filter).expect("a kernel with it");
            work()
        })
        .join()
        .expect("what is allowed is enough for a thread")
    }

    #[test]
    fn nothing_is_opened_connected_or_started() {
        let (file, socket, program, place) = confined(|| {
            (
                std::fs::File::open("/etc/passwd").map(drop),
                std::net::TcpStream::connect(("127.0.0.1", 1)).map(drop),
                std::process::Command::new("true").status().map(drop),
                std::fs::write("/tmp/tally-was-not-confined", b"x"),
            )
        });
        for refused in [file, socket, program, place] {
            let error = refused.expect_err("it is refused");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        }
    }

    #[test]
    fn what_is_open_is_read_and_written_and_memory_is_had() {
        let (mut from, mut to) = std::io::pipe().expect("a pipe");
        to.write_all(b"some words").expect("room");
        drop(to);
        let (read, sum) = confined(move || {
            let mut words = String::new();
            from.read_to_string(&mut words).expect("it was open");
            let much: Vec<u64> = (0..4_000_000).collect();
            let caught = std::panic::catch_unwind(|| panic!("as a parser may"));
            assert!(caught.is_err());
            (words, much.iter().sum::<u64>())
        });
        assert_eq!((read.as_str(), sum), ("some words", 7_999_998_000_000));
    }
}
