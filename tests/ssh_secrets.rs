//! Promise: a secret is on ssh's terminal and nowhere else: not in an argument, the environment, a log, an
//! error or `Debug`; and in the program's memory only as long as it is of use.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use econtext::{Context, Level, Method, Prompt, Router, Ssh};

mod support;

use support::{Log, Sshd, TempDir, fake_ssh, isolated};

#[test]
fn a_secret_is_in_no_argument_environment_log_error_or_debug() {
    isolated(|| {
        const SECRET: &str = "hunter2-correct-horse";
        let dir = TempDir::new();
        let shown = dir.path().join("shown");
        let body = format!(
            "tr '\\0' '\\n' < /proc/$$/cmdline >> '{0}'; tr '\\0' '\\n' < /proc/$$/environ >> '{0}'\n\
             ask \"deploy@web1's password: \" && ask \"Enter passphrase for key '/k': \"\n\
             ask 'Code: '; case $answer in bad*) say no; exit 255; esac\n\
             logged_in; run",
            shown.display()
        );
        let ssh = fake_ssh(&dir, &body);
        let log = Log::default();
        let answers = ["code-", "bad-"].map(|it| it.to_string() + SECRET);
        let mut answers = answers.into_iter();
        let builder = Router::builder().log_level(Level::Debug).on_log(log.sink());
        let builder = builder.on_prompt(move |_: &Prompt| answers.next());
        let mut seen = format!("{builder:?}");
        let router = builder.build().unwrap();
        let password = format!("password-{SECRET}");
        let method = Ssh::new("deploy@web1").ssh_path(&ssh);
        let method = method.password(password).passphrase(format!("passphrase-{SECRET}"));
        seen += &format!("{method:?} {:?} {router:?}", method.plan());
        let context = router.connect(method.clone()).unwrap();
        seen += &format!("{context:?} {:?}", context.info());
        for file in ["cmdline", "environ"] {
            let mut bytes = Vec::new();
            let path = format!("/proc/{}/{file}", context.info().unwrap().pid);
            File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
            seen += &String::from_utf8_lossy(&bytes);
        }
        // A handler's answer that is refused, and secrets that cannot be typed.
        for method in [method.clone(), method.password(format!("{SECRET}\n"))] {
            let error = router.connect(method).unwrap_err();
            seen += &format!("{error} {error:?}");
        }
        router.shutdown().unwrap();
        for record in log.records() {
            seen += &format!("{record} {record:?}");
        }
        seen += &fs::read_to_string(shown).unwrap();
        assert!(seen.contains("[secret]") && seen.contains("-o\nLogLevel=VERBOSE"), "{seen}");
        assert!(!seen.contains(SECRET), "{seen}");
    });
}

/// A secret that this program's memory holds in disguise only. It is long, since the allocator writes over
/// the first bytes of what is given back to it, and over small pieces sooner.
struct Disguised(Vec<u8>);

const MASK: u8 = 0x5a;
const SECRET_BYTES: usize = 900;
/// Where in the secret the pieces are that are looked for.
const PIECES: [usize; 3] = [100, 500, 850];
const PIECE_BYTES: usize = 24;

impl Disguised {
    fn random() -> Disguised {
        let mut bytes = [0; SECRET_BYTES];
        File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
        Disguised(bytes.iter().map(|byte| (b'a' + byte % 26) ^ MASK).collect())
    }

    /// In one piece of memory that is its own.
    fn open(&self) -> String {
        let mut text = String::with_capacity(SECRET_BYTES);
        text.extend(self.0.iter().map(|byte| char::from(byte ^ MASK)));
        text
    }

    fn is(&self, bytes: &[u8]) -> bool {
        fits(&self.0, bytes) && bytes.len() == SECRET_BYTES
    }

