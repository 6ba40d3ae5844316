use std::ffi::CString;
use std::fs::{self, File};
use std::io::{ErrorKind, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::ExitStatus;

/// Runs `body` in a process of its own, where no other test opens descriptors or changes signals: the
/// test's own executable, run for this test alone.
fn alone<F: FnOnce()>(body: F) {
    if std::env::var_os("ECONTEXT_TEST_ALONE").is_some() {
        return body();
    }
    // The closure's name is the test's, between the crate's and its own.
    let (_, path) = std::any::type_name::<F>().split_once("::").expect("a path");
    let (name, _) = path.rsplit_once("::").expect("a path");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env("ECONTEXT_TEST_ALONE", "1");
    let output = command.output().unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    let passed = output.status.success() && stdout.contains("running 1 test");
    assert!(passed, "{name}: {}\n{stdout}\n{stderr}", output.status);
}

fn c(texts: &[&str]) -> Vec<CString> {
    texts.iter().map(|text| CString::new(*text).unwrap()).collect()
}

/// Starts `argv` with its output in the pipe that is returned.
fn spawn(argv: &[&str], env: &[&str], dir: Option<&str>) -> io::Result<(Process, File)> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let (reader, writer) = pipe()?;
    let (argv, env) = (c(argv), c(env));
    let current_dir = dir.map(|dir| CString::new(dir).unwrap());
    let process = Spawn {
        argv: &argv,
        env: &env,
        current_dir: current_dir.as_deref(),
        stdin: null.as_fd(),
        stdout: writer.as_fd(),
        stderr: null.as_fd(),
        tty: None,
    }
    .spawn()?;
    Ok((process, File::from(reader)))
}

/// What `script` prints, and how it ends.
fn sh(script: &str, env: &[&str], dir: Option<&str>) -> (String, ExitStatus) {
    let (mut process, mut output) = spawn(&["/bin/sh", "-c", script], env, dir).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    (text, wait(&mut process))
}

fn wait(process: &mut Process) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "process {} does not end", process.pid);
        wait_readable(process.exit_fd());
    }
}

fn wait_readable(fd: Option<BorrowedFd<'_>>) -> bool {
    let fd = fd.map_or(-1, |fd| fd.as_raw_fd());
    let wait_ms = if fd < 0 { 5 } else { 20_000 };
    let mut fds = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
    poll(&mut fds, wait_ms).unwrap() == 1
}

fn open_descriptors() -> Vec<(i32, String)> {
    let mut open: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| Some((entry.file_name(), fs::read_link(entry.path()).ok()?)))
        .map(|(fd, to)| (fd.to_str().unwrap().parse().unwrap(), to.display().to_string()))
        .filter(|(_, to)| !to.ends_with("/fd"))
        .collect();
    open.sort();
    open
}

fn close_standard_descriptors() {
    for fd in 0..=2 {
        // SAFETY: in a process of this test's own; nobody there uses them.
        unsafe { libc::close(fd) };
    }
}

fn set_sigpipe(action: libc::sighandler_t) {
    // SAFETY: sets a disposition, no handler.
    unsafe { libc::signal(libc::SIGPIPE, action) };
}

#[test]
fn a_pipe_and_a_pair_carry_bytes_until_their_end() {
    let (pipe_reader, pipe_writer) = pipe().unwrap();
    let (left, right) = socketpair().unwrap();
    for (reader, writer) in [(&pipe_reader, &pipe_writer), (&left, &right), (&right, &left)] {
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
        assert_eq!(write_vectored(writer.as_fd(), &parts).unwrap(), 4);
        let mut buffer = [0; 9];
        assert_eq!(read(reader.as_fd(), &mut buffer).unwrap(), 4);
        assert_eq!(&buffer[..4], b"abcd");
    }
    drop((pipe_writer, left));
    for reader in [pipe_reader, right] {
        assert_eq!(read(reader.as_fd(), &mut [0; 9]).unwrap(), 0);
    }
}

#[test]
fn more_parts_than_the_system_takes_are_a_short_write() {
    for (reader, writer) in [pipe().unwrap(), socketpair().unwrap()] {
        let parts = vec![IoSlice::new(b"x"); 5000];
        assert_eq!(write_vectored(writer.as_fd(), &parts).unwrap(), 1024);
        assert_eq!(read(reader.as_fd(), &mut [0; 5000]).unwrap(), 1024);
    }
}

