//! A terminal for programs that ask their questions on one, and for nothing else.
//!
//! Invariant: what is written to the master end arrives as it was written. Nothing is echoed, and no byte
//! but the newline, which ends an answer, means anything: a password may hold what is Control-C or
//! Control-U at a keyboard.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::{check, describe, private};

/// A pseudo-terminal: the master end, for us, and the slave end, for [`Spawn`](super::Spawn::tty).
///
/// Who reads the master keeps the slave open as long: a program opens its terminal anew for each
/// question, and while nobody has it open, the master reads as ended. Closing the master hangs up: the
/// program gets SIGHUP.
pub(crate) fn pty() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = open_master().map_err(|error| explain("cannot make a terminal", &error))?;
    let slave = open_slave(master.as_fd())
        .map_err(|error| explain("cannot open the terminal that was made", &error))?;
    silence(slave.as_fd()).map_err(|error| explain("cannot set up the terminal", &error))?;
    Ok((master, slave))
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        // What Linux and the BSDs say when their limit is reached.
        Some(libc::ENOSPC | libc::EAGAIN | libc::ENXIO) => " (all of the system's are in use)",
        Some(libc::ENOENT | libc::ENODEV) => " (is /dev/pts mounted?)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{what}{hint}: {}", describe(error)))
}

/// Opens a terminal, without making it that of this process.
fn open(path: &str) -> io::Result<OwnedFd> {
    let file: File =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path)?;
    private(file.into())
}

// Not grantpt(3): it fails where devpts is mounted without a group for terminals, as in some chroots
// and containers, and the kernel has set the owner already.
#[cfg(target_os = "linux")]
fn open_master() -> io::Result<OwnedFd> {
    let master = open("/dev/ptmx")?;
    let unlocked: libc::c_int = 0;
    // SAFETY: reads a local.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    Ok(master)
}

#[cfg(target_os = "linux")]
fn open_slave(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    const FLAGS: libc::c_int = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // Needs no path, which another mount of /dev/pts might have for another terminal.
    // SAFETY: takes an integer; involves no memory.
    match check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, FLAGS) }) {
        // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
        Ok(slave) => private(unsafe { OwnedFd::from_raw_fd(slave) }),
        // Linux before 4.13, or a sandbox that does not know the call.
        Err(_) => open_numbered_slave(master),
    }
}

#[cfg(target_os = "linux")]
fn open_numbered_slave(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut number: libc::c_uint = 0;
    // SAFETY: writes a local.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    open(&format!("/dev/pts/{number}"))
}

#[cfg(not(target_os = "linux"))]
fn open_master() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: libc::c_int = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    #[cfg(target_vendor = "apple")]
    const FLAGS: libc::c_int = libc::O_RDWR | libc::O_NOCTTY;
    // SAFETY: involves no memory.
    let master = check(unsafe { libc::posix_openpt(FLAGS) })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
    let master = private(unsafe { OwnedFd::from_raw_fd(master) })?;
    // SAFETY: involves no memory of ours.
    check(unsafe { libc::grantpt(master.as_raw_fd()) })?;
    // SAFETY: involves no memory of ours.
    check(unsafe { libc::unlockpt(master.as_raw_fd()) })?;
    Ok(master)
}

#[cfg(not(target_os = "linux"))]
fn open_slave(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut name = [0_u8; 128];
    #[cfg(target_vendor = "apple")]
    // SAFETY: the kernel writes at most 128 bytes, which is the array's length.
    check(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCPTYGNAME.into(), name.as_mut_ptr())
    })?;
    #[cfg(not(target_vendor = "apple"))]
    // SAFETY: the C library writes at most `len` bytes into the array.
    check(unsafe { libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr().cast(), name.len()) })?;
    let name = std::ffi::CStr::from_bytes_until_nul(&name).unwrap_or_default();
    open(&name.to_string_lossy())
}

/// No echo, no key that means something. Lines stay lines: programs that ask read until a newline.
fn silence(slave: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a C structure of integers, for which all zero bytes are a value.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: writes a local.
    check(unsafe { libc::tcgetattr(slave.as_raw_fd(), &raw mut settings) })?;
    settings.c_lflag &=
        !(libc::ECHO | libc::ECHOE | libc::ECHOK | libc::ECHONL | libc::ISIG | libc::IEXTEN);
    settings.c_iflag &= !(libc::ISTRIP | libc::INLCR | libc::IGNCR | libc::ICRNL | libc::IXON);
    settings.c_lflag |= libc::ICANON;
    settings.c_cc.fill(libc::_POSIX_VDISABLE);
    // SAFETY: reads a local.
    check(unsafe { libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const settings) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_terminals_is_said_in_words() {
        // The C libraries have words of their own for each error.
        for (code, hint) in [
            (libc::ENOSPC, " (all of the system's are in use)"),
            (libc::ENOENT, " (is /dev/pts mounted?)"),
            (libc::ENODEV, " (is /dev/pts mounted?)"),
            (libc::EIO, ""),
        ] {
            let error = io::Error::from_raw_os_error(code);
            let said = explain("cannot make a terminal", &error).to_string();
            assert_eq!(said, format!("cannot make a terminal{hint}: {error}"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_slave_is_found_by_its_number_where_the_kernel_cannot_open_it() {
        let master = open_master().unwrap();
        let [asked, numbered] = [open_slave, open_numbered_slave].map(|open| {
            let slave = open(master.as_fd()).unwrap();
            std::fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd())).unwrap()
        });
        assert!(asked.starts_with("/dev/pts/"), "{asked:?}");
        assert_eq!(asked, numbered);
    }
}