    /// How many of its pieces are in this process's memory, undisguised.
    fn pieces(&self) -> usize {
        const CHUNK: usize = 256 << 10;
        let pieces = PIECES.map(|at| &self.0[at..at + PIECE_BYTES]);
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; CHUNK + PIECE_BYTES];
        let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
        let mut found = 0;
        for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            if !rest.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let [mut at, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
            while at < end {
                let wanted = buffer.len().min((end - at) as usize);
                let count = memory.read_at(&mut buffer[..wanted], at).unwrap_or(0);
                for offset in 0..count.min(CHUNK) {
                    let bytes = &buffer[offset..count];
                    if pieces.iter().any(|piece| fits(piece, bytes)) {
                        found += usize::from(!own.contains(&(at + offset as u64)));
                    }
                }
                at += CHUNK as u64;
            }
        }
        // What was read of it is not to be found by the next look.
        buffer.fill(0);
        black_box(&buffer);
        found
    }

    #[track_caller]
    fn assert_gone(&self) {
        assert_eq!(self.pieces(), 0);
    }
}

/// Whether `bytes` begin with what is disguised.
fn fits(disguised: &[u8], bytes: &[u8]) -> bool {
    bytes.len() >= disguised.len()
        && disguised.iter().zip(bytes).all(|(it, byte)| byte ^ MASK == *it)
}

fn is_up(context: &Context) {
    assert_eq!(context.call::<u32>("os:getpid", ()).unwrap(), context.info().unwrap().pid);
}

/// A stand-in that asks `question`, and writes the answer to a file.
fn asks(dir: &TempDir, question: &str) -> (Ssh, std::path::PathBuf) {
    let file = dir.path().join("answer");
    let body =
        format!("ask \"{question}\"; printf %s \"$answer\" > '{}'\nlogged_in; run", file.display());
    (Ssh::new("web1").ssh_path(fake_ssh(dir, &body)), file)
}

#[track_caller]
fn assert_arrived(secret: &Disguised, file: &Path) {
    let answer = fs::read(file).unwrap();
    assert!(secret.is(&answer));
}

#[test]
fn a_given_secret_is_gone_from_memory_when_the_context_is_up() {
    isolated(|| {
        let questions = ["deploy@web1's password: ", "Enter passphrase for key '/k': "];
        for (n, question) in questions.into_iter().enumerate() {
            let dir = TempDir::new();
            let (method, file) = asks(&dir, question);
            let secret = Disguised::random();
            let router = Router::new().unwrap();
            let given = |method: Ssh| match n {
                0 => method.password(secret.open()),
                _ => method.passphrase(secret.open()),
            };
            let method = given(method);
            // It is found where it is.
            assert_eq!(secret.pieces(), PIECES.len(), "{question}");
            let context = router.connect(method).unwrap();
            is_up(&context);
            secret.assert_gone();
            router.shutdown().unwrap();
            secret.assert_gone();
            assert_arrived(&secret, &file);
        }
    });
}

#[test]
fn what_the_handler_answered_is_gone_from_memory_when_it_was_written() {
    isolated(|| {
        let dir = TempDir::new();
        let (method, file) = asks(&dir, "Code: ");
        let secret = std::sync::Arc::new(Disguised::random());
        let answer = secret.clone();
        let handler = move |_: &Prompt| Some(answer.open());
        let router = Router::builder().on_prompt(handler).build().unwrap();
        let context = router.connect(method).unwrap();
        is_up(&context);
        secret.assert_gone();
        router.shutdown().unwrap();
        assert_arrived(&secret, &file);
    });
}

#[test]
fn a_secret_is_gone_from_memory_when_the_start_has_failed() {
    isolated(|| {
        let sshd = Sshd::start();
        let (wrong, unused) = (Disguised::random(), Disguised::random());
        let key = sshd.make_key("locked", "sesame");
        sshd.authorize(&key);
        let router = Router::new().unwrap();
        let method = sshd.ssh().identity(&key);
        let method = method.passphrase(wrong.open()).password(unused.open());
        let context = router.start(method);
        let error = context.info().unwrap_err().to_string();
        assert!(error.ends_with("' is wrong"), "{error}");
        context.shutdown().unwrap();
        wrong.assert_gone();
        unused.assert_gone();
        router.shutdown().unwrap();
        // Nor is one kept that is still to be given when there is a shutdown.
        let dir = TempDir::new();
        let method = Ssh::new("web1").ssh_path(fake_ssh(&dir, "exec sleep 1000"));
        let router = Router::new().unwrap();
        let context = router.start(method.passphrase(unused.open()));
        assert!(unused.pieces() > 0);
        router.shutdown().unwrap();
        assert!(context.info().is_err());
        unused.assert_gone();
    });
}