#[test]
fn a_nonblocking_end_says_would_block_and_leaves_the_other_alone() {
    let (left, right) = socketpair().unwrap();
    set_nonblocking(left.as_fd()).unwrap();
    assert_eq!(read(left.as_fd(), &mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let block = [7; 1 << 20];
    let mut written = 0;
    let error = loop {
        match write_vectored(left.as_fd(), &[IoSlice::new(&block)]) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(written < block.len(), "a small buffer took {written} bytes");
    // SAFETY: reads the flags of an open descriptor.
    let flags = unsafe { libc::fcntl(right.as_raw_fd(), libc::F_GETFL) };
    assert_eq!(flags & libc::O_NONBLOCK, 0);
}

#[test]
fn poll_tells_what_is_ready_and_gives_up_in_time() {
    let (reader, writer) = pipe().unwrap();
    let mut fds = [libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
    assert_eq!(poll(&mut fds, 0).unwrap(), 0);
    let start = Instant::now();
    assert_eq!(poll(&mut fds, 20).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(20));
    write_vectored(writer.as_fd(), &[IoSlice::new(b"x")]).unwrap();
    assert_eq!(poll(&mut fds, -1).unwrap(), 1);
    assert_eq!(fds[0].revents, libc::POLLIN);
}

#[test]
fn shutting_one_direction_of_a_socket_ends_it_for_every_holder() {
    let (left, right) = socketpair().unwrap();
    let stray = left.try_clone().unwrap();
    shutdown_socket(left.as_fd(), Shutdown::Write).unwrap();
    assert_eq!(read(right.as_fd(), &mut [0; 1]).unwrap(), 0);
    write_vectored(right.as_fd(), &[IoSlice::new(b"x")]).unwrap();
    assert_eq!(read(stray.as_fd(), &mut [0; 9]).unwrap(), 1);
    shutdown_socket(left.as_fd(), Shutdown::Both).unwrap();
    let error = write_vectored(right.as_fd(), &[IoSlice::new(b"x")]).unwrap_err();
    assert!(is_end_of_stream(&error), "{error}");
}

#[test]
fn a_gone_reader_is_an_error_and_never_a_signal() {
    alone(|| {
        let broken = || {
            let (reader, pipe_writer) = pipe().unwrap();
            let (peer, socket) = socketpair().unwrap();
            drop((reader, peer));
            [pipe_writer, socket]
        };
        // Where nobody ignores the signal, it would end this process; and it must not come
        // later either, once the mask has fallen.
        for action in [libc::SIG_DFL, libc::SIG_IGN, libc::SIG_DFL] {
            set_sigpipe(action);
            for writer in broken() {
                let error = write_vectored(writer.as_fd(), &[IoSlice::new(b"x")]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert!(is_end_of_stream(&error));
                assert!(!sigpipe_is_pending());
            }
        }
        // One that was pending before is the host program's own, and stays.
        let before = mask_signals(libc::SIG_BLOCK, &sigpipe()).unwrap();
        // SAFETY: a signal to this thread, which blocks it.
        unsafe { libc::raise(libc::SIGPIPE) };
        for writer in broken() {
            write_vectored(writer.as_fd(), &[IoSlice::new(b"x")]).unwrap_err();
        }
        assert!(sigpipe_is_pending());
        set_sigpipe(libc::SIG_IGN);
        mask_signals(libc::SIG_SETMASK, &before).unwrap();
    });
}

#[test]
fn descriptors_are_born_close_on_exec_and_above_the_standard_ones() {
    alone(|| {
        close_standard_descriptors();
        let ((a, b), (c, d)) = (pipe().unwrap(), socketpair().unwrap());
        for fd in [&a, &b, &c, &d, &duplicate(a.as_fd()).unwrap()] {
            assert!(fd.as_raw_fd() > 2, "{fd:?}");
            // SAFETY: reads the flags of an open descriptor.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC);
        }
    });
}

#[test]
fn a_program_runs_with_its_arguments_environment_and_directory() {
    let (mut process, mut output) = spawn(
        &["/bin/sh", "-c", "echo $0 $1; pwd; /usr/bin/env", "zero", "a b"],
        &["A=1", "PATH=/x"],
        Some("/usr"),
    )
    .unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(wait(&mut process), ExitStatus::Code(0));
    // The shell adds PWD and its like.
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], ["zero a b", "/usr"]);
    assert!(lines.contains(&"A=1") && lines.contains(&"PATH=/x"), "{text}");
    assert!(!text.contains("HOME="), "{text}");
}

#[test]
fn how_a_program_ended_is_told_again_and_again() {
    let (mut process, _output) = spawn(&["/bin/sh", "-c", "exit 7"], &[], None).unwrap();
    for _ in 0..3 {
        assert_eq!(wait(&mut process), ExitStatus::Code(7));
    }
    assert_eq!(sh("kill -9 $$", &[], None).1, ExitStatus::Signal(9));
}

#[test]
fn the_exit_descriptor_becomes_readable_at_the_end() {
    let (left, right) = socketpair().unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    let mut process = Spawn {
        argv: &c(&["/bin/cat"]),
        env: &[],
        current_dir: None,
        stdin: right.as_fd(),
        stdout: null.as_fd(),
        stderr: null.as_fd(),
        tty: None,
    }
    .spawn()
    .unwrap();
    drop(right);
    assert_eq!(process.try_wait().unwrap(), None);
    drop(left);
    if process.exit_fd().is_some() {
        assert!(wait_readable(process.exit_fd()));
        assert_eq!(process.try_wait().unwrap(), Some(ExitStatus::Code(0)));
    }
    assert_eq!(wait(&mut process), ExitStatus::Code(0));
}

#[test]
fn a_signal_reaches_a_running_program_and_nothing_once_it_has_ended() {
    let (mut process, output) = spawn(&["/bin/cat", "/dev/zero"], &[], None).unwrap();
    process.signal(0).unwrap();
    process.signal(libc::SIGKILL).unwrap();
    assert_eq!(wait(&mut process), ExitStatus::Signal(libc::SIGKILL));
    process.signal(libc::SIGKILL).unwrap();
    drop(output);
    // The same without the kernel's handle, as on a system that has none.
    let (process, _output) = spawn(&["/bin/cat", "/dev/zero"], &[], None).unwrap();
    let mut process = process.without_handle();
    assert!(process.exit_fd().is_none());
    process.signal(libc::SIGTERM).unwrap();
    assert_eq!(wait(&mut process), ExitStatus::Signal(libc::SIGTERM));
    process.signal(libc::SIGTERM).unwrap();
}

#[test]
fn a_program_starts_with_default_signals_in_a_session_of_its_own() {
    alone(|| {
        set_sigpipe(libc::SIG_IGN);
        // SAFETY: sets a disposition, no handler.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
        mask_signals(libc::SIG_BLOCK, &all_signals()).unwrap();
        let (text, _) =
            sh("cat /proc/self/status; echo sid $(cut -d' ' -f6 /proc/$$/stat)", &[], None);
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_string()
        };
        // 32 and 33 are the C library's own, which it lets nobody change.
        const OF_THE_C_LIBRARY: u64 = 0b11 << 31;
        for name in ["SigBlk:", "SigIgn:"] {
            let signals = u64::from_str_radix(&field(name), 16).unwrap();
            assert_eq!(signals & !OF_THE_C_LIBRARY, 0, "{name} {signals:x}");
        }
        // SAFETY: asks for a number.
        let ours = unsafe { libc::getsid(0) };
        assert_ne!(field("sid"), ours.to_string());
        // And in this thread the mask is as it was.
        let mask = mask_signals(libc::SIG_BLOCK, &no_signals()).unwrap();
        // SAFETY: reads an initialised set.
        assert_eq!(unsafe { libc::sigismember(&raw const mask, libc::SIGUSR1) }, 1);
    });
}

#[test]
fn a_program_without_a_slash_is_looked_for_in_its_own_path() {
    let dir = std::env::temp_dir().join(format!("econtext-spawn-{}", std::process::id()));
    let inner = dir.join("inner");
    fs::create_dir_all(inner.join("tool")).unwrap();
    let tool = dir.join("tool");
    fs::write(&tool, "#!/bin/sh\necho found\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |path: &str| match spawn(&["tool"], &[path], None) {
        Ok((mut process, mut output)) => {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            wait(&mut process);
            text
        }
        Err(error) => format!("{:?}: {error}", error.kind()),
    };
    let shown = dir.display();
    // A directory of that name is passed over; so are relative directories.
    assert_eq!(run(&format!("PATH=/nowhere::{shown}/inner:{shown}")), "found\n");
    assert_eq!(run("PATH=/nowhere::."), "NotFound: tool not found in PATH (/nowhere::.)");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        run(&format!("PATH={shown}")),
        format!("PermissionDenied: cannot execute {shown}/tool: Permission denied (os error 13)")
    );
    fs::remove_dir_all(dir).unwrap();
    assert!(
        spawn(&["true"], &[], None).is_ok_and(|(mut p, _)| wait(&mut p) == ExitStatus::Code(0))
    );
}

#[test]
fn what_cannot_start_says_which_step_failed() {
    let fails = |argv: &[&str], dir| {
        let error = spawn(argv, &[], dir).map(drop).unwrap_err();
        format!("{:?}: {error}", error.kind())
    };
    assert_eq!(
        fails(&["/no/such\nprogram"], None),
        "NotFound: cannot execute /no/such\\nprogram: No such file or directory (os error 2)"
    );
    assert_eq!(
        fails(&["/etc/passwd"], None),
        "PermissionDenied: cannot execute /etc/passwd: Permission denied (os error 13)"
    );
    assert_eq!(
        fails(&["/bin/true"], Some("/no/such/directory")),
        "NotFound: cannot change to /no/such/directory: No such file or directory (os error 2)"
    );
    assert_eq!(fails(&[], None), "InvalidInput: there is no program to start");
}

#[test]
fn neither_success_nor_failure_leaves_a_descriptor_or_a_process() {
    alone(|| {
        let before = open_descriptors();
        for _ in 0..10 {
            assert_eq!(sh("echo x", &[], None), ("x\n".to_string(), ExitStatus::Code(0)));
            spawn(&["/no/such/program"], &[], None).map(drop).unwrap_err();
            spawn(&["nothing"], &[], None).map(drop).unwrap_err();
        }
        assert_eq!(open_descriptors(), before);
        // SAFETY: asks for any child; there is none, so that it returns at once.
        assert_eq!(unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) }, -1);
        // The program itself has the standard three, and the one by which ls reads.
        let (text, _) = sh("exec ls /proc/self/fd", &[], None);
        assert_eq!(text, "0\n1\n2\n3\n");
    });
}

