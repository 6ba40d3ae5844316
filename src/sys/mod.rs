//! Every call of the C library, and every `unsafe` block: one block, one call, one reason.
//!
//! Invariant: what comes out of here is safe to use anywhere: `OwnedFd`, slices, `io::Result`. Every
//! descriptor made here is close-on-exec from birth (where the system can) and numbered above 2, so
//! that a program started with its standard descriptors closed does not find a stream in their place.
//! Nothing here raises SIGPIPE: only where Rust owns `main` is that signal ignored, and this library
//! may serve a host program that is written in another language.
//! Not here: what the bytes mean, and when to wait for what.

mod host;
mod spawn;
mod terminal;

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub(crate) use host::{describe, entropy, host_name, user_name};
pub(crate) use spawn::{Process, Spawn, WITHOUT_HANDLE};
pub(crate) use terminal::pty;

/// Waits until a descriptor is ready or `wait_ms` passes (-1: for ever); returns how many are ready.
///
/// A signal handler that interrupts the wait makes it return 0, early: only the caller knows how much
/// of its deadline is left.
pub(crate) fn poll(fds: &mut [libc::pollfd], wait_ms: i32) -> io::Result<usize> {
    // SAFETY: one live slice, held exclusively; the kernel writes only `revents` inside it.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, wait_ms) };
    match check(ready) {
        Ok(ready) => Ok(ready as usize),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

/// An entry for [`poll`].
pub(crate) fn pollfd(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// A time as [`poll`] takes it, rounded up: rounding down would spin through the last fraction.
pub(crate) fn wait_ms(left: Duration) -> i32 {
    i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// A pipe: the end to read from and the end to write to.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    #[cfg(not(target_vendor = "apple"))]
    // SAFETY: the array holds the two numbers that the kernel writes.
    let made = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) };
    #[cfg(target_vendor = "apple")]
    // SAFETY: the array holds the two numbers that the kernel writes.
    let made = unsafe { libc::pipe(fds.as_mut_ptr()) };
    check(made)?;
    own_pair(fds)
}

/// Two connected stream sockets.
pub(crate) fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(not(target_vendor = "apple"))]
    const KIND: i32 = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    #[cfg(target_vendor = "apple")]
    const KIND: i32 = libc::SOCK_STREAM;
    let mut fds = [-1; 2];
    // SAFETY: the array holds the two numbers that the kernel writes.
    check(unsafe { libc::socketpair(libc::AF_UNIX, KIND, 0, fds.as_mut_ptr()) })?;
    own_pair(fds)
}

fn own_pair(fds: [RawFd; 2]) -> io::Result<(OwnedFd, OwnedFd)> {
    // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
    let first = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: the same for the other.
    let second = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((private(first)?, private(second)?))
}

/// Makes `fd` close-on-exec where it was not born so, and moves it above the standard descriptors.
fn private(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() <= libc::STDERR_FILENO {
        return duplicate(fd.as_fd());
    }
    #[cfg(target_vendor = "apple")]
    // SAFETY: a flag of a descriptor that lives as long as `fd`; no memory is involved.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(fd)
}

/// A close-on-exec copy of `fd`, numbered above 2.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const LOWEST: i32 = libc::STDERR_FILENO + 1;
    // SAFETY: `fd` is open for the length of the borrow; no memory is involved.
    let copy = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, LOWEST) })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Makes reads and writes of `fd` return `WouldBlock` rather than wait.
///
/// The flag belongs to the open file description, so that every process that shares it sees the
/// change: only for our own end of a pipe or pair that was made here, never for a descriptor that this
/// process was given.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `fd` is open for the length of the borrow; no memory is involved.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// Reads what is there into `buffer`, and returns how many bytes; 0 at the end of the stream.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| {
        // SAFETY: the kernel writes at most the slice's length into it, and it is held exclusively.
        unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) }
    })
}

/// Writes as much of `parts`, in order, as there is room for, and returns how many bytes went. Never
/// raises SIGPIPE: a reader that is gone is the error `BrokenPipe`.
///
/// One system call for a socket, six for a pipe, where the signal has to be masked.
pub(crate) fn write_vectored(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    // More than the system takes at once is left for the caller's next call, as any short write is.
    let parts = &parts[..parts.len().min(MAX_PARTS)];
    #[cfg(not(target_vendor = "apple"))]
    match send(fd, parts) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {}
        done => return done,
    }
    let _masked = SigpipeMasked::new()?;
    retry(|| {
        // SAFETY: `IoSlice` has the layout of `iovec`, and the slices are borrowed for the call.
        unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr().cast(), parts.len() as libc::c_int) }
    })
}

