//! What this machine and its system say: random bytes, who we are, where we are.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};

use super::check;

/// Fills `bytes` from the system's random source.
pub(crate) fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    // 256 bytes are what the system gives at once, without being interrupted.
    for part in bytes.chunks_mut(256) {
        #[cfg(target_os = "linux")]
        // SAFETY: the kernel writes at most the slice's length into it, and it is held exclusively.
        let done = unsafe { libc::getrandom(part.as_mut_ptr().cast(), part.len(), 0) } != -1;
        #[cfg(not(target_os = "linux"))]
        // SAFETY: the kernel writes at most the slice's length into it, and it is held exclusively.
        let done = unsafe { libc::getentropy(part.as_mut_ptr().cast(), part.len()) } != -1;
        if !done {
            // A kernel before 3.17, or a sandbox that does not know the call.
            File::open("/dev/urandom")?.read_exact(part)?;
        }
    }
    Ok(())
}

/// An error in words; where this program has all the descriptors that it may have, with how many that is. To raise the
/// limit is the program's own to do, or its user's: what else it starts inherits it.
pub(crate) fn describe(error: &io::Error) -> String {
    match (error.raw_os_error(), descriptor_limit()) {
        (Some(libc::EMFILE), Some(limit)) => {
            format!("{error}: this program may have {limit} (`ulimit -n`)")
        }
        _ => error.to_string(),
    }
}

fn descriptor_limit() -> Option<libc::rlim_t> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a local.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }).ok()?;
    Some(limit.rlim_cur)
}

/// The login name of this process's user; `LOGNAME` where the user database does not know it (in a
/// chroot without one, say), and `uid1000` where that is not set.
pub(crate) fn user_name() -> String {
    // SAFETY: takes nothing, cannot fail.
    let uid = unsafe { libc::getuid() };
    login_name(uid)
        .or_else(|| std::env::var("LOGNAME").ok().filter(|name| !name.is_empty()))
        .unwrap_or_else(|| format!("uid{uid}"))
}

fn login_name(uid: libc::uid_t) -> Option<String> {
    let mut texts = vec![0; 1024];
    loop {
        // SAFETY: a C structure of integers and pointers, for which all zero bytes are a value.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        let (buffer, size) = (texts.as_mut_ptr(), texts.len());
        // SAFETY: all point at locals; the texts of the entry lie in `texts`, whose size is told.
        let code = unsafe { libc::getpwuid_r(uid, &raw mut entry, buffer, size, &raw mut found) };
        match code {
            0 if found.is_null() || entry.pw_name.is_null() => return None,
            0 => {
                // SAFETY: a text with its zero byte, inside `texts`, which is alive and unchanged.
                let name = unsafe { CStr::from_ptr(entry.pw_name) };
                return Some(name.to_string_lossy().into_owned()).filter(|name| !name.is_empty());
            }
            libc::EINTR => {}
            // An entry has a few lines; a megabyte of it is a broken database.
            libc::ERANGE if size < 1 << 20 => texts.resize(size * 2, 0),
            _ => return None,
        }
    }
}

/// The name of this machine, as `hostname` prints it; `localhost` where it has none.
pub(crate) fn host_name() -> String {
    let mut name = [0_u8; 256];
    // The last byte stays zero: a name that is cut need not end with one.
    let room = name.len() - 1;
    // SAFETY: the kernel writes at most `room` bytes into the array.
    let told = check(unsafe { libc::gethostname(name.as_mut_ptr().cast(), room) });
    let text = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy();
    if told.is_err() || text.is_empty() { "localhost".to_string() } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_fills_every_byte_and_differs_each_time() {
        // 1,000 bytes take four calls; a part that was left out would stay zero in all three.
        let mut takes = [[0_u8; 1000]; 3];
        for take in &mut takes {
            entropy(take).unwrap();
        }
        for part in 0..1000 / 8 {
            assert!(takes.iter().any(|take| take[part * 8..][..8] != [0; 8]), "part {part}");
        }
        assert_ne!(takes[0], takes[1]);
        entropy(&mut []).unwrap();
    }

    #[test]
    fn an_unknown_user_has_no_login_name() {
        assert_eq!(login_name(0).as_deref(), Some("root"));
        assert_eq!(login_name(3_999_999_999), None);
        assert!(!user_name().is_empty());
    }

    #[test]
    fn the_host_name_is_what_the_kernel_says() {
        if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            assert_eq!(host_name(), name.trim());
        }
    }
}