#[test]
fn a_master_without_standard_descriptors_starts_programs() {
    alone(|| {
        close_standard_descriptors();
        let (text, status) = sh("echo out; readlink /proc/self/fd/0", &[], None);
        assert_eq!((text.as_str(), status), ("out\n/dev/null\n", ExitStatus::Code(0)));
        // Here the sources themselves have the numbers 0 to 2, in another order.
        let (reader, writer) = pipe().unwrap();
        // SAFETY: makes a descriptor, the lowest that is free, which this test owns.
        let zero = unsafe { OwnedFd::from_raw_fd(libc::dup(writer.as_raw_fd())) };
        let [one, two] = [(); 2].map(|()| File::options().write(true).open("/dev/null").unwrap());
        assert_eq!([zero.as_raw_fd(), one.as_raw_fd(), two.as_raw_fd()], [0, 1, 2]);
        let mut swapped = Spawn {
            argv: &c(&["/bin/sh", "-c", "echo out; echo err >&2"]),
            env: &[],
            current_dir: None,
            stdin: two.as_fd(),
            stdout: zero.as_fd(),
            stderr: one.as_fd(),
            tty: None,
        }
        .spawn()
        .unwrap();
        drop((zero, writer));
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), wait(&mut swapped)), ("out\n", ExitStatus::Code(0)));
    });
}