/// What POSIX calls IOV_MAX on Linux, macOS and the BSDs.
const MAX_PARTS: usize = 1024;

#[cfg(not(target_vendor = "apple"))]
fn send(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let message = scatter(parts);
    retry(|| {
        // SAFETY: `message` points only at `parts`, which are borrowed for the call and not written.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) }
    })
}

#[cfg(not(target_vendor = "apple"))]
fn scatter(parts: &[IoSlice<'_>]) -> libc::msghdr {
    // SAFETY: a C structure of integers and pointers, for which all zero bytes are a value. (It has
    // padding fields on musl, so that it cannot be written as a literal.)
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    message
}

/// While it lives, SIGPIPE is not delivered to this thread; one that was raised meanwhile is taken
/// away again before the mask falls, unless one was pending before.
struct SigpipeMasked {
    before: libc::sigset_t,
    was_pending: bool,
}

impl SigpipeMasked {
    fn new() -> io::Result<SigpipeMasked> {
        let was_pending = sigpipe_is_pending();
        Ok(SigpipeMasked { before: mask_signals(libc::SIG_BLOCK, &sigpipe())?, was_pending })
    }
}

impl Drop for SigpipeMasked {
    fn drop(&mut self) {
        if !self.was_pending && sigpipe_is_pending() {
            let (awaited, mut taken) = (sigpipe(), 0);
            // SAFETY: both point at locals. It does not wait: the signal is pending and blocked.
            unsafe { libc::sigwait(&raw const awaited, &raw mut taken) };
        }
        let restored = mask_signals(libc::SIG_SETMASK, &self.before);
        debug_assert!(restored.is_ok(), "a mask that was in force can be put back");
    }
}

fn sigpipe() -> libc::sigset_t {
    let mut set = no_signals();
    // SAFETY: writes one bit of an initialised local.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    set
}

fn sigpipe_is_pending() -> bool {
    let mut pending = no_signals();
    // SAFETY: writes a local.
    unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: reads an initialised local.
    unsafe { libc::sigismember(&raw const pending, libc::SIGPIPE) == 1 }
}

fn no_signals() -> libc::sigset_t {
    // SAFETY: a C structure of integers, for which all zero bytes are a value.
    let mut set = unsafe { std::mem::zeroed() };
    // SAFETY: writes a local.
    unsafe { libc::sigemptyset(&raw mut set) };
    set
}

fn all_signals() -> libc::sigset_t {
    let mut set = no_signals();
    // SAFETY: writes a local.
    unsafe { libc::sigfillset(&raw mut set) };
    set
}

/// Changes this thread's signal mask, and returns the one that was in force.
fn mask_signals(how: libc::c_int, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = no_signals();
    // SAFETY: reads one set and writes the other, both live; they do not overlap.
    match unsafe { libc::pthread_sigmask(how, set, &raw mut before) } {
        0 => Ok(before),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Ends one direction of a socket, or both, for everybody who holds it.
///
/// The other end reads end-of-file at once, also where a stray grandchild has inherited this one.
pub(crate) fn shutdown_socket(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: `fd` is open for the length of the borrow; no memory is involved.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), how) })?;
    Ok(())
}

/// Whether an error of [`read`] or [`write_vectored`] says that the other end is gone, which is an
/// end of the stream like any other: EIO is how a terminal says so, ECONNRESET and EPIPE how sockets
/// and pipes do.
pub(crate) fn is_end_of_stream(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::ECONNRESET | libc::EPIPE))
}

/// Overwrites memory that held a secret. The compiler cannot leave it out, though nobody reads it again.
pub(crate) fn wipe(bytes: &mut [u8]) {
    for byte in bytes {
        // SAFETY: a byte that is held exclusively.
        unsafe { std::ptr::write_volatile(byte, 0) };
    }
    // What frees the memory does not move ahead of this.
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// The C library's convention: -1 is an error, told in errno.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Repeats a transfer that a signal handler interrupted before it moved a byte.
fn retry(mut transfer: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(transfer()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests;