#[test]
fn a_host_program_that_ignores_sigchld_gets_an_unknown_status() {
    alone(|| {
        // SAFETY: sets a disposition, no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let (mut process, _output) = spawn(&["/bin/cat", "/dev/zero"], &[], None).unwrap();
        assert_eq!(process.try_wait().unwrap(), None);
        process.signal(libc::SIGKILL).unwrap();
        assert_eq!(wait(&mut process), ExitStatus::Unknown);
        process.signal(libc::SIGKILL).unwrap();
        let error = spawn(&["/no/such/program"], &[], None).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_terminal_carries_an_answer_as_it_was_written_and_echoes_nothing() {
    let (master, slave) = pty().unwrap();
    set_nonblocking(master.as_fd()).unwrap();
    write_vectored(slave.as_fd(), &[IoSlice::new(b"Password: ")]).unwrap();
    let mut buffer = [0; 5000];
    assert_eq!(read(master.as_fd(), &mut buffer).unwrap(), 10);
    // All bytes but the newline: interrupt, end of file, erase, kill, quote, stop and the like.
    let answer: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').chain([b'\n']).collect();
    // The longest line that a terminal takes on Linux.
    let long = [vec![b'x'; 4094], vec![b'\n']].concat();
    for answer in [answer, long] {
        assert_eq!(write_vectored(master.as_fd(), &[IoSlice::new(&answer)]).unwrap(), answer.len());
        let count = read(slave.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..count], answer);
        let error = read(master.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "something was echoed");
    }
    drop(slave);
    let error = read(master.as_fd(), &mut buffer).unwrap_err();
    assert!(is_end_of_stream(&error), "{error}");
}

#[test]
fn terminals_are_born_close_on_exec_and_above_the_standard_ones() {
    alone(|| {
        close_standard_descriptors();
        let (master, slave) = pty().unwrap();
        for fd in [&master, &slave] {
            assert!(fd.as_raw_fd() > 2, "{fd:?}");
            // SAFETY: reads the flags of an open descriptor.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC);
        }
    });
}

#[test]
fn a_terminal_is_the_programs_own_beside_its_standard_descriptors() {
    alone(|| {
        let (master, slave) = pty().unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (reader, writer) = pipe().unwrap();
        let script =
            "ls -l /proc/self/fd; printf 'Name: ' > /dev/tty; read name < /dev/tty; echo $name";
        let mut process = Spawn {
            argv: &c(&["/bin/sh", "-c", script]),
            env: &[],
            current_dir: None,
            stdin: null.as_fd(),
            stdout: writer.as_fd(),
            stderr: null.as_fd(),
            tty: Some(slave.as_fd()),
        }
        .spawn()
        .unwrap();
        drop(writer);
        let mut prompt = [0; 99];
        assert_eq!(read(master.as_fd(), &mut prompt).unwrap(), 6);
        assert_eq!(&prompt[..6], b"Name: ");
        write_vectored(master.as_fd(), &[IoSlice::new(b"web1\n")]).unwrap();
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(wait(&mut process), ExitStatus::Code(0));
        assert!(text.ends_with("web1\n"), "{text}");
        assert!(!text.contains("/dev/pts") && !text.contains("ptmx"), "{text}");
        // It is not that of the test: this process has not taken what it has only opened.
        // SAFETY: asks for a number.
        let owner = unsafe { libc::tcgetsid(master.as_raw_fd()) };
        // SAFETY: asks for a number.
        assert_ne!(owner, unsafe { libc::getsid(0) });
    });
}

#[test]
fn a_program_without_a_terminal_of_its_own_has_none() {
    assert_eq!(sh("(: < /dev/tty) 2> /dev/null || echo none", &[], None).0, "none\n");
}

#[test]
fn what_is_no_terminal_cannot_become_one() {
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let error = Spawn {
        argv: &c(&["/bin/true"]),
        env: &[],
        current_dir: None,
        stdin: null.as_fd(),
        stdout: null.as_fd(),
        stderr: null.as_fd(),
        tty: Some(null.as_fd()),
    }
    .spawn()
    .unwrap_err();
    let reason = io::Error::from_raw_os_error(libc::ENOTTY);
    assert_eq!(error.to_string(), format!("cannot take its terminal: {reason}"));
}

#[test]
fn closing_the_master_hangs_up() {
    let (master, slave) = pty().unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let mut process = Spawn {
        argv: &c(&["/bin/cat", "/dev/zero"]),
        env: &[],
        current_dir: None,
        stdin: null.as_fd(),
        stdout: null.as_fd(),
        stderr: null.as_fd(),
        tty: Some(slave.as_fd()),
    }
    .spawn()
    .unwrap();
    drop(master);
    assert_eq!(wait(&mut process), ExitStatus::Signal(libc::SIGHUP));
}

#[test]
fn a_stopped_program_is_told_from_a_running_and_an_ended_one() {
    let (mut process, mut output) = spawn(
        &["/bin/sh", "-c", "echo ready; kill -STOP $$; echo on; exec cat /dev/zero"],
        &[],
        None,
    )
    .unwrap();
    let mut line = [0; 6];
    output.read_exact(&mut line).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !process.is_stopped() {
        assert!(Instant::now() < deadline, "it does not stop");
        assert_eq!(process.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    // Asking takes nothing away.
    assert!(process.is_stopped());
    process.signal(libc::SIGCONT).unwrap();
    output.read_exact(&mut line[..3]).unwrap();
    assert_eq!(&line[..3], b"on\n");
    assert!(!process.is_stopped());
    process.signal(libc::SIGKILL).unwrap();
    assert_eq!(wait(&mut process), ExitStatus::Signal(libc::SIGKILL));
    assert!(!process.is_stopped());
}

#[test]
fn wiping_leaves_zeros() {
    let mut secret = *b"hunter2";
    wipe(&mut secret[..6]);
    assert_eq!(&secret, b"\0\0\0\0\0\x002");
}

#[test]
fn a_time_is_rounded_up_to_whole_milliseconds() {
    assert_eq!(wait_ms(Duration::ZERO), 0);
    assert_eq!(wait_ms(Duration::from_micros(10)), 1);
    assert_eq!(wait_ms(Duration::from_secs(1 << 40)), i32::MAX);
}
